// Products of a few rows with the transpose of a matrix: y = x Wᵀ. Nothing is packed: rows of W stream from memory
// once, several at a time, and meet all rows of x on the way. Up to 4 rows it is bound by memory bandwidth, so its time
// hardly depends on m.

// Rows up to which this is faster than packing: by measurements with AVX2 and SSE2 (768 to 3072 features, 2026-11-28).
constexpr int64_t most_skinny_rows(DType weights) {
  if (weights == DType::f32) return 32;
  if (kLanes == 4) return weights == DType::bf16 ? 12 : 8;
  return weights == DType::bf16 ? 64 : 128;
}

constexpr int64_t kSkinnyInner = 24 * 1024;  // bytes of x: they stay in L1 while W streams past
constexpr int64_t kSkinnyAhead = 4096;       // bytes of W that are asked for ahead of their use, at least
constexpr int kSkinnyColumns = 3 * kLanes;   // rows of W that share a pass over k

// Lane i of the result is the sum of v[i]; kCount is a power of two up to kLanes.
template <int kCount, class V>
SFFN_INLINE V sums_of(const V* from) {
  constexpr int kHalf = kCount > 1 ? kCount / 2 : 1;
  V v[kCount];
  SFFN_UNROLL for (int i = 0; i < kCount; ++i) v[i] = from[i];
  SFFN_UNROLL for (int left = kLanes; left > 1; left /= 2) {
    SFFN_UNROLL for (int i = 0; i < kHalf; ++i) {
      const Vec a = (Vec)v[2 * i % kCount], b = (Vec)v[(2 * i + 1) % kCount];
      v[i] = (V)even_lanes(a, b) + (V)odd_lanes(a, b);
    }
  }
  return v[0];
}

// to[i] += sum of v[i] for i < kCount.
template <int kCount, class V>
SFFN_INLINE void add_sums(const V* v, float* to) {
  constexpr int kNow = kCount >= kLanes ? kLanes : 1 << (31 - __builtin_clz(kCount));
  store_part(to, load_part(to, kNow) + __builtin_convertvector(sums_of<kNow>(v), Vec), kNow);
  if constexpr (kCount > kNow) add_sums<kCount - kNow>(v + kNow, to + kNow);
}

template <class Arithmetic>
struct SkinnyRun {
  int64_t k;
  const typename Arithmetic::Input* x;
  int64_t x_row;
  const typename Arithmetic::Weight* w;
  int64_t w_row;
  float* sums;  // [rows of W, padded rows of x], added to
};

constexpr int padded_rows(int rows) { return rows > 4 ? 8 : rows > 2 ? 4 : rows; }

// Dot products of kColumns rows of W with kRows rows of x.
template <int kRows, int kColumns, class Arithmetic>
void skinny_kernel(const SkinnyRun<Arithmetic>& s) {
  using Sum = typename Arithmetic::Sum;
  using Weight = typename Arithmetic::Weight;
  constexpr int kPadded = padded_rows(kRows), kStep = Arithmetic::kStep;
  constexpr int kPerLine = 64 / (kStep * sizeof(Weight)) > 0 ? 64 / (kStep * sizeof(Weight)) : 1;  // steps
  Sum acc[kColumns * kPadded];
  SFFN_UNROLL for (int i = 0; i < kColumns * kPadded; ++i) acc[i] = Sum{};
  // The rows that come next. Where these are so short that memory would not answer in time, later ones.
  const int64_t group = kColumns * s.w_row, groups = std::max<int64_t>(1, kSkinnyAhead / (group * sizeof(Weight)));
  const Weight* ahead = s.w + groups * group;
  const auto step = [&](int64_t k, auto part, bool prefetch) __attribute__((always_inline)) {
    decltype(Arithmetic::input(s.x, part)) x[kRows];
    SFFN_UNROLL for (int i = 0; i < kRows; ++i) x[i] = Arithmetic::input(s.x + i * s.x_row + k, part);
    SFFN_UNROLL for (int j = 0; j < kColumns; ++j) {
      const auto w = Arithmetic::weights(s.w + j * s.w_row + k, part);
      if (prefetch) __builtin_prefetch(ahead + j * s.w_row + k, 0, 2);
      SFFN_UNROLL for (int i = 0; i < kRows; ++i) Arithmetic::multiply_add(acc[j * kPadded + i], w, x[i]);
    }
  };
  int64_t k = 0;
  for (; k + kPerLine * kStep <= s.k; k += kPerLine * kStep) {
    SFFN_UNROLL for (int i = 0; i < kPerLine; ++i) step(k + i * kStep, Full{}, i == 0);
  }
  for (; k + kStep <= s.k; k += kStep) step(k, Full{}, true);
  if (k < s.k) step(k, Part{s.k - k}, true);
  decltype(Arithmetic::totals(acc[0])) sums[kColumns * kPadded];
  SFFN_UNROLL for (int i = 0; i < kColumns * kPadded; ++i) sums[i] = Arithmetic::totals(acc[i]);
  add_sums<kColumns * kPadded>(sums, s.sums);
}

