// Samples maps at points, bilinear: like point_sample of detectron2 and mmcv with zeros outside and
// align_corners = false. Masks on the CPU use a kernel that reads their bytes in place; float maps, and
// everything on other devices, use grid_sampler, which was as fast or faster.
//
// maps [N, H, W]; points [P, 2] common to all maps, or [N, P, 2], as (x, y) in [0, 1]; result [N, P], fp64
// if maps or points are, else fp32.
#include "shim.h"
#include "guard.h"
#include "bilinear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/grid_sampler.h>

#include <algorithm>
#include <vector>

namespace point_sample {
namespace {

constexpr int64_t kPoints = 2048; // points per task: its table takes 64 KiB

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
                "point_sample: maps of ", h, " by ", w, " pixels; expected at least one and less than 2^30");
    TORCH_CHECK(maps.device() == at_points.device(), "point_sample: maps are on ", maps.device(), ", but points on ",
                at_points.device());
    TORCH_CHECK(at_points.is_floating_point(), "point_sample: points must be floating point, not ",
                at_points.scalar_type());
  }
  int64_t blocks() const { return (points + kPoints - 1) / kPoints; }
};

// Neighbours of points on all maps of one size.
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

template <typename T>
INLINED void gather_body(const uint8_t *__restrict map, const int32_t *__restrict pixel,
                         const T *__restrict coefficient, int64_t stride, int64_t count, T *__restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    T sum = coefficient[i] * static_cast<T>(map[pixel[i]]);
    // One product per addition, so that it is clear which ones are fused into one rounding.
    for (int k = 1; k < 4; ++k)
      sum += coefficient[k * stride + i] * static_cast<T>(map[pixel[k * stride + i]]);
    out[i] = sum;
  }
}

// Templates cannot be compiled for several instruction sets, but functions can.
#define FOR_TYPE(T)                                                                                                  \
  VECTORIZED void locate(const T *__restrict points, int64_t count, int32_t w, int32_t h,                            \
                         int32_t *__restrict pixel, T *__restrict coefficient) {                                     \
    locate_body<T>(points, count, w, h, pixel, coefficient);                                                         \
  }                                                                                                                  \
  VECTORIZED void gather(const uint8_t *__restrict map, const int32_t *__restrict pixel,                             \
                         const T *__restrict coefficient, int64_t stride, int64_t count, T *__restrict out) {        \
    gather_body<T>(map, pixel, coefficient, stride, count, out);                                                     \
  }
FOR_TYPE(float)
FOR_TYPE(double)
#undef FOR_TYPE

template <typename T> void fill(Table<T> &table, const Shape &s, const T *points, int64_t count) {
  locate(points, count, static_cast<int32_t>(s.w), static_cast<int32_t>(s.h), table.pixel.data(),
         table.coefficient.data());
}

template <typename T> void sample_masks(const Shape &s, const uint8_t *maps, const T *points, T *out) {
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

at::Tensor composite(const Shape &s, const at::Tensor &maps, const at::Tensor &points) {
  auto grid = points.mul(2).sub(1).reshape({s.common ? 1 : s.n, s.points, 1, 2});
  auto images = maps.unsqueeze(s.common ? 0 : 1);
  return at::grid_sampler(images, grid, 0, 0, false).reshape({s.n, s.points});
}

at::Tensor point_sample(const at::Tensor &maps, const at::Tensor &points_in, bool composed) {
  Shape s(maps, points_in);
  bool fp64 = maps.scalar_type() == at::kDouble || points_in.scalar_type() == at::kDouble;
  auto dtype = fp64 ? at::kDouble : at::kFloat;
  auto points = points_in.detach().to(dtype);
  bool masks = maps.scalar_type() == at::kBool || maps.scalar_type() == at::kByte;
  TORCH_CHECK(masks || maps.is_floating_point(), "point_sample: maps must be bool, uint8 or floating point, not ",
              maps.scalar_type());
  if (composed || !masks || !maps.device().is_cpu() || shim_is_tracing())
    return composite(s, maps.to(dtype), points);
  auto bytes = maps.view(at::kByte).contiguous(), places = points.contiguous();
  auto out = at::empty({s.n, s.points}, places.options());
  auto from = bytes.const_data_ptr<uint8_t>();
  if (fp64)
    sample_masks(s, from, places.const_data_ptr<double>(), out.mutable_data_ptr<double>());
  else
    sample_masks(s, from, places.const_data_ptr<float>(), out.mutable_data_ptr<float>());
  return out;
}

} // namespace
} // namespace point_sample

char *shim_point_sample(tensor maps, tensor points, int composite, tensor *out) {
  return guarded([&] { *out = new at::Tensor(point_sample::point_sample(*maps, *points, composite != 0)); });
}
