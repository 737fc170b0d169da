// The CPU loops of deformable attention's sampling. For notation and design see deformable.cpp.
#pragma once
#include "bilinear.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace deformable {
namespace {

struct Level {
  int64_t h, w;
};

struct Shape {
  int64_t b, s, heads, d, queries, levels, points;
  int64_t samples() const { return levels * points; }
};

template <typename T, int N> struct VectorOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
// 64 bytes, a register of AVX-512; narrower processors take several.
template <typename T> constexpr int kWide = 64 / sizeof(T);
template <typename T> using Wide = typename VectorOf<T, kWide<T>>::type;
template <typename T> using Quad = typename VectorOf<T, 4>::type;

template <typename V, typename T> INLINED V load(const T *from) {
  V v;
  memcpy(&v, from, sizeof(V));
  return v;
}
template <typename V, typename T> INLINED void store(T *to, const V &v) { memcpy(to, &v, sizeof(V)); }

// For each of a head's samples, the level it reads.
struct SampleMaps {
  std::vector<int32_t> width, height, start;

  SampleMaps(const std::vector<Level> &maps, int64_t points) {
    int32_t first = 0;
    for (auto &map : maps) {
      width.insert(width.end(), points, static_cast<int32_t>(map.w));
      height.insert(height.end(), points, static_cast<int32_t>(map.h));
      start.insert(start.end(), points, first);
      first += static_cast<int32_t>(map.h * map.w);
    }
  }
};

// Neighbours of a head's samples, in groups of four.
template <typename T> struct Samples {
  std::vector<int32_t> pixel; // [4, n]
  std::vector<T> coefficient, inside, dot; // [4, n]
  std::vector<T> x, y;
  explicit Samples(int64_t n) : pixel(4 * n), coefficient(4 * n), inside(4 * n), dot(4 * n), x(n), y(n) {}
};

// If `weight` is null: coefficients of the bilinear rule only.
template <typename T>
INLINED void locate(const SampleMaps &maps, const T *__restrict location, const T *__restrict weight, int64_t n,
                    Samples<T> &samples) {
  const int32_t *__restrict width = maps.width.data(), *__restrict height = maps.height.data();
  const int32_t *__restrict start = maps.start.data();
  int32_t *__restrict pixel = samples.pixel.data();
  T *__restrict coefficient = samples.coefficient.data(), *__restrict inside = samples.inside.data();
  T *__restrict x = samples.x.data(), *__restrict y = samples.y.data();
  for (int64_t i = 0; i < n; ++i) {
    auto found = neighbours<T>(location[2 * i], location[2 * i + 1], width[i], height[i], start[i]);
    for (int k = 0; k < 4; ++k) {
      pixel[k * n + i] = found.pixel[k];
      coefficient[k * n + i] = weight ? found.coefficient[k] * weight[i] : found.coefficient[k];
      inside[k * n + i] = found.inside[k];
    }
    x[i] = found.x, y[i] = found.y;
  }
}

// Σ coefficient · pixel, over the four neighbours of n samples, for the channels of `count` vectors of V.
template <typename V, typename T>
INLINED void weighted_sum(const T *value, int64_t stride, const Samples<T> &samples, int64_t n, T *out) {
  const int32_t *pixel = samples.pixel.data();
  const T *coefficient = samples.coefficient.data();
  V sum0{}, sum1{}, sum2{}, sum3{}; // four chains of additions, not one
  for (int64_t i = 0; i < n; ++i) {
    sum0 += load<V>(value + pixel[i] * stride) * coefficient[i];
    sum1 += load<V>(value + pixel[n + i] * stride) * coefficient[n + i];
    sum2 += load<V>(value + pixel[2 * n + i] * stride) * coefficient[2 * n + i];
    sum3 += load<V>(value + pixel[3 * n + i] * stride) * coefficient[3 * n + i];
  }
  store(out, (sum0 + sum1) + (sum2 + sum3));
}

// Like `weighted_sum` for two vectors at a time: half the work to find the pixels.
template <typename T>
INLINED void weighted_sum_of_two(const T *value, int64_t stride, const Samples<T> &samples, int64_t n, T *out) {
  using V = Wide<T>;
  const int32_t *pixel = samples.pixel.data();
  const T *coefficient = samples.coefficient.data();
  V low0{}, low1{}, high0{}, high1{};
  for (int64_t i = 0; i < 4 * n; i += 2) {
    const T *first = value + pixel[i] * stride, *second = value + pixel[i + 1] * stride;
    low0 += load<V>(first) * coefficient[i];
    high0 += load<V>(first + kWide<T>) * coefficient[i];
    low1 += load<V>(second) * coefficient[i + 1];
    high1 += load<V>(second + kWide<T>) * coefficient[i + 1];
  }
  store(out, low0 + low1);
  store(out + kWide<T>, high0 + high1);
}

// Queries [begin, end) of all images. out [B·Q, heads, D].
template <typename T>
INLINED void forward_body(const Shape &s, const SampleMaps &maps, const T *value, const T *locations,
                          const T *weights, int64_t begin, int64_t end, T *out) {
  int64_t n = s.samples(), stride = s.heads * s.d;
  Samples<T> samples(n);
  for (int64_t query = begin; query < end; ++query)
    for (int64_t head = 0; head < s.heads; ++head) {
      int64_t unit = query * s.heads + head;
      const T *from = value + query / s.queries * s.s * stride + head * s.d;
      T *to = out + unit * s.d;
      locate(maps, locations + unit * n * 2, weights + unit * n, n, samples);
      int64_t c = 0;
      for (; c + 2 * kWide<T> <= s.d; c += 2 * kWide<T>)
        weighted_sum_of_two(from + c, stride, samples, n, to + c);
      for (; c + kWide<T> <= s.d; c += kWide<T>)
        weighted_sum<Wide<T>>(from + c, stride, samples, n, to + c);
      for (; c + 4 <= s.d; c += 4)
        weighted_sum<Quad<T>>(from + c, stride, samples, n, to + c);
      for (; c < s.d; ++c)
        weighted_sum<T>(from + c, stride, samples, n, to + c);
    }
}

// Reduces a vector to four lanes by adding.
template <typename T> INLINED Quad<T> to_quad(const Wide<T> &v) {
  T lanes[kWide<T>];
  store(lanes, v);
  Quad<T> sum = load<Quad<T>>(lanes);
  for (int lane = 4; lane < kWide<T>; lane += 4)
    sum += load<Quad<T>>(lanes + lane);
  return sum;
}

// Scalar products of `gradient` with the four neighbours of each sample: samples.dot.
template <typename T>
INLINED void dots(const T *value, int64_t stride, const T *gradient, int64_t d, int64_t n, Samples<T> &samples) {
  using V = Wide<T>;
  for (int64_t i = 0; i < n; ++i) {
    const T *row[4];
    for (int k = 0; k < 4; ++k)
      row[k] = value + samples.pixel[k * n + i] * stride;
    V sum0{}, sum1{}, sum2{}, sum3{};
    int64_t c = 0;
    for (; c + kWide<T> <= d; c += kWide<T>) {
      V g = load<V>(gradient + c);
      sum0 += g * load<V>(row[0] + c);
      sum1 += g * load<V>(row[1] + c);
      sum2 += g * load<V>(row[2] + c);
      sum3 += g * load<V>(row[3] + c);
    }
    Quad<T> quad[4] = {to_quad<T>(sum0), to_quad<T>(sum1), to_quad<T>(sum2), to_quad<T>(sum3)};
    for (int k = 0; k < 4; ++k) {
      int64_t rest = c;
      for (; rest + 4 <= d; rest += 4)
        quad[k] += load<Quad<T>>(gradient + rest) * load<Quad<T>>(row[k] + rest);
      T sum = (quad[k][0] + quad[k][1]) + (quad[k][2] + quad[k][3]);
      for (; rest < d; ++rest)
        sum += gradient[rest] * row[k][rest];
      samples.dot[k * n + i] = sum;
    }
  }
}

// Gradients of locations and weights, for queries [begin, end).
template <typename T>
INLINED void backward_samples_body(const Shape &s, const SampleMaps &maps, const T *value, const T *locations,
                                   const T *weights, const T *gradient, int64_t begin, int64_t end,
                                   T *__restrict grad_locations, T *__restrict grad_weights) {
  int64_t n = s.samples(), stride = s.heads * s.d;
  Samples<T> samples(n);
  for (int64_t query = begin; query < end; ++query)
    for (int64_t head = 0; head < s.heads; ++head) {
      int64_t unit = query * s.heads + head;
      const T *from = value + query / s.queries * s.s * stride + head * s.d;
      locate(maps, locations + unit * n * 2, static_cast<const T *>(nullptr), n, samples);
      dots(from, stride, gradient + unit * s.d, s.d, n, samples);
      const T *coefficient = samples.coefficient.data(), *inside = samples.inside.data(), *dot = samples.dot.data();
      for (int64_t i = 0; i < n; ++i) {
        T part[4], weight_gradient = 0;
        for (int k = 0; k < 4; ++k) {
          weight_gradient += coefficient[k * n + i] * dot[k * n + i];
          part[k] = inside[k * n + i] * dot[k * n + i];
        }
        T x = samples.x[i], y = samples.y[i], weight = weights[unit * n + i];
        T top = part[1] - part[0], left = part[2] - part[0], bottom = part[3] - part[2], right = part[3] - part[1];
        T along_x = top + (bottom - top) * y, along_y = left + (right - left) * x;
        grad_weights[unit * n + i] = weight_gradient;
        grad_locations[(unit * n + i) * 2] = weight * maps.width[i] * along_x;
        grad_locations[(unit * n + i) * 2 + 1] = weight * maps.height[i] * along_y;
      }
    }
}

template <typename V, typename T>
INLINED void add_rows(T *to, int64_t width, const Samples<T> &samples, int64_t count, const T *gradient) {
  V g = load<V>(gradient);
  for (int64_t i = 0; i < count; ++i) {
    T *row = to + samples.pixel[i] * width;
    store(row, load<V>(row) + g * samples.coefficient[i]);
  }
}

// What one task of the second pass accumulates.
struct ChannelBlock {
  int64_t image, head, first, width;
};

// Gradient of value for a block of channels, into `sums` [S, width], which must hold zeros.
template <typename T>
INLINED void backward_value_body(const Shape &s, const SampleMaps &maps, const T *locations, const T *weights,
                                 const T *gradient, const ChannelBlock &block, T *sums) {
  int64_t n = s.samples(), width = block.width;
  Samples<T> samples(n);
  for (int64_t query = 0; query < s.queries; ++query) {
    int64_t unit = (block.image * s.queries + query) * s.heads + block.head;
    const T *g = gradient + unit * s.d + block.first;
    locate(maps, locations + unit * n * 2, weights + unit * n, n, samples);
    int64_t c = 0;
    for (; c + kWide<T> <= width; c += kWide<T>)
      add_rows<Wide<T>>(sums + c, width, samples, 4 * n, g + c);
    for (; c + 4 <= width; c += 4)
      add_rows<Quad<T>>(sums + c, width, samples, 4 * n, g + c);
    for (; c < width; ++c)
      add_rows<T>(sums + c, width, samples, 4 * n, g + c);
  }
}

// Templates cannot be compiled for several instruction sets, but functions can.
#define FOR_TYPE(T)                                                                                                  \
  VECTORIZED void forward_queries(const Shape &s, const SampleMaps &maps, const T *value, const T *locations,        \
                                  const T *weights, int64_t begin, int64_t end, T *out) {                            \
    forward_body<T>(s, maps, value, locations, weights, begin, end, out);                                            \
  }                                                                                                                  \
  VECTORIZED void backward_samples(const Shape &s, const SampleMaps &maps, const T *value, const T *locations,       \
                                   const T *weights, const T *gradient, int64_t begin, int64_t end,                  \
                                   T *grad_locations, T *grad_weights) {                                             \
    backward_samples_body<T>(s, maps, value, locations, weights, gradient, begin, end, grad_locations,               \
                             grad_weights);                                                                          \
  }                                                                                                                  \
  VECTORIZED void backward_value(const Shape &s, const SampleMaps &maps, const T *locations, const T *weights,       \
                                 const T *gradient, const ChannelBlock &block, T *sums) {                            \
    backward_value_body<T>(s, maps, locations, weights, gradient, block, sums);                                      \
  }
FOR_TYPE(float)
FOR_TYPE(double)
#undef FOR_TYPE

} // namespace
} // namespace deformable
