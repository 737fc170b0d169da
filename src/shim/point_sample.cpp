// Maps sampled at points, bilinear: as detectron2's and mmcv's point_sample with zeros outside and
// align_corners = false. On the CPU in one kernel, elsewhere composed of grid_sampler.
//
// maps [N, H, W]; points [P, 2] common to all maps, or [N, P, 2], as (x, y) in [0, 1]; result [N, P].
#include "shim.h"
#include "guard.h"
#include "bilinear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/grid_sampler.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <type_traits>
#include <vector>

namespace {

constexpr int64_t kPoints = 2048; // a task: its table takes 64 KiB

struct Shape {
  int64_t n, h, w, points;
  bool common;

  Shape(const at::Tensor &maps, const at::Tensor &at_points) {
    TORCH_CHECK(maps.dim() == 3, "point_sample: maps must be [N, H, W], not ", maps.sizes());
    n = maps.size(0), h = maps.size(1), w = maps.size(2);
    common = at_points.dim() == 2;
    TORCH_CHECK((common || (at_points.dim() == 3 && at_points.size(0) == n)) && at_points.size(-1) == 2,
                "point_sample: points must be [P, 2] or [N, P, 2] for maps ", maps.sizes(), " [N, H, W], not ",
                at_points.sizes());
    points = at_points.size(-2);
    // Indices of pixels are 32 bits wide.
    TORCH_CHECK(h > 0 && w > 0 && w < (int64_t(1) << 30) / h,
                "point_sample: maps of ", h, " by ", w, " pixels; at least one, less than 2^30");
    TORCH_CHECK(maps.device() == at_points.device(), "point_sample: maps on ", maps.device(), ", points on ",
                at_points.device());
    TORCH_CHECK(at_points.is_floating_point(), "point_sample: points must be floating point, not ",
                at_points.scalar_type());
  }
  int64_t blocks() const { return (points + kPoints - 1) / kPoints; }
};

// Neighbours of points on any map of one size.
template <typename T> struct Table {
  std::vector<int32_t> pixel; // [4, count]
  std::vector<T> coefficient; // [4, count]
  explicit Table(int64_t count) : pixel(4 * count), coefficient(4 * count) {}
};

template <typename T>
INLINED void locate_body(const T *__restrict points, int64_t count, int32_t w, int32_t h, int32_t *__restrict pixel,
                         T *__restrict coefficient) {
  for (int64_t i = 0; i < count; ++i) {
    auto found = neighbours<T>(points[2 * i], points[2 * i + 1], w, h, 0);
    for (int k = 0; k < 4; ++k)
      pixel[k * count + i] = found.pixel[k], coefficient[k * count + i] = found.coefficient[k];
  }
}

template <typename T, typename M>
INLINED void gather_body(const M *__restrict map, const int32_t *__restrict pixel, const T *__restrict coefficient,
                         int64_t stride, int64_t count, T *__restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    T sum = coefficient[i] * static_cast<T>(map[pixel[i]]);
    // One product for each addition, so that it is plain which ones are fused into one rounding.
    for (int k = 1; k < 4; ++k)
      sum += coefficient[k * stride + i] * static_cast<T>(map[pixel[k * stride + i]]);
    out[i] = sum;
  }
}

#define LOCATE(T)                                                                                                    \
  VECTORIZED void locate(const T *points, int64_t count, int32_t w, int32_t h, int32_t *pixel, T *coefficient) {     \
    locate_body(points, count, w, h, pixel, coefficient);                                                            \
  }
#define GATHER(T, M)                                                                                                 \
  VECTORIZED void gather(const M *map, const int32_t *pixel, const T *coefficient, int64_t stride, int64_t count,    \
                         T *out) {                                                                                   \
    gather_body(map, pixel, coefficient, stride, count, out);                                                        \
  }
LOCATE(float)
LOCATE(double)
GATHER(float, float)
GATHER(double, double)
GATHER(float, uint8_t)
#undef LOCATE
#undef GATHER

template <typename T> void fill(Table<T> &table, const Shape &s, const T *points, int64_t count) {
  locate(points, count, static_cast<int32_t>(s.w), static_cast<int32_t>(s.h), table.pixel.data(),
         table.coefficient.data());
}

