// The innermost loop of all products: a tile of kTileRows x (kTileVecs vectors) of C stays in registers.

#if SFFN_LANES == 16
constexpr int kTileRows = 8, kTileVecs = 3;  // 24 of 32 registers; 93 % of peak from L2
#elif SFFN_LANES == 8
constexpr int kTileRows = 6, kTileVecs = 2;  // 12 of 16 registers
#elif defined(__aarch64__)
constexpr int kTileRows = 8, kTileVecs = 3;
#else
constexpr int kTileRows = 4, kTileVecs = 2;  // SSE2 needs registers for the broadcast and the product
#endif
constexpr int kPanel = kTileVecs * kLanes;  // columns of a full panel

// c[i, j] = scale · Σ a[i, k] b[k, j], added to c when `accumulate`. b's rows are b_row floats apart. a is row-major
// with rows a_row apart, or packed: kTileRows values for each k.
struct Tile {
  int64_t k;
  const float* a;
  int64_t a_row;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  float scale;
  bool accumulate;
  bool stream;            // c goes past the caches; it must be aligned to whole vectors
  const float* prefetch;  // what to fetch into L2 meanwhile: one cache line for every four k
};

template <int kRows, int kVecs, bool kPackedA>
void micro_kernel(const Tile& t) {
  Vec c[kRows][kVecs];
  SFFN_UNROLL for (int i = 0; i < kRows; ++i) SFFN_UNROLL for (int j = 0; j < kVecs; ++j) c[i][j] = Vec{};
  const float* a = t.a;
  const float* b = t.b;
  const float* ahead = t.prefetch;
  const int64_t a_row = kPackedA ? 1 : t.a_row;
  const int64_t a_step = kPackedA ? kTileRows : 1;
  const auto step = [&]() __attribute__((always_inline)) {
    Vec row[kVecs];
    SFFN_UNROLL for (int j = 0; j < kVecs; ++j) row[j] = load(b + j * kLanes);
    SFFN_UNROLL for (int i = 0; i < kRows; ++i) {
      const float x = a[i * a_row];
      SFFN_UNROLL for (int j = 0; j < kVecs; ++j) c[i][j] += x * row[j];
    }
    a += a_step;
    b += t.b_row;
  };
  if (!t.stream) {
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < kVecs; ++j) __builtin_prefetch(t.c + i * t.c_row + j * kLanes, 1, 3);
  }
  int64_t k = t.k;
  for (; k >= 4; k -= 4) {
    __builtin_prefetch(ahead, 0, 2);
    ahead += 16;
    step(), step(), step(), step();
  }
  for (; k > 0; --k) step();
  const Vec scale = splat(t.scale);
  if (t.stream) {
    SFFN_UNROLL for (int i = 0; i < kRows; ++i) SFFN_UNROLL for (int j = 0; j < kVecs; ++j)
        store_past_caches(t.c + i * t.c_row + j * kLanes, scale * c[i][j]);
    return;
  }
  SFFN_UNROLL for (int i = 0; i < kRows; ++i) SFFN_UNROLL for (int j = 0; j < kVecs; ++j) {
    float* to = t.c + i * t.c_row + j * kLanes;
    store(to, t.accumulate ? load(to) + scale * c[i][j] : scale * c[i][j]);
  }
}

using MicroKernel = void (*)(const Tile&);

template <bool kPackedA, int kVecs, int... kRows>
constexpr std::array<MicroKernel, sizeof...(kRows)> kernels_by_rows(std::integer_sequence<int, kRows...>) {
  return {micro_kernel<kRows + 1, kVecs, kPackedA>...};
}
template <bool kPackedA, int... kVecs>
constexpr auto kernels_by_shape(std::integer_sequence<int, kVecs...>) {
  return std::array{kernels_by_rows<kPackedA, kVecs + 1>(std::make_integer_sequence<int, kTileRows>())...};
}

inline MicroKernel micro_kernel_for(int64_t rows, int64_t vecs, bool packed_a) {
  using Vecs = std::make_integer_sequence<int, kTileVecs>;
  static constexpr auto plain = kernels_by_shape<false>(Vecs());
  static constexpr auto packed = kernels_by_shape<true>(Vecs());
  return (packed_a ? packed : plain)[vecs - 1][rows - 1];
}
