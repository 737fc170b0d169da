// Fused attention over a token grid with decomposed relative positions, on the CPU.
//
// Scores are computed for blocks of keys × queries that stay in the cache; the N×N matrix never
// exists. Everything is kept transposed (keys down, queries across), so that the softmax runs
// element by element along vectors of queries, without horizontal reductions, and the operands of
// every product have the layout that oneDNN's micro kernel expects. Products and sums are fp32
// whatever the dtype of the tensors.
//
// Notation: S_h × S_w tokens are a span (a window, or the whole grid); a unit is one head of one span
// of one image; d is the width of a head.
#include "shim.h"
#include "guard.h"
#include "vectorized.h"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace attention {
namespace {

using at::native::cpublas::brgemm;

constexpr int64_t kQueries = 64;    // queries in a block: four vectors of 16
constexpr int64_t kKeys = 512;      // keys in a block, roughly: scores take 128 KiB, half of a small L2 cache
constexpr int64_t kVector = 16;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// exp for x <= 0: 2^n · e^r with |r| <= ln2 / 2; a polynomial of degree 6, within 2 ulp.
// NaN is passed through.
inline __attribute__((always_inline)) float exp_of(float x) {
  x = x < -87.0f ? -87.0f : x;
  float shifted = x * 1.44269504088896341f + 12582912.0f;
  float n = shifted - 12582912.0f;
  float r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t bits, power;
  memcpy(&bits, &shifted, 4);
  memcpy(&power, &p, 4);
  power += bits << 23;
  memcpy(&p, &power, 4);
  return p;
}

// Adds positions to the scores of one row of keys (columns: m queries) and updates the maxima.
VECTORIZED void add_positions(float *__restrict s, const float *__restrict rel_h, const float *__restrict rel_w,
                              float *__restrict maximum, int64_t rows, int64_t m) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < m; ++c) {
      float x = s[r * m + c] + (rel_h[c] + rel_w[r * m + c]);
      s[r * m + c] = x;
      maximum[c] = x > maximum[c] ? x : maximum[c];
    }
}

// Turns scores into weights, still to be divided by their sum. Sums in short runs: adding thousands
// of small terms one by one to a large sum would lose a digit.
VECTORIZED void exponentiate(float *__restrict s, const float *__restrict maximum, float *__restrict sum,
                             int64_t rows, int64_t m) {
  for (int64_t start = 0; start < rows; start += 32) {
    float run[kQueries] = {};
    for (int64_t r = start; r < std::min(rows, start + 32); ++r)
      for (int64_t c = 0; c < m; ++c) {
        float p = exp_of(s[r * m + c] - maximum[c]);
        s[r * m + c] = p;
        run[c] += p;
      }
    for (int64_t c = 0; c < m; ++c)
      sum[c] += run[c];
  }
}

// The maxima rose from `old` to `maximum`: scales down the sums so far.
VECTORIZED void rescale(float *__restrict old, const float *__restrict maximum, float *__restrict sum,
                        float *__restrict out, int64_t d, int64_t m) {
  for (int64_t c = 0; c < m; ++c) {
    old[c] = exp_of(old[c] - maximum[c]);
    sum[c] *= old[c];
  }
  for (int64_t i = 0; i < d; ++i)
    for (int64_t c = 0; c < m; ++c)
      out[i * m + c] *= old[c];
}

// Turns scores into weights, with the log-sum-exp from forward.
VECTORIZED void weights(float *__restrict s, const float *__restrict rel_h, const float *__restrict rel_w,
                        const float *__restrict lse, int64_t rows, int64_t m) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < m; ++c)
      s[r * m + c] = exp_of(s[r * m + c] + (rel_h[c] + rel_w[r * m + c]) - lse[c]);
}

