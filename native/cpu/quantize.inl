// Weights of fewer bits: int8 with one scale for each row.

constexpr float kMostInt8 = 127;

// To integers from -127 to 127, ties to even.
SFFN_INLINE IntVec round_to_int8(Vec v) {
  constexpr float kRounder = 12582912.f;  // 1.5 · 2²³: a sum with it has no place for fractions
  return (IntVec)(max(min(v, splat(kMostInt8)), splat(-kMostInt8)) + kRounder) - 0x4b400000;
}

typedef int8_t LaneBytes __attribute__((vector_size(kLanes)));
SFFN_INLINE LaneBytes narrow_to_bytes(IntVec v) {
#if SFFN_LANES == 16
  return (LaneBytes)_mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v);
#elif SFFN_LANES == 8
  // Packed within halves of 128 bits, whose first quarters then go together.
  const __m256i shorts = _mm256_packs_epi32((__m256i)v, (__m256i)v), bytes = _mm256_packs_epi16(shorts, shorts);
  const __m256i both = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 0, 0, 0, 0, 0, 0));
  return (LaneBytes)_mm_cvtsi128_si64(_mm256_castsi256_si128(both));
#elif defined(__x86_64__)
  const __m128i shorts = _mm_packs_epi32((__m128i)v, (__m128i)v);
  return (LaneBytes)_mm_cvtsi128_si32(_mm_packs_epi16(shorts, shorts));
#else
  return __builtin_convertvector(v, LaneBytes);
#endif
}
SFFN_INLINE void store(int8_t* p, IntVec v, Full) {
  const LaneBytes bytes = narrow_to_bytes(v);
  std::memcpy(p, &bytes, sizeof bytes);
}
SFFN_INLINE void store(int8_t* p, IntVec v, Part part) {
  const LaneBytes bytes = narrow_to_bytes(v);
  std::memcpy(p, &bytes, static_cast<size_t>(part.count));
}

// Of the magnitudes; NaN where a value is not finite.
inline float largest_or_nan(const float* x, int64_t count) {
  Vec largest{}, wrong{};
  for_vectors(0, count, [&](int64_t i, auto part) {
    const Vec v = load(x + i, part);
    largest = max(largest, abs(v));
    wrong += v * 0.f;
  });
  return sum(wrong) == 0 ? max_lane(largest) : std::numeric_limits<float>::quiet_NaN();
}

void quantize(View x, View y, View scales, int64_t rows, int64_t columns) {
  for_rows(rows, columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x.f32() + row * columns;
      // NaN for a row that is not finite, so that every product with it shows it.
      const float scale = largest_or_nan(from, columns) / kMostInt8, inverse = scale > 0 ? 1 / scale : 0;
      scales.f32()[row] = scale;
      int8_t* to = y.i8() + row * columns;
      for_vectors(0, columns,
                  [&](int64_t i, auto part) { store(to + i, round_to_int8(load(from + i, part) * inverse), part); });
    }
  });
}

template <class W>
void widen_rows(const W* x, const float* scales, float* y, int64_t rows, int64_t columns) {
  for_rows(rows, columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float scale = scales ? scales[row] : 1.f;
      for_vectors(0, columns, [&](int64_t i, auto part) {
        store(y + row * columns + i, load(x + row * columns + i, part) * scale, part);
      });
    }
  });
}

void dequantize(View x, View scales, View y, int64_t rows, int64_t columns) {
  if (x.dtype == DType::bf16) return widen_rows(x.bf16(), scales.f32(), y.f32(), rows, columns);
  widen_rows(x.i8(), scales.f32(), y.f32(), rows, columns);
}
