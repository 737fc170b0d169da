// The sampling of multi-scale deformable attention (Deformable DETR): one kernel on the CPU, composed
// of grid_sampler elsewhere.
//
// Notation: value [B, S, heads, D], the S pixels of L levels, level after level; locations
// [B, Q, heads, L, P, 2] as (x, y) in [0, 1] of the level; weights [B, Q, heads, L, P]. A head's samples
// are its n = L·P points. Nothing of size Q·heads·n·D exists: a query's samples are summed in registers.
//
// Gradients are computed in two passes, so that no two threads ever add to the same number: over queries
// for locations and weights, which read value; over (image, head, channels) for value, in the order of
// queries. Neither depends on the number of threads.
#include "shim.h"
#include "guard.h"
#include "deformable_kernel.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/grid_sampler.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

namespace deformable {
namespace {

// Returns the sizes after checking that they match, which the kernel relies on.
Shape checked(const at::Tensor &value, const at::Tensor &locations, const at::Tensor &weights,
              const std::vector<Level> &maps) {
  TORCH_CHECK(value.dim() == 4, "ms_deform_attn: value must be [B, S, heads, D], not ", value.sizes());
  TORCH_CHECK(locations.dim() == 6 && locations.size(5) == 2,
              "ms_deform_attn: sampling_locations must be [B, Q, heads, L, P, 2], not ", locations.sizes());
  int64_t b = value.size(0), s = value.size(1), heads = value.size(2), d = value.size(3);
  int64_t queries = locations.size(1), levels = static_cast<int64_t>(maps.size()), points = locations.size(4);
  TORCH_CHECK(locations.size(0) == b && locations.size(2) == heads && locations.size(3) == levels,
              "ms_deform_attn: value ", value.sizes(), " and ", levels, " levels do not match sampling_locations ",
              locations.sizes(), " [B, Q, heads, L, P, 2]");
  TORCH_CHECK(weights.sizes() == locations.sizes().slice(0, 5),
              "ms_deform_attn: attention_weights must be [B, Q, heads, L, P], ", locations.sizes().slice(0, 5),
              ", not ", weights.sizes());
  // Indices of pixels are 32 bits wide.
  TORCH_CHECK(levels > 0 && s < (int64_t(1) << 30), "ms_deform_attn: ", levels, " levels of ", s,
              " pixels; expected at least one level and less than 2^30 pixels");
  int64_t pixels = 0;
  for (auto &map : maps) {
    TORCH_CHECK(map.h > 0 && map.w > 0 && map.h <= s && map.w <= s / map.h,
                "ms_deform_attn: spatial_shapes has a level of ", map.h, " by ", map.w, ", value has S = ", s);
    pixels += map.h * map.w;
  }
  TORCH_CHECK(pixels == s, "ms_deform_attn: the levels of spatial_shapes have ", pixels,
              " pixels in total, but value has S = ", s);
  TORCH_CHECK(value.device() == locations.device() && value.device() == weights.device(),
              "ms_deform_attn: tensors must be on one device, not on ", value.device(), ", ", locations.device(),
              " and ", weights.device());
  for (auto &t : {value, locations, weights})
    TORCH_CHECK(t.is_floating_point(), "ms_deform_attn: tensors must be floating point, not ", t.scalar_type());
  return {b, s, heads, d, queries, levels, points};
}

constexpr int64_t kGrain = 64; // least number of queries per thread

template <typename T>
void grad_value(const Shape &s, const SampleMaps &maps, const T *locations, const T *weights, const T *gradient,
                T *out) {
  // Blocks of channels give work to more threads; each locates the samples again, so use no more than needed.
  int64_t units = s.b * s.heads, blocks = 1;
  while (units * blocks < at::get_num_threads() && s.d / (2 * blocks) >= kWide<T>)
    blocks *= 2;
  // Whole vectors: a channel must go through the same instructions for any number of blocks.
  int64_t width = (s.d + blocks * kWide<T> - 1) / (blocks * kWide<T>) * kWide<T>;
  blocks = std::max<int64_t>(1, (s.d + width - 1) / std::max<int64_t>(1, width));
  at::parallel_for(0, units * blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> sums(s.s * std::min(width, s.d));
    for (int64_t task = begin; task < end; ++task) {
      int64_t unit = task / blocks, first = task % blocks * width;
      ChannelBlock block{unit / s.heads, unit % s.heads, first, std::min(width, s.d - first)};
      std::fill(sums.begin(), sums.end(), T(0));
      backward_value(s, maps, locations, weights, gradient, block, sums.data());
      T *to = out + block.image * s.s * s.heads * s.d + block.head * s.d + first;
      for (int64_t p = 0; p < s.s; ++p)
        memcpy(to + p * s.heads * s.d, sums.data() + p * block.width, block.width * sizeof(T));
    }
  });
}

template <typename F> void by_dtype(const at::Tensor &t, F body) {
  if (t.scalar_type() == at::kDouble)
    body(static_cast<double *>(nullptr));
  else
    body(static_cast<float *>(nullptr));
}

std::vector<Level> levels_of(at::IntArrayRef flat) {
  std::vector<Level> maps;
  for (size_t i = 0; i + 1 < flat.size(); i += 2)
    maps.push_back({flat[i], flat[i + 1]});
  return maps;
}

// All operands have the same dtype, fp32 or fp64.
struct DeformableSampling : torch::autograd::Function<DeformableSampling> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &value_in,
                            const at::Tensor &locations_in, const at::Tensor &weights_in,
                            const std::vector<int64_t> &spatial_shapes, bool recorded) {
    auto value = value_in.contiguous(), locations = locations_in.contiguous(), weights = weights_in.contiguous();
    auto levels = levels_of(spatial_shapes);
    Shape s = checked(value, locations, weights, levels);
    SampleMaps maps(levels, s.points);
    auto out = at::empty({s.b, s.queries, s.heads * s.d}, value.options());
    by_dtype(value, [&](auto *type) {
      using T = std::remove_pointer_t<decltype(type)>;
      auto v = value.const_data_ptr<T>(), l = locations.const_data_ptr<T>(), w = weights.const_data_ptr<T>();
      auto to = out.mutable_data_ptr<T>();
      at::parallel_for(0, s.b * s.queries, kGrain,
                       [&](int64_t begin, int64_t end) { forward_queries(s, maps, v, l, w, begin, end, to); });
    });
    if (recorded) {
      ctx->save_for_backward({value, locations, weights});
      ctx->saved_data["spatial_shapes"] = spatial_shapes;
    }
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list gradients) {
    auto saved = ctx->get_saved_variables();
    auto &value = saved[0], &locations = saved[1], &weights = saved[2];
    auto levels = levels_of(ctx->saved_data["spatial_shapes"].toIntVector());
    Shape s = checked(value, locations, weights, levels);
    SampleMaps maps(levels, s.points);
    auto gradient = gradients[0].contiguous();
    torch::autograd::variable_list grads(5);
    bool samples = ctx->needs_input_grad(1) || ctx->needs_input_grad(2);
    if (samples)
      grads[1] = at::empty_like(locations), grads[2] = at::empty_like(weights);
    if (ctx->needs_input_grad(0))
      grads[0] = at::empty_like(value);
    by_dtype(value, [&](auto *type) {
      using T = std::remove_pointer_t<decltype(type)>;
      auto v = value.const_data_ptr<T>(), l = locations.const_data_ptr<T>(), w = weights.const_data_ptr<T>();
      auto g = gradient.const_data_ptr<T>();
      if (samples) {
        auto to_l = grads[1].mutable_data_ptr<T>(), to_w = grads[2].mutable_data_ptr<T>();
        at::parallel_for(0, s.b * s.queries, kGrain, [&](int64_t begin, int64_t end) {
          backward_samples(s, maps, v, l, w, g, begin, end, to_l, to_w);
        });
      }
      if (grads[0].defined())
        grad_value<T>(s, maps, l, w, g, grads[0].mutable_data_ptr<T>());
    });
    return grads;
  }
};