// ds = p (dp − delta), and its sums over keys of one row (rel_h) and of one column (rel_w).
VECTORIZED void score_gradients(const float *__restrict p, float *__restrict ds, const float *__restrict delta,
                                float *__restrict grad_rel_h, float *__restrict grad_rel_w, int64_t rows,
                                int64_t m) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < m; ++c) {
      float g = p[r * m + c] * (ds[r * m + c] - delta[c]);
      ds[r * m + c] = g;
      grad_rel_h[c] += g;
      grad_rel_w[r * m + c] += g;
    }
}

struct Shape {
  int64_t b, h, w, heads, d, window; // window 0: global
  int64_t span_h, span_w, rows, columns, keys;

  Shape(const at::Tensor &qkv, int64_t heads_, int64_t window_) : heads(heads_), window(window_) {
    TORCH_CHECK(qkv.dim() == 4 && qkv.size(3) % (3 * heads) == 0, "qkv must be [B, H, W, 3C]");
    b = qkv.size(0), h = qkv.size(1), w = qkv.size(2), d = qkv.size(3) / 3 / heads;
    span_h = window ? window : h, span_w = window ? window : w;
    rows = (h + span_h - 1) / span_h, columns = (w + span_w - 1) / span_w;
    keys = span_h * span_w;
  }
  int64_t channels() const { return heads * d; }
  int64_t units() const { return b * rows * columns * heads; }
  // Whole rows of keys, so that a block has whole rows of position scores.
  int64_t rows_per_block() const { return std::max<int64_t>(1, std::min(span_h, kKeys / span_w)); }
};

// One head of one span of one image.
struct Unit {
  const Shape &s;
  int64_t image, top, left, head, valid_h, valid_w;

  Unit(const Shape &shape, int64_t index) : s(shape) {
    head = index % s.heads, index /= s.heads;
    left = index % s.columns * s.span_w, index /= s.columns;
    top = index % s.rows * s.span_h, image = index / s.rows;
    valid_h = std::min(s.span_h, s.h - top), valid_w = std::min(s.span_w, s.w - left);
  }
  int64_t queries() const { return valid_h * valid_w; }
  int64_t token(int64_t y, int64_t x) const { return (image * s.h + top + y) * s.w + left + x; }
  // Token of the n-th query; tokens beyond the grid have no queries.
  int64_t query(int64_t n, int64_t &y, int64_t &x) const {
    y = n / valid_w, x = n % valid_w;
    return token(y, x);
  }
};

template <typename T> void read_row(const T *from, float *to, int64_t d) {
  for (int64_t i = 0; i < d; ++i)
    to[i] = static_cast<float>(from[i]);
}

// Keys (part 1) or values (part 2) of a unit, [keys, d]; tokens beyond the grid are `padding`.
template <typename T>
void gather(const Unit &unit, const T *qkv, const float *padding, int64_t part, float *to) {
  const Shape &s = unit.s;
  int64_t offset = part * s.channels() + unit.head * s.d;
  for (int64_t y = 0; y < s.span_h; ++y)
    for (int64_t x = 0; x < s.span_w; ++x, to += s.d)
      if (y < unit.valid_h && x < unit.valid_w)
        read_row(qkv + unit.token(y, x) * 3 * s.channels() + offset, to, s.d);
      else
        memcpy(to, padding + offset, s.d * sizeof(float));
}

// Transposes blocks of [keys, d] to blocks of [d, keys], each contiguous.
void transpose_blocks(const Shape &s, const float *from, float *to) {
  int64_t block = s.rows_per_block() * s.span_w;
  for (int64_t start = 0; start < s.keys; start += block) {
    int64_t n = std::min(block, s.keys - start);
    for (int64_t i = 0; i < s.d; ++i)
      for (int64_t k = 0; k < n; ++k)
        to[start * s.d + i * n + k] = from[(start + k) * s.d + i];
  }
}

// A block of up to kQueries queries: the columns of all matrices; the last ones may be unused.
struct QueryBlock {
  int64_t count, m;             // number of queries, and the same rounded up to whole vectors
  int64_t token[kQueries], y[kQueries], x[kQueries];
  std::vector<float> q;         // [d, m], times 1/√d
  std::vector<float> table;     // scores of every relative offset, [2S − 1, m]
  std::vector<float> rel_h, rel_w; // [S_h, m], [S_w, m]

