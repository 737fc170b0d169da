// Which four pixels of a map a location reads, and with which coefficients: bilinear, zeros
// outside, align_corners = false.
#pragma once
#include "vectorized.h"

#include <cmath>
#include <cstdint>
#include <limits>

// The pixel coordinate of a location in [0, 1]. Rounded as grid_sample rounds after the reference's
// `2 * location - 1`: on the lattice of pixel centres, where freshly initialised offsets are, the last
// bit decides which neighbours a gradient of the location sees. libtorch's kernel multiplies and adds
// in one rounding; for fp32, computing in fp64 gives the same result on every processor.
INLINED float pixel(float location, int32_t size) {
  float shifted = (2.0f * location - 1.0f) + 1.0f;
  return static_cast<float>(static_cast<double>(shifted) * (0.5 * size) - 0.5);
}
INLINED double pixel(double location, int32_t size) {
  return std::fma((2.0 * location - 1.0) + 1.0, 0.5 * size, -0.5);
}

// Neighbours in the order top left, top right, bottom left, bottom right, as indices into a list of
// pixels. Those outside are moved to the nearest pixel, with a coefficient of zero, so that loops have no
// branches and no location, NaN and infinity included, reads out of bounds.
template <typename T> struct Neighbours {
  int32_t pixel[4];
  T inside[4];      // 1, or 0 for a neighbour outside
  T coefficient[4]; // NaN throughout for a location of NaN
  T x, y;           // fractions towards the right and the bottom, or NaN
};

// Floor and fraction; coordinates far outside are moved to just outside, NaN to the left.
template <typename T> INLINED int32_t whole(T at, int32_t size, T &fraction) {
  T near = at > T(-2) ? at : T(-2);
  near = near < T(size + 1) ? near : T(size + 1);
  int32_t below = static_cast<int32_t>(near);
  below -= static_cast<T>(below) > near;
  fraction = near - static_cast<T>(below);
  return below;
}

INLINED int32_t clamped(int32_t at, int32_t size) {
  at = at < 0 ? 0 : at;
  return at < size ? at : size - 1;
}

template <typename T>
INLINED Neighbours<T> neighbours(T location_x, T location_y, int32_t width, int32_t height, int32_t start) {
  Neighbours<T> n;
  T at_x = pixel(location_x, width), at_y = pixel(location_y, height);
  int32_t left = whole(at_x, width, n.x), top = whole(at_y, height, n.y);
  T in_left = left >= 0 && left < width, in_right = left >= -1 && left < width - 1;
  T in_top = top >= 0 && top < height, in_bottom = top >= -1 && top < height - 1;
  int32_t x0 = clamped(left, width), x1 = clamped(left + 1, width);
  int32_t y0 = start + clamped(top, height) * width, y1 = start + clamped(top + 1, height) * width;
  n.pixel[0] = y0 + x0, n.pixel[1] = y0 + x1, n.pixel[2] = y1 + x0, n.pixel[3] = y1 + x1;
  n.inside[0] = in_top * in_left, n.inside[1] = in_top * in_right;
  n.inside[2] = in_bottom * in_left, n.inside[3] = in_bottom * in_right;
  // NaN must appear in the result, or a diverged model would look healthy.
  T nan = at_x == at_x && at_y == at_y ? T(0) : std::numeric_limits<T>::quiet_NaN();
  T right = n.x, bottom = n.y;
  n.coefficient[0] = (T(1) - right) * (T(1) - bottom) * n.inside[0] + nan;
  n.coefficient[1] = right * (T(1) - bottom) * n.inside[1] + nan;
  n.coefficient[2] = (T(1) - right) * bottom * n.inside[2] + nan;
  n.coefficient[3] = right * bottom * n.inside[3] + nan;
  n.x += nan, n.y += nan;
  return n;
}
