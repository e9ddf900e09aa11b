// Products of a few rows with the transpose of a matrix: y = x Wᵀ. Nothing is packed: rows of W stream from memory
// once, several at a time, and meet all rows of x on the way. Bound by memory bandwidth, so its time hardly depends on
// m.

constexpr int64_t kSkinnyMost = 12;                     // rows up to which this is faster than packing
constexpr int kSkinnyRows = SFFN_LANES == 16 ? 8 : 4;  // rows of x in registers at once

// Lane i of the result is the sum of v[i]; kCount is a power of two up to kLanes.
template <int kCount>
SFFN_INLINE Vec sums_of(Vec (&v)[kCount]) {
  constexpr int kHalf = kCount > 1 ? kCount / 2 : 1;
  SFFN_UNROLL for (int left = kLanes; left > 1; left /= 2) {
    SFFN_UNROLL for (int i = 0; i < kHalf; ++i) {
      const Vec a = v[2 * i % kCount], b = v[(2 * i + 1) % kCount];
      v[i] = even_lanes(a, b) + odd_lanes(a, b);
    }
  }
  return v[0];
}

struct SkinnyRun {
  int64_t k;
  const float* x;
  int64_t x_row;
  const float* w;
  int64_t w_row;
  float* sums;  // [rows of W, kSkinnyRows]
};

// Dot products of kColumns rows of W with kRows rows of x.
template <int kRows, int kColumns>
void skinny_kernel(const SkinnyRun& s) {
  constexpr int kPadded = kRows > 4 ? 8 : kRows > 2 ? 4 : kRows;
  Vec acc[kColumns][kPadded];
  SFFN_UNROLL for (int j = 0; j < kColumns; ++j) SFFN_UNROLL for (int i = 0; i < kPadded; ++i) acc[j][i] = Vec{};
  const float* ahead = s.w + kColumns * s.w_row;  // the rows that come next
  const auto step = [&](int64_t k, auto part) __attribute__((always_inline)) {
    Vec x[kRows];
    SFFN_UNROLL for (int i = 0; i < kRows; ++i) x[i] = load(s.x + i * s.x_row + k, part);
    SFFN_UNROLL for (int j = 0; j < kColumns; ++j) {
      const Vec w = load(s.w + j * s.w_row + k, part);
      __builtin_prefetch(ahead + j * s.w_row + k, 0, 2);
      SFFN_UNROLL for (int i = 0; i < kRows; ++i) acc[j][i] += w * x[i];
    }
  };
  int64_t k = 0;
  for (; k + kLanes <= s.k; k += kLanes) step(k, Full{});
  if (k < s.k) step(k, Part{s.k - k});
  SFFN_UNROLL for (int j = 0; j < kColumns; ++j) {
    const Vec sums = sums_of(acc[j]);
    store_part(s.sums + j * kSkinnyRows, sums, kRows);
  }
}

using SkinnyKernel = void (*)(const SkinnyRun&);

// How many rows of W at once: enough streams to fill the memory pipeline, as long as the sums fit the registers.
constexpr int skinny_columns(int rows) {
  const int registers = kLanes == 16 ? 24 : 12;
  return std::clamp(registers / rows, 1, 8);
}
template <int... kRows>
constexpr std::array<SkinnyKernel, sizeof...(kRows)> skinny_kernels(std::integer_sequence<int, kRows...>, bool single) {
  return {(single ? skinny_kernel<kRows + 1, 1> : skinny_kernel<kRows + 1, skinny_columns(kRows + 1)>)...};
}

// to[r·to_row + j - begin] = row r of the columns [begin, end) of `block`.
inline void skinny_columns_of(const Product& p, int64_t block, int64_t begin, int64_t end, float* to, int64_t to_row) {
  using Rows = std::make_integer_sequence<int, kSkinnyRows>;
  static constexpr auto several = skinny_kernels(Rows(), false), single = skinny_kernels(Rows(), true);
  const int64_t first_rows = std::min<int64_t>(p.m, kSkinnyRows);
  const int64_t step = skinny_columns(static_cast<int>(first_rows));
  for (int64_t j = begin; j < end; j += kLanes) {
    const int64_t columns = std::min<int64_t>(kLanes, end - j);
    for (int64_t row = 0; row < p.m; row += kSkinnyRows) {
      const int64_t rows = std::min<int64_t>(kSkinnyRows, p.m - row);
      alignas(64) float sums[kLanes * kSkinnyRows] = {};
      SkinnyRun run{
          p.k, p.a + block * p.a_batch + row * p.a_row, p.a_row, p.b + block * p.b_batch + j * p.b_col, p.b_col, sums};
      int64_t done = 0;
      if (rows == first_rows)
        for (; done + step <= columns; done += step, run.w += step * p.b_col, run.sums += step * kSkinnyRows)
          several[rows - 1](run);
      for (; done < columns; ++done, run.w += p.b_col, run.sums += kSkinnyRows) single[rows - 1](run);
      Vec by_row[kSkinnyRows];
      for (int i = 0; i < kSkinnyRows; ++i) by_row[i] = load(sums + i * kLanes);
      deinterleave(by_row);
      for (int64_t r = 0; r < rows; ++r) store_part(to + (row + r) * to_row + j - begin, by_row[r] * p.scale, columns);
    }
  }
}

inline bool is_skinny(const Product& p) { return p.m <= kSkinnyMost && p.b_row == 1 && p.a_col == 1 && p.b_col != 1; }

inline void skinny_product(const Product& p) {
  const int64_t blocks = p.interleave ? 1 : p.batch, in_task = p.interleave ? p.batch : 1;
  // At least 64 KB of weights in a task: starting one costs a memory latency.
  const int64_t least = ceil_div(16 * 1024, std::max<int64_t>(1, p.k * in_task));
  const int64_t columns = round_up(std::max(least, ceil_div(p.n * blocks, 8 * num_threads())), kLanes);
  const int64_t chunks = ceil_div(p.n, columns), group = p.batch * p.n / p.shuffle;
  parallel_for(blocks * chunks, [&](int64_t task) {
    const int64_t block = task / chunks, begin = task % chunks * columns, end = std::min(p.n, begin + columns);
    const int64_t tile_row = in_task * columns;
    Scratch<float> tile(p.m * tile_row), line(tile_row);
    if (p.interleave) {
      for (int64_t b = 0; b < p.batch; ++b) skinny_columns_of(p, b, begin, end, tile.get() + b * columns, tile_row);
      return store_interleaved(p, 0, p.m, begin, end - begin, tile.get(), columns, tile_row, line.get());
    }
    skinny_columns_of(p, block, begin, end, tile.get(), tile_row);
    if (p.shuffle == 1) return store_tile(p, block, 0, p.m, begin, end, tile.get(), tile_row, p.accumulate, true);
    for (int64_t r = 0; r < p.m; ++r)
      for (int64_t j = begin; j < end; ++j) {
        const int64_t feature = block * p.n + j;
        p.c[r * p.c_row + feature % p.shuffle * group + feature / p.shuffle] = tile[r * tile_row + j - begin];
      }
  });
}