// As mmcv's `multi_scale_deformable_attn_pytorch`: per level a grid_sampler of [B·heads, D, h, w] at
// [B·heads, Q, P], then the weighted sum. mmcv stacks the samples of all levels first, which are by far the
// largest tensor; here each level is summed on its own, which halves the peak and the traffic.
at::Tensor composite(const Shape &s, const at::Tensor &value, const at::Tensor &locations, const at::Tensor &weights,
                     const std::vector<Level> &levels) {
  auto grids = locations.mul(2).sub(1);
  at::Tensor out;
  int64_t start = 0;
  for (int64_t l = 0; l < s.levels; ++l) {
    auto [h, w] = levels[l];
    auto map = value.narrow(1, start, h * w).permute({0, 2, 3, 1}).reshape({s.b * s.heads, s.d, h, w});
    auto grid = grids.select(3, l).transpose(1, 2).reshape({s.b * s.heads, s.queries, s.points, 2});
    auto weight = weights.select(3, l).transpose(1, 2).reshape({s.b * s.heads, 1, s.queries, s.points});
    auto level = at::grid_sampler(map, grid, 0, 0, false).mul(weight).sum(-1);
    out = out.defined() ? out.add_(level) : level;
    start += h * w;
  }
  return out.view({s.b, s.heads * s.d, s.queries}).transpose(1, 2).contiguous();
}

at::Tensor ms_deform_attn(const at::Tensor &value, at::IntArrayRef spatial_shapes, const at::Tensor &locations,
                          const at::Tensor &weights, bool composed) {
  auto levels = levels_of(spatial_shapes);
  Shape s = checked(value, locations, weights, levels);
  auto dtype = value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  auto v = value.to(dtype), l = locations.to(dtype), w = weights.to(dtype);
  if (composed || !value.device().is_cpu() || shim_is_tracing())
    return composite(s, v, l, w, levels).to(value.scalar_type());
  bool recorded =
      at::GradMode::is_enabled() && (v.requires_grad() || l.requires_grad() || w.requires_grad());
  return DeformableSampling::apply(v, l, w, spatial_shapes.vec(), recorded).to(value.scalar_type());
}

} // namespace
} // namespace deformable

char *shim_ms_deform_attn(tensor value, const int64_t *spatial_shapes, size_t num_levels, tensor sampling_locations,
                          tensor attention_weights, int composite, tensor *out) {
  return guarded([&] {
    at::IntArrayRef shapes(spatial_shapes, 2 * num_levels);
    *out = new at::Tensor(deformable::ms_deform_attn(*value, shapes, *sampling_locations, *attention_weights, composite != 0));
  });
}