  explicit QueryBlock(const Shape &s)
      : q(s.d * kQueries), table((2 * std::max(s.span_h, s.span_w) - 1) * kQueries), rel_h(s.span_h * kQueries),
        rel_w(s.span_w * kQueries) {}

  template <typename T> void read(const Unit &unit, const T *qkv, int64_t first) {
    const Shape &s = unit.s;
    count = std::min(kQueries, unit.queries() - first);
    m = round_up(count, kVector);
    float scale = 1.0f / std::sqrt(static_cast<float>(s.d));
    if (count < m)
      std::fill(q.begin(), q.end(), 0.0f);
    for (int64_t c = 0; c < count; ++c) {
      token[c] = unit.query(first + c, y[c], x[c]);
      const T *row = qkv + token[c] * 3 * s.channels() + unit.head * s.d;
      for (int64_t i = 0; i < s.d; ++i)
        q[i * m + c] = static_cast<float>(row[i]) * scale;
    }
    for (int64_t c = count; c < m; ++c)
      y[c] = x[c] = 0;
  }

  // [S, m] from q · R[query − key + S − 1].
  void positions(const Shape &s, const float *rel_table, int64_t span, const int64_t *at, float *out) {
    int64_t offsets = 2 * span - 1;
    brgemm(offsets, m, s.d, s.d, m, m, false, rel_table, q.data(), table.data());
    float back = std::sqrt(static_cast<float>(s.d)); // q is scaled, positions need it unscaled
    for (int64_t k = 0; k < span; ++k)
      for (int64_t c = 0; c < m; ++c)
        out[k * m + c] = table[(at[c] - k + span - 1) * m + c] * back;
  }
  void positions(const Shape &s, const float *table_h, const float *table_w) {
    positions(s, table_h, s.span_h, y, rel_h.data());
    positions(s, table_w, s.span_w, x, rel_w.data());
  }
};

struct ForwardScratch {
  QueryBlock block;
  std::vector<float> scores, out; // [block of keys, m], [d, m]
  float maximum[kQueries], before[kQueries], sum[kQueries];
  explicit ForwardScratch(const Shape &s)
      : block(s), scores(s.rows_per_block() * s.span_w * kQueries), out(s.d * kQueries) {}
};

// Keys and values of a unit in the layout of forward.
struct Packed {
  const float *keys;              // [keys, d]
  const float *values_transposed; // blocks of [d, keys]
};

template <typename T>
void forward_block(const Unit &unit, const T *qkv, const Packed &packed, const float *table_h, const float *table_w,
                   int64_t first, ForwardScratch &scratch, T *out, float *lse) {
  const Shape &s = unit.s;
  QueryBlock &block = scratch.block;
  block.read(unit, qkv, first);
  block.positions(s, table_h, table_w);
  int64_t m = block.m, rows = s.rows_per_block();
  std::fill_n(scratch.maximum, m, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.sum, m, 0.0f);
  for (int64_t y = 0; y < s.span_h; y += rows) {
    int64_t rows_here = std::min(rows, s.span_h - y), n = rows_here * s.span_w, start = y * s.span_w;
    float *scores = scratch.scores.data();
    brgemm(n, m, s.d, s.d, m, m, false, packed.keys + start * s.d, block.q.data(), scores);
    memcpy(scratch.before, scratch.maximum, m * sizeof(float));
    for (int64_t r = 0; r < rows_here; ++r)
      add_positions(scores + r * s.span_w * m, block.rel_h.data() + (y + r) * m, block.rel_w.data(), scratch.maximum,
                    s.span_w, m);
    if (y > 0)
      rescale(scratch.before, scratch.maximum, scratch.sum, scratch.out.data(), s.d, m);
    exponentiate(scores, scratch.maximum, scratch.sum, n, m);
    brgemm(s.d, m, n, n, m, m, y > 0, packed.values_transposed + start * s.d, scores, scratch.out.data());
  }
  for (int64_t c = 0; c < block.count; ++c) {
    T *row = out + block.token[c] * s.channels() + unit.head * s.d;
    float inverse = 1.0f / scratch.sum[c];
    for (int64_t i = 0; i < s.d; ++i)
      row[i] = static_cast<T>(scratch.out[i * m + c] * inverse);
    if (lse)
      lse[block.token[c] * s.heads + unit.head] = scratch.maximum[c] + std::log(scratch.sum[c]);
  }
}

