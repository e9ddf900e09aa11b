// The arithmetic of a product of a few rows: the element types of the weights and of the rows, and the sums. `part` is
// Full, or a Part of the kStep terms that are taken at a time. `totals` are what is added up over the lanes: floats, or
// integers that have room for the sum of kMostTerms terms.

constexpr int kSkinnyRows = SFFN_LANES == 16 ? 8 : 4;  // rows of x in registers at once, at most

// Weights are widened to floats.
template <class W>
struct FloatArithmetic {
  using Weight = W;
  using Input = float;
  using Sum = Vec;
  static constexpr int kStep = kLanes;
  // Reading reduced weights twice costs little, and 4 rows at once are faster than 8: 105 GFLOP/s against 85 on a core.
  static constexpr int kRows = sizeof(W) == sizeof(float) ? kSkinnyRows : 4;
  static constexpr int64_t kMostTerms = int64_t{1} << 40;  // no limit
  static constexpr bool kExact = false;

  template <class Size>
  static SFFN_INLINE Vec input(const float* x, Size part) {
    return load(x, part);
  }
  template <class Size>
  static SFFN_INLINE Vec weights(const W* w, Size part) {
    return load(w, part);
  }
  static SFFN_INLINE void multiply_add(Vec& sum, Vec w, Vec x) { sum += w * x; }
  static SFFN_INLINE Vec totals(Vec sum) { return sum; }
};

#ifdef SFFN_PAIRS
SFFN_INLINE Vec load_pairs(const uint16_t* p, Full) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
SFFN_INLINE Vec load_pairs(const uint16_t* p, Part part) {
  uint16_t whole[2 * kLanes] = {};
  std::memcpy(whole, p, static_cast<size_t>(part.count) * sizeof *p);
  return load_pairs(whole, Full{});
}

// bfloat16 weights times rows of bfloat16.
struct PairArithmetic {
  using Weight = uint16_t;
  using Input = uint16_t;  // zeros up to a multiple of kStep
  using Sum = Vec;
  static constexpr int kStep = 2 * kLanes;
  static constexpr int kRows = kSkinnyRows;
  static constexpr int64_t kMostTerms = int64_t{1} << 40;  // no limit
  static constexpr bool kExact = false;

  template <class Size>
  static SFFN_INLINE Vec input(const uint16_t* x, Size) {
    return load_pairs(x, Full{});
  }
  template <class Size>
  static SFFN_INLINE Vec weights(const uint16_t* w, Size part) {
    return load_pairs(w, part);
  }
  static SFFN_INLINE void multiply_add(Vec& sum, Vec w, Vec x) {
    sum = (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)x);
  }
  static SFFN_INLINE Vec totals(Vec sum) { return sum; }

  // Row after row of each block, as Input.
  template <class T>
  static Scratch<uint16_t> rows(const T* from, int64_t row, int64_t batch, int64_t m, int64_t block, int64_t k) {
    const int64_t padded = round_up(k, kStep);
    Scratch<uint16_t> to(batch * m * padded);
    for (int64_t i = 0; i < batch * m; ++i) {
      uint16_t* const at = to.get() + i * padded;
      const T* const x = from + i / m * block + i % m * row;
      for_vectors(0, k, [&](int64_t j, auto part) { store(at + j, load(x + j, part), part); });
      std::fill(at + k, at + padded, uint16_t{0});
    }
    return to;
  }
};
#endif

#if defined(__x86_64__) && SFFN_LANES >= 8
#define SFFN_SHORT_ARITHMETIC

typedef int16_t ShortVec __attribute__((vector_size(kLanes * 4)));

SFFN_INLINE ShortVec load_shorts(const int16_t* p) {
  ShortVec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
SFFN_INLINE ShortVec widen_bytes(const int8_t* p, Full) {
#if SFFN_LANES == 16
  return (ShortVec)_mm512_maskz_cvtepi8_epi16(0xffffffffu, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  return (ShortVec)_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#endif
}
SFFN_INLINE ShortVec widen_bytes(const int8_t* p, Part part) {
#if SFFN_LANES == 16 && !defined(__SANITIZE_ADDRESS__)
  return (ShortVec)_mm512_maskz_cvtepi8_epi16(0xffffffffu, _mm256_maskz_loadu_epi8((1u << part.count) - 1, p));
#else
  int8_t whole[2 * kLanes] = {};
  for (int64_t i = 0; i < part.count; ++i) whole[i] = p[i];
  return widen_bytes(static_cast<const int8_t*>(whole), Full{});
#endif
}

// int8 weights times rows that were rounded to 16 bits (their error is far below that of the weights), with exact sums.
// An instruction does twice as many products as with floats, and the bits are the same with and without VNNI.
template <bool kVnni>
struct ShortArithmetic {
  using Weight = int8_t;
  using Input = int16_t;  // zeros up to a multiple of kStep
  using Sum = IntVec;
  static constexpr int kStep = 2 * kLanes;
  static constexpr int kRows = 4;
  // 512 products of 127 and 32767 are below 2³¹.
  static constexpr int64_t kMostTerms = 512 * kLanes;
  static constexpr bool kExact = false;

  template <class Size>
  static SFFN_INLINE ShortVec input(const int16_t* x, Size) {
    return load_shorts(x);
  }
  template <class Size>
  static SFFN_INLINE ShortVec weights(const int8_t* w, Size part) {
    return widen_bytes(w, part);
  }
  static SFFN_INLINE void multiply_add(IntVec& sum, ShortVec w, ShortVec x) {
#if SFFN_LANES == 16
    if constexpr (kVnni)
      asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));  // by its name: the target of this file is without it
    else
      sum += (IntVec)_mm512_maskz_madd_epi16(0xffff, (__m512i)w, (__m512i)x);
#else
    sum += (IntVec)_mm256_madd_epi16((__m256i)w, (__m256i)x);
#endif
  }
  static SFFN_INLINE Vec totals(IntVec sum) { return __builtin_convertvector(sum, Vec); }
};
#endif
