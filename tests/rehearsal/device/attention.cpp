// Attention: which of its kernels libtorch 2.11 chooses on a GPU of compute capability 9.0 (H100), and what
// they compute, by the one kernel that the CPU has.
#include "kernels.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/transformers/attention.h>

#include <sstream>

namespace rehearsal {
namespace {

using Mask = std::optional<Tensor>;
using Scale = std::optional<double>;
using at::SDPBackend;

// What all fused kernels ask for, and what each asks for on its own (ATen/native/transformers/cuda/sdp_utils.cpp).
class Choice {
public:
  Choice(const Tensor &q, const Tensor &k, const Tensor &v, const Mask &mask)
      : q_(q), k_(k), v_(v), mask_(mask),
        half_(q.scalar_type() == at::kHalf || q.scalar_type() == at::kBFloat16),
        grad_(at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad())) {}

  SDPBackend backend() const {
    auto &context = at::globalContext();
    // Since 2.11 cuDNN comes first on this GPU with the cuDNN that the wheel brings.
    const char *last = getenv("TORCH_CUDNN_SDPA_DEPRIORITIZED");
    bool cudnn_first = !(last && *last == '1');
    if (cudnn_first && context.userEnabledCuDNNSDP() && cudnn())
      return SDPBackend::cudnn_attention;
    if (context.userEnabledFlashSDP() && flash())
      return SDPBackend::flash_attention;
    if (context.userEnabledMemEfficientSDP() && efficient())
      return SDPBackend::efficient_attention;
    return SDPBackend::math;
  }

  std::string shown(SDPBackend backend) const {
    static const char *names[] = {"math", "flash", "efficient", "cudnn"};
    std::ostringstream text;
    text << names[static_cast<int>(backend)] << " q " << q_.sizes() << " k " << k_.sizes() << " v " << v_.sizes() << " "
         << q_.scalar_type() << (mask_ ? ", mask" : "") << (grad_ ? ", gradient" : "");
    return text.str();
  }

private:
  bool common() const {
    auto dense = [](const Tensor &t) { return t.dim() == 4 && (t.stride(-1) == 1 || t.size(-1) == 1); };
    return dense(q_) && dense(k_) && dense(v_) && (!mask_ || mask_->stride(-1) == 1) &&
           q_.scalar_type() == k_.scalar_type() && k_.scalar_type() == v_.scalar_type() && q_.size(0) == k_.size(0) &&
           q_.size(0) == v_.size(0) && q_.size(1) == k_.size(1) && q_.size(1) == v_.size(1) && q_.size(2) > 0 &&
           k_.size(2) > 0;
  }
  bool cudnn() const {
    bool deterministic = at::globalContext().deterministicAlgorithms() && grad_;
    return common() && half_ && q_.size(3) <= 256 && v_.size(3) <= 256 && q_.size(3) % 8 == 0 && v_.size(3) % 8 == 0 &&
           q_.size(2) > 1 && !(mask_ && mask_->requires_grad()) && !deterministic;
  }
  bool flash() const {
    return common() && half_ && !mask_ && q_.size(3) == k_.size(3) && q_.size(3) == v_.size(3) && q_.size(3) <= 256;
  }
  bool efficient() const {
    int64_t alignment = half_ ? 8 : 4;
    return common() && (half_ || q_.scalar_type() == at::kFloat) && q_.size(3) == k_.size(3) &&
           q_.size(3) % alignment == 0 && v_.size(3) % alignment == 0;
  }

  const Tensor &q_, &k_, &v_;
  const Mask &mask_;
  bool half_, grad_;
};

int64_t choose(const Tensor &q, const Tensor &k, const Tensor &v, const Mask &mask, double, bool, Scale, bool) {
  Choice choice(q, k, v, mask);
  auto backend = choice.backend();
  statistics().event(Event::attention, choice.shown(backend));
  return static_cast<int64_t>(backend);
}

// The kernels' backward passes are deterministic on request, but not for the sake of a warning.
void warn_of_backward(const char *kernel) {
  auto &context = at::globalContext();
  if (context.deterministicAlgorithms() && context.deterministicAlgorithmsWarnOnly()) {
    TORCH_WARN(kernel, " Attention defaults to a non-deterministic algorithm. To explicitly enable determinism call "
                       "torch.use_deterministic_algorithms(True, warn_only=False).");
  }
}

// What the kernels have in common.
class Kernel {
public:
  Kernel(const char *name, const Tensor &q) : aliases_(q.device().index()) {
    statistics().launch(name);
    launch_ = streams().launch(q.device().index());
    name_ = name;
  }

  std::tuple<Tensor, Tensor> forward(const Tensor &q, const Tensor &k, const Tensor &v, double dropout, bool causal,
                                     const Mask &mask, Scale scale) {
    at::AutoDispatchBelowAutograd below;
    TORCH_CHECK(dropout == 0, "rehearsal: no dropout in attention");
    auto [out, sums] = at::_scaled_dot_product_flash_attention_for_cpu(enter(q), enter(k), enter(v), 0., causal,
                                                                       enter(mask), scale);
    return {leave(out), leave(sums)};
  }

  std::tuple<Tensor, Tensor, Tensor> backward(const Tensor &grad, const Tensor &q, const Tensor &k, const Tensor &v,
                                              const Tensor &out, const Tensor &sums, bool causal, const Mask &mask,
                                              Scale scale) {
    at::AutoDispatchBelowAutograd below;
    auto [of_q, of_k, of_v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        enter(grad), enter(q), enter(k), enter(v), enter(out), enter(sums), 0., causal, enter(mask), scale);
    return {leave(of_q), leave(of_k), leave(of_v)};
  }