// With enough units for every thread, each thread takes whole units. With few (one image, global),
// keys and values are packed first, then the threads share the blocks of queries.
template <typename T>
void forward(const Shape &s, const T *qkv, const float *padding, const float *table_h, const float *table_w, T *out,
             float *lse) {
  int64_t size = s.keys * s.d;
  if (s.units() >= 4 * at::get_num_threads()) {
    at::parallel_for(0, s.units(), 1, [&](int64_t begin, int64_t end) {
      std::vector<float> keys(size), values(size), transposed(size);
      ForwardScratch scratch(s);
      for (int64_t index = begin; index < end; ++index) {
        Unit unit(s, index);
        gather(unit, qkv, padding, 1, keys.data());
        gather(unit, qkv, padding, 2, values.data());
        transpose_blocks(s, values.data(), transposed.data());
        for (int64_t first = 0; first < unit.queries(); first += kQueries)
          forward_block(unit, qkv, {keys.data(), transposed.data()}, table_h, table_w, first, scratch, out, lse);
      }
    });
    return;
  }
  std::vector<float> keys(s.units() * size), transposed(s.units() * size);
  at::parallel_for(0, s.units(), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> values(size);
    for (int64_t index = begin; index < end; ++index) {
      Unit unit(s, index);
      gather(unit, qkv, padding, 1, keys.data() + index * size);
      gather(unit, qkv, padding, 2, values.data());
      transpose_blocks(s, values.data(), transposed.data() + index * size);
    }
  });
  int64_t blocks = (s.keys + kQueries - 1) / kQueries;
  at::parallel_for(0, s.units() * blocks, 1, [&](int64_t begin, int64_t end) {
    ForwardScratch scratch(s);
    for (int64_t task = begin; task < end; ++task) {
      int64_t index = task / blocks, first = task % blocks * kQueries;
      Unit unit(s, index);
      if (first < unit.queries())
        forward_block(unit, qkv, {keys.data() + index * size, transposed.data() + index * size}, table_h, table_w,
                      first, scratch, out, lse);
    }
  });
}

// What a thread accumulates over its units.
struct SharedGradients {
  std::vector<float> padding, table_h, table_w; // [3C], [2S − 1, d]
  explicit SharedGradients(const Shape &s)
      : padding(3 * s.channels()), table_h((2 * s.span_h - 1) * s.d), table_w((2 * s.span_w - 1) * s.d) {}
};

struct BackwardScratch {
  QueryBlock block;
  std::vector<float> keys, keys_transposed, values, grad_keys, grad_values; // [keys, d]
  std::vector<float> q_rows, grad_rows;    // [m, d]: queries (scaled), gradient of the output
  std::vector<float> grad_columns, grad_q; // [d, m]
  std::vector<float> p, ds;                // [block of keys, m]
  std::vector<float> grad_rel_h, grad_rel_w, grad_table;
  float lse[kQueries], delta[kQueries];

  explicit BackwardScratch(const Shape &s)
      : block(s), keys(s.keys * s.d), keys_transposed(keys.size()), values(keys.size()), grad_keys(keys.size()),
        grad_values(keys.size()), q_rows(kQueries * s.d), grad_rows(q_rows.size()), grad_columns(q_rows.size()),
        grad_q(q_rows.size()), p(s.rows_per_block() * s.span_w * kQueries), ds(p.size()),
        grad_rel_h(s.span_h * kQueries), grad_rel_w(s.span_w * kQueries), grad_table(block.table.size()) {}
};

