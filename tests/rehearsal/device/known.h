// What is known of libtorch 2.11's CUDA kernels beyond their names.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

namespace rehearsal {

// Operators whose CUDA kernel reads a value back to the host, mostly the size of its result.
inline bool waits_for_device(const std::string &op) {
  static const std::set<std::string_view> names{
      "aten::nonzero",
      "aten::nonzero.out",
      "aten::masked_select",
      "aten::masked_select.out",
      "aten::equal",
      "aten::_unique",
      "aten::_unique2",
      "aten::unique_dim",
      "aten::unique_consecutive",
      "aten::unique_dim_consecutive",
      "aten::repeat_interleave.Tensor",
      "aten::bincount",
      "aten::histc",
      "aten::_linalg_check_errors",
  };
  return names.count(op) != 0;
}

// Operators that take index tensors from the host, and copy them each time.
inline bool takes_indices_of_host(const std::string &op) {
  for (const char *prefix : {"aten::index.Tensor", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index"})
    if (op.rfind(prefix, 0) == 0)
      return true;
  return false;
}

// Scalars of the CPU are passed to element-wise kernels by value. These read them on the device.
inline bool takes_scalars_of_host(const std::string &op) {
  for (const char *prefix : {"aten::_fused_", "aten::cat", "aten::gather", "aten::scatter", "aten::index_select",
                             "aten::embedding", "aten::_amp_", "aten::native_layer_norm", "aten::native_batch_norm"})
    if (op.rfind(prefix, 0) == 0)
      return false;
  return true;
}

// What the kernel calls itself in `alertNotDeterministic`, if it does so; null otherwise. Only names that are
// in libtorch_cuda.so of 2.11: earlier releases had more.
inline const char *not_deterministic(const std::string &op) {
  static const std::unordered_map<std::string_view, const char *> names{
      {"aten::grid_sampler_2d_backward", "grid_sampler_2d_backward_cuda"},
      {"aten::grid_sampler_3d_backward", "grid_sampler_3d_backward_cuda"},
      {"aten::upsample_linear1d_backward", "upsample_linear1d_backward_out_cuda"},
      {"aten::upsample_bilinear2d_backward", "upsample_bilinear2d_backward_out_cuda"},
      {"aten::upsample_bicubic2d_backward", "upsample_bicubic2d_backward_out_cuda"},
      {"aten::upsample_trilinear3d_backward", "upsample_trilinear3d_backward_out_cuda"},
      {"aten::max_pool3d_with_indices_backward", "max_pool3d_with_indices_backward_cuda"},
      {"aten::avg_pool3d_backward", "avg_pool3d_backward_cuda"},
      {"aten::adaptive_max_pool2d_backward", "adaptive_max_pool2d_backward_cuda"},
      {"aten::_adaptive_avg_pool2d_backward", "adaptive_avg_pool2d_backward_cuda"},
      {"aten::_adaptive_avg_pool3d_backward", "adaptive_avg_pool3d_backward_cuda"},
      {"aten::reflection_pad1d_backward", "reflection_pad1d_backward_out_cuda"},
      {"aten::replication_pad1d_backward", "replication_pad1d_backward_cuda"},
      {"aten::replication_pad2d_backward", "replication_pad2d_backward_cuda"},
      {"aten::nll_loss2d_forward", "nll_loss2d_forward_out_cuda_template"},
      {"aten::_ctc_loss_backward", "ctc_loss_backward_gpu"},
      {"aten::median.dim_values", "median CUDA with indices output"},
      {"aten::histc", "_histc_cuda with floating point input"},
  };
  // Kernels with an `out` argument are the same.
  auto end = op.size();
  for (std::string_view form : {".grad_input", ".out"})
    if (op.size() > form.size() && std::string_view(op).substr(op.size() - form.size()) == form)
      end = op.size() - form.size();
  auto found = names.find(std::string_view(op).substr(0, end));
  return found == names.end() ? nullptr : found->second;
}

} // namespace rehearsal
