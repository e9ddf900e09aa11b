// Vectors of kLanes floats, in the compilers' vector extensions: one source for every instruction set. Only what the
// extensions express badly (partial loads, reductions) has an intrinsic per set.

constexpr int kLanes = SFFN_LANES;
typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float VecUnaligned __attribute__((vector_size(kLanes * 4), aligned(4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef uint32_t UintVec __attribute__((vector_size(kLanes * 4)));

SFFN_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
SFFN_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }
// x - 0 is x for the compiler; x + 0 would be an addition, for the sake of -0.
SFFN_INLINE Vec splat(float x) { return x - Vec{}; }

// The first `count` lanes, 0 <= count <= kLanes; the other lanes are 0 and their memory is not touched.
// AddressSanitizer does not see masked accesses, so its builds take the loop.
SFFN_INLINE Vec load_part(const float* p, int64_t count) {
#if SFFN_LANES == 16 && !defined(__SANITIZE_ADDRESS__)
  return (Vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
#else
  Vec v{};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
#endif
}
SFFN_INLINE void store_part(float* p, Vec v, int64_t count) {
#if SFFN_LANES == 16 && !defined(__SANITIZE_ADDRESS__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
#else
  for (int64_t i = 0; i < count; ++i) p[i] = v[i];
#endif
}

// Loops over n elements: body(i, Full) for whole vectors, then body(i, Part) for the rest, with matching loads and
// stores.
struct Full {};
struct Part {
  int64_t count;
};
SFFN_INLINE Vec load(const float* p, Full) { return load(p); }
SFFN_INLINE Vec load(const float* p, Part part) { return load_part(p, part.count); }
SFFN_INLINE void store(float* p, Vec v, Full) { store(p, v); }
SFFN_INLINE void store(float* p, Vec v, Part part) { store_part(p, v, part.count); }

// Elements of other types, as floats: bfloat16 by its bits, and int8.
SFFN_INLINE Vec load(const uint16_t* p, Full) {
#if SFFN_LANES == 16
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return (Vec)_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, bits), 16);
#elif SFFN_LANES == 8
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return (Vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16);
#else
  UintVec bits;
  SFFN_UNROLL for (int i = 0; i < kLanes; ++i) bits[i] = uint32_t{p[i]} << 16;
  return (Vec)bits;
#endif
}
SFFN_INLINE Vec load(const int8_t* p, Full) {
#if SFFN_LANES == 16
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return (Vec)_mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes));
#elif SFFN_LANES == 8
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return (Vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#else
  Vec v;
  SFFN_UNROLL for (int i = 0; i < kLanes; ++i) v[i] = p[i];
  return v;
#endif
}
template <class W>
SFFN_INLINE Vec load(const W* p, Part part) {
  alignas(64) W whole[kLanes] = {};
#if SFFN_LANES == 16 && !defined(__SANITIZE_ADDRESS__)
  const __mmask16 mask = static_cast<__mmask16>((1u << part.count) - 1);
  if constexpr (sizeof(W) == 2)
    _mm256_store_si256(reinterpret_cast<__m256i*>(whole), _mm256_maskz_loadu_epi16(mask, p));
  else
    _mm_store_si128(reinterpret_cast<__m128i*>(whole), _mm_maskz_loadu_epi8(mask, p));
#else
  for (int64_t i = 0; i < part.count; ++i) whole[i] = p[i];
#endif
  return load(static_cast<const W*>(whole), Full{});
}

// The bits of bfloat16, rounded as to_bf16 does, in the low half of each lane.
SFFN_INLINE UintVec round_to_bf16(Vec v) {
  const UintVec bits = (UintVec)v, upper = bits >> 16;
  const UintVec rounded = (bits + 0x7fff + (upper & 1)) >> 16;
  return (bits & 0x7fffffff) > 0x7f800000 ? upper | 0x40 : rounded;
}
typedef uint16_t ShortBits __attribute__((vector_size(kLanes * 2)));
SFFN_INLINE ShortBits bf16_bits(Vec v) {
  const UintVec bits = round_to_bf16(v);
#if SFFN_LANES == 16
  return (ShortBits)_mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)bits);
#elif SFFN_LANES == 8
  // Packed within halves of 128 bits, whose first quarters then go together.
  const __m256i packed = _mm256_packus_epi32((__m256i)bits, (__m256i)bits);
  return (ShortBits)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 8));
