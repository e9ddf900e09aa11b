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

// The arithmetic of large products, by what 32 bits of a packed operand are: a float,
struct FloatProduct {
  static constexpr int64_t kTerms = 1;
  static constexpr int64_t kDepth = 768;  // k of one pass: a panel (147 KB) and a tile of rows stay in L2
  static SFFN_INLINE void multiply_add(Vec& sum, uint32_t a, Vec b) { sum += std::bit_cast<float>(a) * b; }
};
// or two bfloat16 of neighbouring k, the first in the lower half.
#ifdef SFFN_PAIRS
constexpr bool kMultipliesPairs = true;
struct PairProduct {
  static constexpr int64_t kTerms = 2;
  static constexpr int64_t kDepth = 3072;  // a panel (295 KB) and 64 rows share 1 MB of L2
  // The product of the second of a pair is added first; denormals are 0.
  static SFFN_INLINE void multiply_add(Vec& sum, uint32_t a, Vec b) {
    sum = (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(UintVec{} + a), (__m512bh)b);
  }
};
#else
constexpr bool kMultipliesPairs = false;
#endif

// c[i, j] = scale · Σ a[i, k] b[k, j], added to c when `accumulate`. k counts words of 32 bits. b's rows are b_row
// words apart. a is row-major with rows a_row bytes apart, or packed: kTileRows words for each k.
struct Tile {
  int64_t k;
  const char* a;
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

template <class Arithmetic, int kRows, int kVecs, bool kPackedA>
void micro_kernel(const Tile& t) {
  Vec c[kRows][kVecs];
  SFFN_UNROLL for (int i = 0; i < kRows; ++i) SFFN_UNROLL for (int j = 0; j < kVecs; ++j) c[i][j] = Vec{};
  const char* a = t.a;
  const float* b = t.b;
  const float* ahead = t.prefetch;
  constexpr int64_t kWord = 4;
  const int64_t a_row = kPackedA ? kWord : t.a_row;
  const int64_t a_step = kPackedA ? kTileRows * kWord : kWord;
  const auto step = [&]() __attribute__((always_inline)) {
    Vec row[kVecs];
    SFFN_UNROLL for (int j = 0; j < kVecs; ++j) row[j] = load(b + j * kLanes);
    SFFN_UNROLL for (int i = 0; i < kRows; ++i) {
      uint32_t x;
      std::memcpy(&x, a + i * a_row, sizeof x);
      SFFN_UNROLL for (int j = 0; j < kVecs; ++j) Arithmetic::multiply_add(c[i][j], x, row[j]);
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

template <class Arithmetic, bool kPackedA, int kVecs, int... kRows>
constexpr std::array<MicroKernel, sizeof...(kRows)> kernels_by_rows(std::integer_sequence<int, kRows...>) {
  return {micro_kernel<Arithmetic, kRows + 1, kVecs, kPackedA>...};
}
template <class Arithmetic, bool kPackedA, int... kVecs>
constexpr auto kernels_by_shape(std::integer_sequence<int, kVecs...>) {
  return std::array{kernels_by_rows<Arithmetic, kPackedA, kVecs + 1>(std::make_integer_sequence<int, kTileRows>())...};
}

template <class Arithmetic>
MicroKernel micro_kernel_for(int64_t rows, int64_t vecs, bool packed_a) {
  using Vecs = std::make_integer_sequence<int, kTileVecs>;
  static constexpr auto plain = kernels_by_shape<Arithmetic, false>(Vecs());
  static constexpr auto packed = kernels_by_shape<Arithmetic, true>(Vecs());
  return (packed_a ? packed : plain)[vecs - 1][rows - 1];
}