template <typename T>
void read_gradients(const Unit &unit, const T *out, const T *grad_out, const float *lse, BackwardScratch &scratch) {
  const Shape &s = unit.s;
  const QueryBlock &block = scratch.block;
  int64_t m = block.m;
  if (block.count < m) {
    std::fill(scratch.grad_rows.begin(), scratch.grad_rows.end(), 0.0f);
    std::fill(scratch.grad_columns.begin(), scratch.grad_columns.end(), 0.0f);
  }
  for (int64_t c = 0; c < m; ++c) {
    scratch.delta[c] = 0, scratch.lse[c] = 0;
    for (int64_t i = 0; i < s.d; ++i)
      scratch.q_rows[c * s.d + i] = block.q[i * m + c];
    if (c >= block.count)
      continue;
    int64_t at = block.token[c] * s.channels() + unit.head * s.d;
    for (int64_t i = 0; i < s.d; ++i) {
      float g = static_cast<float>(grad_out[at + i]);
      scratch.grad_rows[c * s.d + i] = scratch.grad_columns[i * m + c] = g;
      scratch.delta[c] += g * static_cast<float>(out[at + i]);
    }
    scratch.lse[c] = lse[block.token[c] * s.heads + unit.head];
  }
}

// Propagates gradients of position scores to the table of offsets and to the queries.
void positions_backward(const Shape &s, const float *table_transposed, int64_t span, const int64_t *at,
                        const float *grad_rel, float *grad_table, BackwardScratch &scratch) {
  const QueryBlock &block = scratch.block;
  int64_t m = block.m, offsets = 2 * span - 1;
  float *scattered = scratch.grad_table.data();
  std::fill_n(scattered, offsets * m, 0.0f);
  for (int64_t k = 0; k < span; ++k)
    for (int64_t c = 0; c < block.count; ++c)
      scattered[(at[c] - k + span - 1) * m + c] = grad_rel[k * m + c];
  // The table's gradient is computed with scaled queries; the caller undoes the scaling once.
  brgemm(offsets, s.d, m, m, s.d, s.d, true, scattered, scratch.q_rows.data(), grad_table);
  brgemm(s.d, m, offsets, offsets, m, m, true, table_transposed, scattered, scratch.grad_q.data());
}

struct Tables {
  const float *h, *w, *h_transposed, *w_transposed;
};

template <typename T>
void backward_block(const Unit &unit, const T *qkv, const T *out, const T *grad_out, const float *lse,
                    const Tables &tables, int64_t first, BackwardScratch &scratch, T *grad_qkv,
                    SharedGradients &shared) {
  const Shape &s = unit.s;
  QueryBlock &block = scratch.block;
  block.read(unit, qkv, first);
  block.positions(s, tables.h, tables.w);
  read_gradients(unit, out, grad_out, lse, scratch);
  int64_t m = block.m, rows = s.rows_per_block();
  std::fill(scratch.grad_rel_h.begin(), scratch.grad_rel_h.end(), 0.0f);
  std::fill(scratch.grad_rel_w.begin(), scratch.grad_rel_w.end(), 0.0f);
  for (int64_t y = 0; y < s.span_h; y += rows) {
    int64_t rows_here = std::min(rows, s.span_h - y), n = rows_here * s.span_w, start = y * s.span_w * s.d;
    float *p = scratch.p.data(), *ds = scratch.ds.data();
    brgemm(n, m, s.d, s.d, m, m, false, scratch.keys.data() + start, block.q.data(), p);
    brgemm(n, m, s.d, s.d, m, m, false, scratch.values.data() + start, scratch.grad_columns.data(), ds);
    for (int64_t r = 0; r < rows_here; ++r) {
      int64_t at = r * s.span_w * m;
      weights(p + at, block.rel_h.data() + (y + r) * m, block.rel_w.data(), scratch.lse, s.span_w, m);
      score_gradients(p + at, ds + at, scratch.delta, scratch.grad_rel_h.data() + (y + r) * m,
                      scratch.grad_rel_w.data(), s.span_w, m);
    }
    // Unused columns have weights but neither gradient nor query: they add zero.
    brgemm(n, s.d, m, m, s.d, s.d, true, p, scratch.grad_rows.data(), scratch.grad_values.data() + start);
    brgemm(n, s.d, m, m, s.d, s.d, true, ds, scratch.q_rows.data(), scratch.grad_keys.data() + start);
    brgemm(s.d, m, n, n, m, m, y > 0, scratch.keys_transposed.data() + start, ds, scratch.grad_q.data());
  }
  float scale = 1.0f / std::sqrt(static_cast<float>(s.d));
  for (int64_t i = 0; i < s.d * m; ++i)
    scratch.grad_q[i] *= scale;
  positions_backward(s, tables.h_transposed, s.span_h, block.y, scratch.grad_rel_h.data(), shared.table_h.data(),
                     scratch);
  positions_backward(s, tables.w_transposed, s.span_w, block.x, scratch.grad_rel_w.data(), shared.table_w.data(),
                     scratch);
  for (int64_t c = 0; c < block.count; ++c) {
    T *row = grad_qkv + block.token[c] * 3 * s.channels() + unit.head * s.d;
    for (int64_t i = 0; i < s.d; ++i)
      row[i] = static_cast<T>(scratch.grad_q[i * m + c]);
  }
}

