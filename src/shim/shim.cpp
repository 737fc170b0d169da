#include "shim.h"
#include "guard.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

std::vector<at::Tensor> list(size_t n, tensor *tensors) {
  std::vector<at::Tensor> result;
  result.reserve(n);
  for (size_t i = 0; i < n; ++i)
    result.push_back(*tensors[i]);
  return result;
}

std::optional<at::Tensor> optional(tensor handle) {
  return handle ? std::optional<at::Tensor>(*handle) : std::nullopt;
}

} // namespace

void shim_free(char *message) { free(message); }

char *shim_autocast_enter(int device_type, int dtype, int *previous_enabled, int *previous_dtype) {
  return guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    *previous_enabled = at::autocast::is_autocast_enabled(device);
    *previous_dtype = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::increment_nesting();
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(dtype));
  });
}

char *shim_autocast_leave(int device_type, int previous_enabled, int previous_dtype) {
  return guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    // The outermost scope drops the cached low-precision copies: the weights change after it.
    if (at::autocast::decrement_nesting() == 0)
      at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, previous_enabled != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(previous_dtype));
  });
}

char *shim_fused_adamw(size_t n, tensor *params, tensor *grads, tensor *exp_avgs, tensor *exp_avg_sqs,
                       tensor *steps, double lr, double beta1, double beta2, double weight_decay,
                       double eps, tensor found_inf_or_null) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto p = list(n, params), g = list(n, grads), m = list(n, exp_avgs), v = list(n, exp_avg_sqs),
         s = list(n, steps);
    std::vector<at::Tensor> no_amsgrad;
    // The caller of a fused optimiser increments the steps, as torch.optim does.
    at::_foreach_add_(s, 1);
    at::_fused_adamw_(p, g, m, v, no_amsgrad, s, lr, beta1, beta2, weight_decay, eps, false, false,
                      std::nullopt, optional(found_inf_or_null));
  });
}

char *shim_fused_sgd(size_t n, tensor *params, tensor *grads, tensor *momentum_buffers, double lr,
                     double momentum, double weight_decay, int nesterov, int is_first_step,
                     tensor found_inf_or_null) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto p = list(n, params), g = list(n, grads);
    std::vector<at::Tensor> m;
    if (momentum != 0)
      m = list(n, momentum_buffers);
    at::_fused_sgd_(p, g, m, weight_decay, momentum, lr, 0.0, nesterov != 0, false, is_first_step != 0,
                    std::nullopt, optional(found_inf_or_null));
  });
}

char *shim_clear_grads(size_t n, tensor *params) {
  return guarded([&] {
    for (size_t i = 0; i < n; ++i)
      params[i]->mutable_grad().reset();
  });
}

char *shim_total_norm(size_t n, tensor *tensors, tensor *out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto all = list(n, tensors);
    bool fp64 = std::any_of(all.begin(), all.end(), [](auto &t) { return t.scalar_type() == at::kDouble; });
    auto norms = at::_foreach_norm(all, 2, fp64 ? at::kDouble : at::kFloat);
    *out = new at::Tensor(at::linalg_vector_norm(at::stack(norms), 2));
  });
}

char *shim_scale(size_t n, tensor *tensors, tensor factor) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(list(n, tensors), *factor);
  });
}

char *shim_lerp(size_t n, tensor *tensors, tensor *ends, double weight) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    at::_foreach_lerp_(list(n, tensors), list(n, ends), weight);
  });
}

char *shim_adopt_f32(float *data, const int64_t *sizes, size_t num_sizes, void *owner,
                     void (*free_data)(void *), tensor *out) {
  return guarded([&] {
    auto adopted = at::from_blob(
        data, at::IntArrayRef(sizes, num_sizes), [owner, free_data](void *) { free_data(owner); },
        at::TensorOptions().dtype(at::kFloat));
    *out = new at::Tensor(std::move(adopted));
  });
}

char *shim_cuda_memory(int device_index, int64_t *allocated_peak, int64_t *reserved_peak,
                       int64_t *reserved, int64_t *free_bytes, int64_t *total_bytes) {
  return guarded([&] {
    auto stats = at::accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(device_index));
    auto aggregate = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *allocated_peak = stats.allocated_bytes[aggregate].peak;
    *reserved_peak = stats.reserved_bytes[aggregate].peak;
    *reserved = stats.reserved_bytes[aggregate].current;
    auto [free, total] = at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(device_index));
    *free_bytes = static_cast<int64_t>(free);
    *total_bytes = static_cast<int64_t>(total);
  });
}

char *shim_cuda_reset_peak(int device_index) {
  return guarded([&] { at::accelerator::resetPeakStats(static_cast<c10::DeviceIndex>(device_index)); });
}

char *shim_cuda_empty_cache(void) {
  return guarded([&] { at::accelerator::emptyCache(); });
}

const char *shim_torch_version(void) { return TORCH_VERSION; }