  // State of the generator, which we do not use.
  Tensor no_state(const Tensor &q) const { return at::empty({}, q.options().dtype(at::kLong)); }

private:
  Tensor enter(const Tensor &tensor) {
    // With `AutoDispatchBelowAutograd`, the only check of devices is here.
    TORCH_CHECK(tensor.is_cuda(), "Expected all tensors to be on the same device, but found at least two devices, cuda "
                                  "and ",
                tensor.device(), "! (", name_, ")");
    use(tensor.storage().data(), launch_, false, name_);
    return aliases_.enter(tensor);
  }
  Mask enter(const Mask &mask) { return mask && mask->defined() ? Mask(enter(*mask)) : std::nullopt; }
  Tensor leave(const Tensor &cpu) {
    Tensor tensor = aliases_.leave(cpu);
    use(tensor.storage().data(), launch_, true, name_);
    return tensor;
  }

  Aliases aliases_;
  Launch launch_;
  std::string name_;
};

using Fused = std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor>;
using Gradients = std::tuple<Tensor, Tensor, Tensor>;

Fused flash(const Tensor &q, const Tensor &k, const Tensor &v, double dropout, bool causal, bool, Scale scale) {
  Kernel kernel("aten::_scaled_dot_product_flash_attention", q);
  auto [out, sums] = kernel.forward(q, k, v, dropout, causal, {}, scale);
  return {out, sums, {}, {}, q.size(2), k.size(2), kernel.no_state(q), kernel.no_state(q), {}};
}

Gradients flash_backward(const Tensor &grad, const Tensor &q, const Tensor &k, const Tensor &v, const Tensor &out,
                         const Tensor &sums, const Tensor &, const Tensor &, c10::SymInt, c10::SymInt, double,
                         bool causal, const Tensor &, const Tensor &, Scale scale) {
  warn_of_backward("Flash");
  Kernel kernel("aten::_scaled_dot_product_flash_attention_backward", q);
  return kernel.backward(grad, q, k, v, out, sums, causal, {}, scale);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient(const Tensor &q, const Tensor &k, const Tensor &v,
                                                     const Mask &bias, bool, double dropout, bool causal, Scale scale) {
  Kernel kernel("aten::_scaled_dot_product_efficient_attention", q);
  auto [out, sums] = kernel.forward(q, k, v, dropout, causal, bias, scale);
  return {out, sums, kernel.no_state(q), kernel.no_state(q)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor>
efficient_backward(const Tensor &grad, const Tensor &q, const Tensor &k, const Tensor &v, const Tensor &bias,
                   const Tensor &out, const Tensor &sums, const Tensor &, const Tensor &, double,
                   std::array<bool, 4> wanted, bool causal, Scale scale) {
  TORCH_CHECK(!wanted[3], "rehearsal: no gradient of an attention bias");
  warn_of_backward("Memory Efficient");
  Kernel kernel("aten::_scaled_dot_product_efficient_attention_backward", q);
  auto [of_q, of_k, of_v] = kernel.backward(grad, q, k, v, out, sums, causal, bias, scale);
  return {of_q, of_k, of_v, {}};
}

Fused cudnn(const Tensor &q, const Tensor &k, const Tensor &v, const Mask &bias, bool, double dropout, bool causal, bool,
            Scale scale) {
  Kernel kernel("aten::_scaled_dot_product_cudnn_attention", q);
  auto [out, sums] = kernel.forward(q, k, v, dropout, causal, bias, scale);
  return {out, sums, {}, {}, q.size(2), k.size(2), kernel.no_state(q), kernel.no_state(q), {}};
}

Gradients cudnn_backward(const Tensor &grad, const Tensor &q, const Tensor &k, const Tensor &v, const Tensor &out,
                         const Tensor &sums, const Tensor &, const Tensor &, const Tensor &bias, const Tensor &,
                         const Tensor &, c10::SymInt, c10::SymInt, double, bool causal, Scale scale) {
  warn_of_backward("cuDNN");
  Kernel kernel("aten::_scaled_dot_product_cudnn_attention_backward", q);
  return kernel.backward(grad, q, k, v, out, sums, causal, bias, scale);
}

int64_t choose_by_operator(const Tensor &q, const Tensor &k, const Tensor &v, const Mask &mask, double dropout,
                           bool causal, Scale scale, bool gqa) {
  return choose(q, k, v, mask, dropout, causal, scale, gqa);
}

} // namespace

void register_attention(torch::Library &aten, std::set<std::string> &own) {
  add(aten, own, "_fused_sdp_choice", TORCH_FN(choose_by_operator));
  add(aten, own, "_scaled_dot_product_flash_attention", TORCH_FN(flash));
  add(aten, own, "_scaled_dot_product_flash_attention_backward", TORCH_FN(flash_backward));
  add(aten, own, "_scaled_dot_product_efficient_attention", TORCH_FN(efficient));
  add(aten, own, "_scaled_dot_product_efficient_attention_backward", TORCH_FN(efficient_backward));
  add(aten, own, "_scaled_dot_product_cudnn_attention", TORCH_FN(cudnn));
  add(aten, own, "_scaled_dot_product_cudnn_attention_backward", TORCH_FN(cudnn_backward));
}

} // namespace rehearsal

namespace at::native {
// `scaled_dot_product_attention` does not ask the operator, but this.
REGISTER_CUDA_DISPATCH(_fused_sdp_choice_stub, &rehearsal::choose)
} // namespace at::native
