// Products of bytes, with exact sums of 32 bits: lane i of a sum grows by the products of bytes 4i .. 4i+3 of two
// vectors, weights and rows. Rows have values from -127 to 127. From kLeastRows rows on, packing pays: by measurements
// with AVX2 and SSE2 (768 and 3072 features, 2026-11-28), by instructions elsewhere.

typedef int8_t ByteVec __attribute__((vector_size(kLanes * 4)));

SFFN_INLINE ByteVec load_bytes(const int8_t* p, Full) {
  ByteVec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
SFFN_INLINE ByteVec load_bytes(const int8_t* p, Part part) {
  int8_t whole[4 * kLanes] = {};
  std::memcpy(whole, p, static_cast<size_t>(part.count));
  return load_bytes(whole, Full{});
}

#if SFFN_LANES == 16
// The first operand of the instruction has no sign.
SFFN_INLINE void add_unsigned_products(IntVec& sum, ByteVec a, ByteVec b) {
#ifdef SFFN_EMULATED_AVX512
  sum = (IntVec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));  // by its name: the target of this file is without it
#endif
}
inline bool has_vnni() {
#ifdef SFFN_EMULATED_AVX512
  return kMultipliesPairs;  // one of the two is tested with it, the other without
#else
  static const bool vnni = __builtin_cpu_supports("avx512vnni");
  return vnni;
#endif
}

// Sums of two and two products have 16 bits at each place: 2 · 127 · 128 is below 2¹⁵. Signs move from the weights to
// the rows, since the instructions take one operand without a sign.
template <bool kVnni>
struct Bytes {
  static constexpr bool kMoved = false;
  static constexpr int64_t kLeastRows = 32;
  struct Weights {
    ByteVec magnitude, negative;
  };
  using Input = ByteVec;
  static SFFN_INLINE Weights weights(ByteVec w) {
    const ByteVec negative = (ByteVec)(w < 0);
    return {(w ^ negative) - negative, negative};
  }
  static SFFN_INLINE Input input(ByteVec x) { return x; }
  static SFFN_INLINE void add_products(IntVec& sum, const Weights& w, Input x) {
    const ByteVec with_sign = (x ^ w.negative) - w.negative;
    if constexpr (kVnni) {
      add_unsigned_products(sum, w.magnitude, with_sign);
    } else {
      const __m512i pairs = _mm512_maskz_maddubs_epi16(0xffffffffu, (__m512i)w.magnitude, (__m512i)with_sign);
      sum += (IntVec)_mm512_maskz_madd_epi16(0xffff, pairs, (__m512i)(IntVec{} + 0x00010001));
    }
  }
};

// Weights moved by 128 have no sign, and a product takes one instruction; 128 times the sum of the row is too much
// then.
struct MovedBytes {
  static constexpr bool kMoved = true;
  static constexpr int64_t kLeastRows = 8;
  using Weights = ByteVec;
  using Input = ByteVec;
  static SFFN_INLINE Weights weights(ByteVec w) { return w ^ -128; }
  static SFFN_INLINE Input input(ByteVec x) { return x; }
  static SFFN_INLINE void add_products(IntVec& sum, Weights w, Input x) { add_unsigned_products(sum, w, x); }
};
#elif SFFN_LANES == 8
struct Bytes {
  static constexpr bool kMoved = false;
  static constexpr int64_t kLeastRows = 32;
  struct Weights {
    ByteVec magnitude, values;
  };
  using Input = ByteVec;
  static SFFN_INLINE Weights weights(ByteVec w) { return {(ByteVec)_mm256_abs_epi8((__m256i)w), w}; }
  static SFFN_INLINE Input input(ByteVec x) { return x; }
  // Sums of two products have 16 bits: 2 · 127 · 128 is below 2¹⁵.
  static SFFN_INLINE void add_products(IntVec& sum, const Weights& w, Input x) {
    const __m256i with_sign = _mm256_sign_epi8((__m256i)x, (__m256i)w.values);
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)w.magnitude, with_sign);
    sum += (IntVec)_mm256_madd_epi16(pairs, (__m256i)(IntVec{} + 0x00010001));
  }
};
#elif defined(__aarch64__)
inline bool has_dot_product() {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#elif defined(__linux__)
  static const bool dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
  return dot;
#else
  return false;
#endif
}

template <bool kDot>
struct Bytes {
  static constexpr bool kMoved = false;
  static constexpr int64_t kLeastRows = 32;
  using Weights = ByteVec;
  using Input = ByteVec;
  static SFFN_INLINE Weights weights(ByteVec w) { return w; }
  static SFFN_INLINE Input input(ByteVec x) { return x; }
  static SFFN_INLINE void add_products(IntVec& sum, Weights w, Input x) {
    if constexpr (kDot) {
      // By its name: the target of this file is without it.
      asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(x));
    } else {
      const int8x16_t a = (int8x16_t)w, b = (int8x16_t)x;
      const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
      sum = (IntVec)vpadalq_s16((int32x4_t)sum, vpaddq_s16(low, high));
    }
  }
};
#else
typedef int16_t HalfWords __attribute__((vector_size(kLanes * 4)));

struct Bytes {
  static constexpr bool kMoved = false;
  static constexpr int64_t kLeastRows = 8;
  struct Halves {
    HalfWords even, odd;
  };
  using Weights = Halves;
  using Input = Halves;
  static SFFN_INLINE Halves halves(ByteVec v) {
    const HalfWords both = (HalfWords)v;
    return {(both << 8) >> 8, both >> 8};
  }
  static SFFN_INLINE Weights weights(ByteVec w) { return halves(w); }
  static SFFN_INLINE Input input(ByteVec x) { return halves(x); }
  static SFFN_INLINE IntVec pairs(HalfWords a, HalfWords b) {
#if defined(__x86_64__)
    return (IntVec)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    const IntVec x = (IntVec)a, y = (IntVec)b;
    return ((x << 16) >> 16) * ((y << 16) >> 16) + (x >> 16) * (y >> 16);
#endif
  }
  static SFFN_INLINE void add_products(IntVec& sum, const Weights& w, const Input& x) {
    sum += pairs(w.even, x.even) + pairs(w.odd, x.odd);
  }
};
#endif

// Sums of this many products fit in 32 bits: 127 · 128 · 2¹⁷ is below 2³¹.
constexpr int64_t kMostByteTerms = int64_t{1} << 17;
constexpr int64_t kByteStep = 4 * kLanes;

// For a few rows (skinny.inl).
template <class Products>
struct ByteArithmetic {
  using Weight = int8_t;
  using Input = int8_t;  // zeros up to a multiple of kStep
  using Sum = IntVec;
  static constexpr int kStep = kByteStep;
  static constexpr int kRows = 4;
  static constexpr int64_t kMostTerms = kMostByteTerms;
  static constexpr bool kExact = true;

  template <class Size>
  static SFFN_INLINE typename Products::Input input(const int8_t* x, Size) {
    return Products::input(load_bytes(x, Full{}));
  }
  template <class Size>
  static SFFN_INLINE typename Products::Weights weights(const int8_t* w, Size part) {
    return Products::weights(load_bytes(w, part));
  }
  static SFFN_INLINE void multiply_add(IntVec& sum, const typename Products::Weights& w,
                                       const typename Products::Input& x) {
    Products::add_products(sum, w, x);
  }
  static SFFN_INLINE IntVec totals(IntVec sum) { return sum; }
};
