// AVX-512 for processors without it: the intrinsics that native/cpu uses, lane by lane (scripts/test_avx512.mjs). The
// compiler lowers vectors of 64 bytes by itself.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#define SFFN_EMULATED_AVX512
#define SFFN_AVX512 "avx2,fma,f16c,bmi2"
#define SFFN_AVX512_BF16 SFFN_AVX512

namespace emulated {

#define EMULATED inline __attribute__((always_inline))

typedef float F32x16 __attribute__((vector_size(64)));
typedef int32_t I32x16 __attribute__((vector_size(64)));
typedef uint32_t U32x16 __attribute__((vector_size(64)));
typedef int16_t I16x32 __attribute__((vector_size(64)));
typedef int8_t I8x64 __attribute__((vector_size(64)));
typedef uint8_t U8x64 __attribute__((vector_size(64)));

// Lanes of `mask` from p; the others are 0 and not touched.
template <class Vector, class Element>
EMULATED Vector load(uint32_t mask, const void* p) {
  Element lanes[sizeof(Vector) / sizeof(Element)] = {};
  for (size_t i = 0; i < sizeof(Vector) / sizeof(Element); ++i)
    if (mask >> i & 1) lanes[i] = static_cast<const Element*>(p)[i];
  Vector v;
  std::memcpy(&v, lanes, sizeof v);
  return v;
}
template <class Element, class Vector>
EMULATED void store(void* p, uint32_t mask, Vector v) {
  Element lanes[sizeof(Vector) / sizeof(Element)];
  std::memcpy(lanes, &v, sizeof v);
  for (size_t i = 0; i < sizeof(Vector) / sizeof(Element); ++i)
    if (mask >> i & 1) static_cast<Element*>(p)[i] = lanes[i];
}
// Each element of `from` as a To.
template <class To, class Out, class From, class In>
EMULATED Out convert(In v) {
  From from[sizeof(In) / sizeof(From)];
  std::memcpy(from, &v, sizeof v);
  To to[sizeof(Out) / sizeof(To)];
  for (size_t i = 0; i < sizeof(Out) / sizeof(To); ++i) to[i] = static_cast<To>(from[i]);
  Out out;
  std::memcpy(&out, to, sizeof out);
  return out;
}
EMULATED F32x16 sqrt(F32x16 v) {
  for (int i = 0; i < 16; ++i) v[i] = std::sqrt(v[i]);
  return v;
}
// Sums of two neighbouring products.
EMULATED I32x16 multiply_add(I16x32 a, I16x32 b) {
  I32x16 sums;
  for (int i = 0; i < 16; ++i) sums[i] = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
  return sums;
}
// VPMADDUBSW: sums of two neighbouring products, the first operand without a sign, saturated.
EMULATED I16x32 multiply_add_bytes(U8x64 a, I8x64 b) {
  I16x32 sums;
  for (int i = 0; i < 32; ++i) {
    const int sum = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    sums[i] = static_cast<int16_t>(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
  }
  return sums;
}
// VPDPBUSD: sums of four neighbouring products, the first operand without a sign.
EMULATED I32x16 add_products(I32x16 sum, U8x64 a, I8x64 b) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j) sum[i] += a[4 * i + j] * b[4 * i + j];
  return sum;
}
// VDPBF16PS: the upper halves first, each product added with one rounding.
EMULATED F32x16 multiply_pairs(F32x16 sum, U32x16 a, U32x16 b) {
  sum += (F32x16)(a & 0xffff0000u) * (F32x16)(b & 0xffff0000u);
  sum += (F32x16)(a << 16) * (F32x16)(b << 16);
  return sum;
}

#undef EMULATED

}  // namespace emulated

#define _mm512_maskz_loadu_ps(mask, p) ((__m512)emulated::load<emulated::F32x16, float>(mask, p))
#define _mm512_mask_storeu_ps(p, mask, v) emulated::store<float>(p, mask, v)
#define _mm512_stream_ps(p, v) emulated::store<float>(p, 0xffff, v)
#define _mm512_maskz_sqrt_ps(mask, v) ((__m512)emulated::sqrt((emulated::F32x16)(v)))
#define _mm512_maskz_cvtepu16_epi32(mask, v) emulated::convert<uint32_t, __m512i, uint16_t>(v)
#define _mm512_maskz_cvtepi8_epi32(mask, v) emulated::convert<int32_t, __m512i, int8_t>(v)
#define _mm512_maskz_cvtepi8_epi16(mask, v) emulated::convert<int16_t, __m512i, int8_t>(v)
#define _mm512_maskz_cvtepi32_ps(mask, v) emulated::convert<float, __m512, int32_t>(v)
#define _mm512_maskz_cvtepi32_epi16(mask, v) emulated::convert<int16_t, __m256i, int32_t>(v)
#define _mm512_maskz_cvtepi32_epi8(mask, v) emulated::convert<int8_t, __m128i, int32_t>(v)
#define _mm512_maskz_slli_epi32(mask, v, bits) ((__m512i)((emulated::U32x16)(v) << (bits)))
#define _mm512_maskz_madd_epi16(mask, a, b) \
  ((__m512i)emulated::multiply_add((emulated::I16x32)(a), (emulated::I16x32)(b)))
#define _mm512_maskz_maddubs_epi16(mask, a, b) \
  ((__m512i)emulated::multiply_add_bytes((emulated::U8x64)(a), (emulated::I8x64)(b)))
#define _mm512_dpbusd_epi32(sum, a, b) \
  ((__m512i)emulated::add_products((emulated::I32x16)(sum), (emulated::U8x64)(a), (emulated::I8x64)(b)))
#define _mm512_dpbf16_ps(sum, a, b) \
  ((__m512)emulated::multiply_pairs((emulated::F32x16)(sum), (emulated::U32x16)(a), (emulated::U32x16)(b)))
#define _mm256_maskz_loadu_epi16(mask, p) emulated::load<__m256i, int16_t>(mask, p)
#define _mm256_maskz_loadu_epi8(mask, p) emulated::load<__m256i, int8_t>(mask, p)
#define _mm_maskz_loadu_epi8(mask, p) emulated::load<__m128i, int8_t>(mask, p)
#define _mm256_mask_storeu_epi16(p, mask, v) emulated::store<int16_t>(p, mask, v)