// Adds gradients of keys and values to their tokens, those of tokens beyond the grid to the padding.
template <typename T>
void scatter(const Unit &unit, const float *from, int64_t part, T *grad_qkv, float *grad_padding) {
  const Shape &s = unit.s;
  int64_t offset = part * s.channels() + unit.head * s.d;
  for (int64_t y = 0; y < s.span_h; ++y)
    for (int64_t x = 0; x < s.span_w; ++x, from += s.d)
      if (y < unit.valid_h && x < unit.valid_w) {
        T *row = grad_qkv + unit.token(y, x) * 3 * s.channels() + offset;
        for (int64_t i = 0; i < s.d; ++i)
          row[i] = static_cast<T>(from[i]);
      } else {
        for (int64_t i = 0; i < s.d; ++i)
          grad_padding[offset + i] += from[i];
      }
}

template <typename T>
void backward(const Shape &s, const T *qkv, const float *padding, const Tables &tables, const T *out,
              const T *grad_out, const float *lse, T *grad_qkv, std::vector<SharedGradients> &shared) {
  at::parallel_for(0, s.units(), 1, [&](int64_t begin, int64_t end) {
    BackwardScratch scratch(s);
    SharedGradients &mine = shared[at::get_thread_num()];
    for (int64_t index = begin; index < end; ++index) {
      Unit unit(s, index);
      gather(unit, qkv, padding, 1, scratch.keys.data());
      gather(unit, qkv, padding, 2, scratch.values.data());
      transpose_blocks(s, scratch.keys.data(), scratch.keys_transposed.data());
      std::fill(scratch.grad_keys.begin(), scratch.grad_keys.end(), 0.0f);
      std::fill(scratch.grad_values.begin(), scratch.grad_values.end(), 0.0f);
      for (int64_t first = 0; first < unit.queries(); first += kQueries)
        backward_block(unit, qkv, out, grad_out, lse, tables, first, scratch, grad_qkv, mine);
      scatter(unit, scratch.grad_keys.data(), 1, grad_qkv, mine.padding.data());
      scatter(unit, scratch.grad_values.data(), 2, grad_qkv, mine.padding.data());
    }
  });
}

template <typename F> void by_dtype(const at::Tensor &t, F body) {
  if (t.scalar_type() == at::kFloat)
    body(static_cast<float *>(nullptr));
  else if (t.scalar_type() == at::kBFloat16)
    body(static_cast<at::BFloat16 *>(nullptr));
  else
    TORCH_CHECK(false, "rel_pos_attention: tensors must be fp32 or bf16, not ", t.scalar_type());
}

at::Tensor plain(const at::Tensor &t) { return t.to(at::kFloat).contiguous(); }