#else
  return __builtin_convertvector(bits, ShortBits);
#endif
}
SFFN_INLINE void store(uint16_t* p, Vec v, Full) {
  const ShortBits bits = bf16_bits(v);
  std::memcpy(p, &bits, sizeof bits);
}
SFFN_INLINE void store(uint16_t* p, Vec v, Part part) {
  const ShortBits bits = bf16_bits(v);
#if SFFN_LANES == 16 && !defined(__SANITIZE_ADDRESS__)
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << part.count) - 1), (__m256i)bits);
#else
  for (int64_t i = 0; i < part.count; ++i) p[i] = bits[i];
#endif
}

// One element.
SFFN_INLINE float widen(float x) { return x; }
SFFN_INLINE float widen(uint16_t x) { return from_bf16(x); }
template <class T>
SFFN_INLINE T narrow(float x) {
  if constexpr (std::is_same_v<T, uint16_t>)
    return to_bf16(x);
  else
    return x;
}

// Calls body(T{}) with the type of the elements, float or uint16_t (bfloat16).
template <class Body>
SFFN_INLINE void with_float(DType dtype, const Body& body) {
  if (dtype == DType::bf16) return body(uint16_t{});
  body(float{});
}

template <class Body>
SFFN_INLINE void for_vectors(int64_t begin, int64_t end, const Body& body) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) body(i, Full{});
  if (i < end) body(i, Part{end - i});
}

// Half as many doubles, for sums that must stay accurate over millions of elements.
typedef float HalfVec __attribute__((vector_size(kLanes * 2)));
typedef float HalfVecUnaligned __attribute__((vector_size(kLanes * 2), aligned(4)));
typedef double DoubleVec __attribute__((vector_size(kLanes * 4)));
constexpr int kDoubleLanes = kLanes / 2;
SFFN_INLINE DoubleVec load_double(const float* p) {
  return __builtin_convertvector(static_cast<HalfVec>(*reinterpret_cast<const HalfVecUnaligned*>(p)), DoubleVec);
}
SFFN_INLINE DoubleVec load_double(const uint16_t* p) {
  HalfVec v;
  SFFN_UNROLL for (int i = 0; i < kDoubleLanes; ++i) v[i] = from_bf16(p[i]);
  return __builtin_convertvector(v, DoubleVec);
}

SFFN_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
SFFN_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }

SFFN_INLINE float sum(Vec v) {
  float total = 0;
  SFFN_UNROLL for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
}
SFFN_INLINE float max_lane(Vec v) {
  float best = v[0];
  SFFN_UNROLL for (int i = 1; i < kLanes; ++i) best = v[i] > best ? v[i] : best;
  return best;
}

SFFN_INLINE Vec abs(Vec v) { return (Vec)((IntVec)v & 0x7fffffff); }
SFFN_INLINE Vec sqrt(Vec v) {
#if SFFN_LANES == 16
  return (Vec)_mm512_maskz_sqrt_ps(0xffff, (__m512)v);  // GCC 12 warns about the unmasked one
#elif SFFN_LANES == 8
  return (Vec)_mm256_sqrt_ps((__m256)v);
#elif defined(__x86_64__)
  return (Vec)_mm_sqrt_ps((__m128)v);
#else
  for (int i = 0; i < kLanes; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}

// eˣ, relative error below 3e-7 (Cephes' polynomial after reduction by ln 2); 0 below -87.3 (a masked score of -inf
// must weigh nothing), saturates at e⁸⁸ instead of overflowing, keeps NaN.
SFFN_INLINE Vec exp(Vec x) {
  x = x > 88.0f ? splat(88.0f) : x;
  const Vec shifted = x * 1.44269504f + 12582912.f;  // rounds to an integer, left in the low mantissa bits
  const UintVec exponent = (UintVec)shifted << 23;   // unsigned: lanes that are thrown away below may wrap
  const Vec n = shifted - 12582912.f;
  const Vec f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  p = p * f * f + f + 1.f;
  return x < -87.3f ? Vec{} : (Vec)((UintVec)p + exponent);
}
SFFN_INLINE Vec sigmoid(Vec x) { return 1.f / (exp(-x) + 1.f); }
SFFN_INLINE Vec tanh(Vec x) { return 2.f * sigmoid(2.f * x) - 1.f; }