template <typename T, typename M> void forward(const Shape &s, const M *maps, const T *points, T *out) {
  Table<T> shared(s.common ? s.points : 0);
  if (s.common)
    fill(shared, s, points, s.points);
  at::parallel_for(0, s.n * s.blocks(), 4, [&](int64_t begin, int64_t end) {
    Table<T> own(s.common ? 0 : kPoints);
    for (int64_t task = begin; task < end; ++task) {
      int64_t map = task / s.blocks(), first = task % s.blocks() * kPoints;
      int64_t count = std::min(kPoints, s.points - first);
      if (!s.common)
        fill(own, s, points + (map * s.points + first) * 2, count);
      auto &table = s.common ? shared : own;
      int64_t offset = s.common ? first : 0, stride = s.common ? s.points : count;
      gather(maps + map * s.h * s.w, table.pixel.data() + offset, table.coefficient.data() + offset, stride, count,
             out + map * s.points + first);
    }
  });
}

// Each map by one thread, in the order of its points: the same sums for any number of threads.
template <typename T> void backward(const Shape &s, const T *points, const T *gradient, T *grad_maps) {
  at::parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    Table<T> table(s.points);
    for (int64_t map = begin; map < end; ++map) {
      if (!s.common || map == begin)
        fill(table, s, points + (s.common ? 0 : map * s.points * 2), s.points);
      T *to = grad_maps + map * s.h * s.w;
      const T *g = gradient + map * s.points;
      for (int64_t i = 0; i < s.points; ++i)
        for (int k = 0; k < 4; ++k)
          to[table.pixel[k * s.points + i]] += table.coefficient[k * s.points + i] * g[i];
    }
  });
}

template <typename F> void by_dtype(const at::Tensor &t, F body) {
  if (t.scalar_type() == at::kDouble)
    body(static_cast<double *>(nullptr));
  else
    body(static_cast<float *>(nullptr));
}

// Maps and points are of one dtype, fp32 or fp64; or maps are bytes and points fp32.
struct PointSample : torch::autograd::Function<PointSample> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &maps_in,
                            const at::Tensor &points_in) {
    auto maps = maps_in.contiguous(), points = points_in.contiguous();
    Shape s(maps, points);
    auto out = at::empty({s.n, s.points}, points.options().requires_grad(false));
    if (maps.scalar_type() == at::kByte)
      ::forward(s, maps.const_data_ptr<uint8_t>(), points.const_data_ptr<float>(), out.mutable_data_ptr<float>());
    else
      by_dtype(maps, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        ::forward(s, maps.const_data_ptr<T>(), points.const_data_ptr<T>(), out.mutable_data_ptr<T>());
      });
    // Its values are not needed, but its shape is; points are small.
    ctx->save_for_backward({points});
    ctx->saved_data["sizes"] = maps.sizes().vec();
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list gradients) {
    auto points = ctx->get_saved_variables()[0];
    auto gradient = gradients[0].contiguous();
    auto grad_maps = at::zeros(ctx->saved_data["sizes"].toIntVector(), gradient.options());
    Shape s(grad_maps, points);
    by_dtype(gradient, [&](auto *type) {
      using T = std::remove_pointer_t<decltype(type)>;
      ::backward(s, points.const_data_ptr<T>(), gradient.const_data_ptr<T>(), grad_maps.mutable_data_ptr<T>());
    });
    return {grad_maps, at::Tensor()};
  }
};

at::Tensor composite(const Shape &s, const at::Tensor &maps, const at::Tensor &points) {
  auto grid = points.mul(2).sub(1).reshape({s.common ? 1 : s.n, s.points, 1, 2});
  auto images = maps.unsqueeze(s.common ? 0 : 1);
  return at::grid_sampler(images, grid, 0, 0, false).reshape({s.n, s.points});
}

at::Tensor point_sample(const at::Tensor &maps, const at::Tensor &points_in, bool composed) {
  Shape s(maps, points_in);
  auto dtype = maps.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  auto points = points_in.detach().to(dtype);
  bool masks = maps.scalar_type() == at::kBool || maps.scalar_type() == at::kByte;
  TORCH_CHECK(masks || maps.is_floating_point(), "point_sample: maps must be bool, uint8 or floating point, not ",
              maps.scalar_type());
  if (composed || !maps.device().is_cpu())
    return composite(s, maps.to(dtype), points);
  return PointSample::apply(masks ? maps.view(at::kByte) : maps.to(dtype), points);
}

} // namespace

char *shim_point_sample(tensor maps, tensor points, int composite, tensor *out) {
  return guarded([&] { *out = new at::Tensor(point_sample(*maps, *points, composite != 0)); });
}