// Sum over all threads, in order: the same result for the same number of threads.
at::Tensor total(const std::vector<SharedGradients> &shared, std::vector<float> SharedGradients::*member,
                 at::IntArrayRef shape, float factor) {
  auto sum = at::zeros(shape, at::kFloat);
  float *to = sum.data_ptr<float>();
  for (auto &one : shared)
    for (size_t i = 0; i < (one.*member).size(); ++i)
      to[i] += (one.*member)[i] * factor;
  return sum;
}

struct RelPosAttention : torch::autograd::Function<RelPosAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &qkv_in, const at::Tensor &padding,
                            const at::Tensor &table_h, const at::Tensor &table_w, int64_t heads, int64_t window,
                            bool recorded) {
    auto qkv = qkv_in.contiguous();
    Shape s(qkv, heads, window);
    auto pad = plain(padding), th = plain(table_h), tw = plain(table_w);
    TORCH_CHECK(pad.numel() == 3 * s.channels(), "padding must be [3C]");
    TORCH_CHECK(th.size(0) == 2 * s.span_h - 1 && tw.size(0) == 2 * s.span_w - 1 && th.size(1) == s.d &&
                    tw.size(1) == s.d,
                "relative positions must be [2S - 1, d]");
    auto out = at::empty({s.b, s.h, s.w, s.channels()}, qkv.options());
    auto lse = recorded ? at::empty({s.b, s.h, s.w, s.heads}, at::kFloat) : at::Tensor();
    by_dtype(qkv, [&](auto *type) {
      using T = std::remove_pointer_t<decltype(type)>;
      attention::forward<T>(s, qkv.const_data_ptr<T>(), pad.const_data_ptr<float>(), th.const_data_ptr<float>(),
                            tw.const_data_ptr<float>(), out.data_ptr<T>(),
                            recorded ? lse.data_ptr<float>() : nullptr);
    });
    if (recorded) {
      ctx->save_for_backward({qkv, padding, table_h, table_w, out, lse});
      ctx->saved_data["heads"] = heads;
      ctx->saved_data["window"] = window;
    }
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list gradients) {
    auto saved = ctx->get_saved_variables();
    auto &qkv = saved[0], &out = saved[4], &lse = saved[5];
    Shape s(qkv, ctx->saved_data["heads"].toInt(), ctx->saved_data["window"].toInt());
    auto pad = plain(saved[1]), th = plain(saved[2]), tw = plain(saved[3]);
    auto th_t = th.t().contiguous(), tw_t = tw.t().contiguous();
    auto grad_out = gradients[0].to(qkv.scalar_type()).contiguous();
    auto grad_qkv = at::empty_like(qkv);
    std::vector<SharedGradients> shared(at::get_num_threads(), SharedGradients(s));
    Tables tables{th.const_data_ptr<float>(), tw.const_data_ptr<float>(), th_t.const_data_ptr<float>(),
                  tw_t.const_data_ptr<float>()};
    by_dtype(qkv, [&](auto *type) {
      using T = std::remove_pointer_t<decltype(type)>;
      attention::backward<T>(s, qkv.const_data_ptr<T>(), pad.const_data_ptr<float>(), tables,
                             out.const_data_ptr<T>(), grad_out.const_data_ptr<T>(), lse.const_data_ptr<float>(),
                             grad_qkv.data_ptr<T>(), shared);
    });
    float unscale = std::sqrt(static_cast<float>(s.d));
    return {grad_qkv,
            total(shared, &SharedGradients::padding, saved[1].sizes(), 1.0f).to(saved[1].scalar_type()),
            total(shared, &SharedGradients::table_h, saved[2].sizes(), unscale).to(saved[2].scalar_type()),
            total(shared, &SharedGradients::table_w, saved[3].sizes(), unscale).to(saved[3].scalar_type()),
            at::Tensor(),
            at::Tensor(),
            at::Tensor()};
  }
};