template <class Arithmetic>
using SkinnyKernel = void (*)(const SkinnyRun<Arithmetic>&);

// How many rows of W at once: enough streams to fill the memory pipeline, while the sums still fit in registers.
constexpr int skinny_columns(int rows) {
  const int registers = kLanes == 16 ? 24 : 12;
  return std::clamp(registers / rows, 1, 8);
}
template <class Arithmetic, int... kRows>
constexpr std::array<SkinnyKernel<Arithmetic>, sizeof...(kRows)> skinny_kernels(std::integer_sequence<int, kRows...>,
                                                                                bool single) {
  return {(single ? skinny_kernel<kRows + 1, 1, Arithmetic>
                  : skinny_kernel<kRows + 1, skinny_columns(kRows + 1), Arithmetic>)...};
}

// to[r·to_row + j] = scale · sums[j·kRows + r].
template <int kRows>
void place_sums(const float* sums, int64_t rows, int64_t columns, float scale, float* to, int64_t to_row) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    Vec v[kRows];
    SFFN_UNROLL for (int i = 0; i < kRows; ++i) v[i] = load(sums + j * kRows + i * kLanes) * scale;
    deinterleave(v);
    for (int64_t r = 0; r < rows; ++r) store_part(to + r * to_row + j, v[r], std::min<int64_t>(kLanes, columns - j));
  }
}

// scale · a bᵀ: a [m, k] and b [n, k]; rows are a_row and b_row elements apart.
template <class Arithmetic>
struct SkinnyProduct {
  int64_t m, k;
  const typename Arithmetic::Input* a;
  int64_t a_row;
  const typename Arithmetic::Weight* b;
  int64_t b_row;
  float scale;
};

// to[r·to_row + j - begin] = row r of the columns [begin, end).
template <class Arithmetic>
void skinny_columns_of(const SkinnyProduct<Arithmetic>& p, int64_t begin, int64_t end, float* to, int64_t to_row) {
  constexpr int kAtOnce = Arithmetic::kRows;
  using Rows = std::make_integer_sequence<int, kAtOnce>;
  static constexpr auto several = skinny_kernels<Arithmetic>(Rows(), false),
                        single = skinny_kernels<Arithmetic>(Rows(), true);
  for (int64_t row = 0; row < p.m; row += kAtOnce) {
    const int rows = static_cast<int>(std::min<int64_t>(kAtOnce, p.m - row)), padded = padded_rows(rows);
    const int64_t step = skinny_columns(rows);
    // As much of x as fits in L1 and in the sums, in equal parts. Sums that are exact are not divided for L1's sake.
    const int64_t bytes = std::max<int64_t>(p.k, 1) * rows * static_cast<int64_t>(sizeof(typename Arithmetic::Input));
    const int64_t near = Arithmetic::kExact ? 1 : ceil_div(bytes, kSkinnyInner);
    const int64_t passes = std::max(near, ceil_div(p.k, Arithmetic::kMostTerms));
    const int64_t depth = round_up(ceil_div(p.k, passes), Arithmetic::kStep);
    for (int64_t j = begin; j < end; j += kSkinnyColumns) {
      const int64_t columns = std::min<int64_t>(kSkinnyColumns, end - j);
      alignas(64) float sums[kSkinnyColumns * kSkinnyRows];
      std::fill(sums, sums + kSkinnyColumns * padded, 0.f);
      for (int64_t k = 0; k < p.k; k += depth) {
        SkinnyRun<Arithmetic> run{
            std::min(depth, p.k - k), p.a + row * p.a_row + k, p.a_row, p.b + j * p.b_row + k, p.b_row, sums};
        int64_t done = 0;
        for (; done + step <= columns; done += step, run.w += step * p.b_row, run.sums += step * padded)
          several[rows - 1](run);
        for (; done < columns; ++done, run.w += p.b_row, run.sums += padded) single[rows - 1](run);
      }
      const auto place = padded == 1   ? place_sums<1>
                         : padded == 2 ? place_sums<2>
                         : padded == 4 ? place_sums<4>
                                       : place_sums<8>;
      place(sums, rows, columns, p.scale, to + row * to_row + j - begin, to_row);
    }
  }
}

inline void skinny_columns_of(const Product& p, int64_t block, int64_t begin, int64_t end, float* to, int64_t to_row) {
#ifdef SFFN_PAIRS
  if (p.a.dtype == DType::bf16)
    return skinny_columns_of(SkinnyProduct<PairArithmetic>{p.m, p.k, p.a.as<uint16_t>() + block * p.a_batch, p.a_row,
                                                           p.b.as<uint16_t>() + block * p.b_batch, p.b_col, p.scale},
                             begin, end, to, to_row);
#endif
  with_float(p.b.dtype, [&]<class T>(T) {
    skinny_columns_of(SkinnyProduct<FloatArithmetic<T>>{p.m, p.k, p.a.as<float>() + block * p.a_batch, p.a_row,
                                                        p.b.as<T>() + block * p.b_batch, p.b_col, p.scale},
                      begin, end, to, to_row);
  });
}

inline bool is_skinny(const Product& p) {
  return p.m <= most_skinny_rows(p.b.dtype) && p.b_row == 1 && p.a_col == 1 && p.b_col != 1 && p.b.dtype != DType::i8;
}

// a as float32, row by row of each block.
inline Scratch<float> widened_rows(const Product& p) {
  Scratch<float> wide(p.batch * p.m * p.k);
  for (int64_t row = 0; row < p.batch * p.m; ++row)
    add_row(p.a.as<uint16_t>() + row / p.m * p.a_batch + row % p.m * p.a_row, wide.get() + row * p.k, p.k, false);
  return wide;
}

inline void skinny_product(Product p) {
  Scratch<float> wide;
#ifdef SFFN_PAIRS
  Scratch<uint16_t> pairs;
  if (p.a.dtype == DType::bf16 && p.b.dtype == DType::bf16) {
    pairs = PairArithmetic::rows(p.a.as<uint16_t>(), p.a_row, p.batch, p.m, p.a_batch, p.k);
    p.a_row = round_up(p.k, PairArithmetic::kStep), p.a_batch = p.m * p.a_row;
    p.a = {pairs.get(), DType::bf16};
  } else
#endif
      if (p.a.dtype != DType::f32) {
    wide = widened_rows(p);
    p.a = wide.get(), p.a_row = p.k, p.a_batch = p.m * p.k;
  }
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
    for (int64_t r = 0; r < p.m; ++r) {
      float* row = tile.get() + r * tile_row;
      const auto shuffle_to = [&](Target to) {
        with_float(to.dtype, [&]<class T>(T) {
          for (int64_t j = begin; j < end; ++j) {
            const int64_t feature = block * p.n + j;
            to.as<T>()[r * p.c_row + feature % p.shuffle * group + feature / p.shuffle] = narrow<T>(row[j - begin]);
          }
        });
      };
      if (p.pre) shuffle_to(p.pre);
      if (p.activation != Activation::none) activate_row(row, row, end - begin, p.activation);
      shuffle_to(p.c);
    }
  });
}