// [2S - 1, d] to [S, S, d]: the vector of each (query, key) pair along an axis.
at::Tensor relative(const at::Tensor &table, int64_t size) {
  auto at = at::arange(size, table.options().dtype(at::kLong));
  auto index = at.unsqueeze(1).sub(at.unsqueeze(0)).add(size - 1).flatten();
  return table.index_select(0, index).view({size, size, table.size(1)});
}

// qkv [B, H, W, 3C] to [B, H, W, C], every token with every other, as the textbook writes it.
at::Tensor composite_global(const at::Tensor &qkv, const at::Tensor &table_h, const at::Tensor &table_w, int64_t heads) {
  auto sizes = qkv.sizes().vec();
  int64_t b = sizes[0], h = sizes[1], w = sizes[2], channels = sizes[3] / 3, d = channels / heads;
  auto parts = qkv.reshape({b, h * w, 3, heads, d}).permute({2, 0, 3, 1, 4}).reshape({3, b * heads, h * w, d});
  auto q = parts.select(0, 0), k = parts.select(0, 1), v = parts.select(0, 2);
  auto grid = q.view({b * heads, h, w, d});
  auto of_rows = grid.matmul(relative(table_h, h).transpose(1, 2));
  auto of_columns = grid.transpose(1, 2).matmul(relative(table_w, w).transpose(1, 2)).transpose(1, 2);
  auto scores = q.mul(1.0 / std::sqrt(static_cast<double>(d))).matmul(k.transpose(1, 2)).view({b * heads, h, w, h, w});
  scores = scores.add(of_rows.unsqueeze(-1)).add(of_columns.unsqueeze(-2)).view({b * heads, h * w, h * w});
  auto out = scores.softmax(-1).matmul(v).view({b, heads, h * w, d});
  return out.transpose(1, 2).reshape({b, h, w, channels});
}

// For graphs that other programs run: of libtorch's operators alone.
at::Tensor composite(const at::Tensor &qkv, const at::Tensor &padding, const at::Tensor &table_h,
                     const at::Tensor &table_w, int64_t heads, int64_t window) {
  if (window == 0)
    return composite_global(qkv, table_h, table_w, heads);
  auto sizes = qkv.sizes().vec();
  int64_t b = sizes[0], h = sizes[1], w = sizes[2], c = sizes[3];
  int64_t rows = (h + window - 1) / window, columns = (w + window - 1) / window;
  int64_t right = columns * window - w, bottom = rows * window - h;
  auto x = qkv;
  if (right > 0)
    x = at::cat({x, padding.expand({b, h, right, c})}, 2);
  if (bottom > 0)
    x = at::cat({x, padding.expand({b, bottom, w + right, c})}, 1);
  x = x.reshape({b, rows, window, columns, window, c}).permute({0, 1, 3, 2, 4, 5});
  x = composite_global(x.reshape({b * rows * columns, window, window, c}), table_h, table_w, heads);
  x = x.view({b, rows, columns, window, window, c / 3}).permute({0, 1, 3, 2, 4, 5});
  x = x.reshape({b, rows * window, columns * window, c / 3});
  return x.narrow(1, 0, h).narrow(2, 0, w);
}

at::Tensor rel_pos_attention(const at::Tensor &qkv, const at::Tensor &padding, const at::Tensor &table_h,
                             const at::Tensor &table_w, int64_t heads, int64_t window) {
  if (shim_is_tracing())
    return composite(qkv, padding, table_h, table_w, heads, window);
  bool recorded = at::GradMode::is_enabled() && (qkv.requires_grad() || padding.requires_grad() ||
                                                 table_h.requires_grad() || table_w.requires_grad());
  return RelPosAttention::apply(qkv, padding, table_h, table_w, heads, window, recorded);
}

} // namespace
} // namespace attention

char *shim_rel_pos_attention(tensor qkv, tensor padding, tensor rel_pos_h, tensor rel_pos_w, int64_t num_heads,
                             int64_t window_size, tensor *out) {
  return guarded([&] {
    *out = new at::Tensor(attention::rel_pos_attention(*qkv, *padding, *rel_pos_h, *rel_pos_w, num_heads, window_size));
  });
}
