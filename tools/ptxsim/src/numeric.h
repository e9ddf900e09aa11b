// Integer names, and the 16-bit floating-point formats as the device rounds them.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace ptxsim {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i64 = int64_t;

inline constexpr u32 kAllLanes = ~0u;
inline constexpr int kLanes = 32;

/** The float nearest to x that keeps a sticky last bit where it is inexact, so that a later rounding is the only one.
 */
inline float round_to_odd(double x) {
  float f = static_cast<float>(x);
  if (static_cast<double>(f) == x || x != x || std::isinf(f)) return f;
  u32 bits = std::bit_cast<u32>(f);
  if (std::fabs(static_cast<double>(f)) > std::fabs(x)) --bits;
  return std::bit_cast<float>(bits | 1);
}

inline float bf16_to_float(u16 h) { return std::bit_cast<float>(static_cast<u32>(h) << 16); }

inline u16 float_to_bf16(float f) {
  const u32 x = std::bit_cast<u32>(f);
  if ((x & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<u16>((x + 0x7fff + ((x >> 16) & 1)) >> 16);
}

inline float half_to_float(u16 h) {
  const u32 sign = static_cast<u32>(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

inline u16 float_to_half(float f) {
  const u32 bits = std::bit_cast<u32>(f), sign = (bits >> 16) & 0x8000, x = bits & 0x7fffffff;
  if (x > 0x7f800000) return 0x7fff;
  if (x >= 0x477ff000) return static_cast<u16>(sign | 0x7c00);  // rounds to infinity
  if (x < 0x38800000)                                           // subnormal: a multiple of 2^-24
    return static_cast<u16>(sign | static_cast<u32>(std::nearbyint(std::bit_cast<float>(x) * 0x1p24f)));
  const u32 rounded = x + 0xfff + ((x >> 13) & 1);
  return static_cast<u16>(sign | ((rounded - 0x38000000) >> 13));
}

/** The lane types of 16-bit floats; arithmetic is done in double and rounded once. */
struct Bf16 {
  u16 bits;
};
struct Half {
  u16 bits;
};

/** A register's lane as a value of type T: the low bits of its 64. */
template <class T>
inline T get(u64 lane) {
  return static_cast<T>(lane);
}
template <>
inline float get<float>(u64 lane) {
  return std::bit_cast<float>(static_cast<u32>(lane));
}
template <>
inline double get<double>(u64 lane) {
  return std::bit_cast<double>(lane);
}
template <>
inline Bf16 get<Bf16>(u64 lane) {
  return {static_cast<u16>(lane)};
}
template <>
inline Half get<Half>(u64 lane) {
  return {static_cast<u16>(lane)};
}

/** A value of type T as a lane: its bits, zero-extended. */
template <class T>
inline u64 put(T value) {
  return static_cast<u64>(static_cast<std::make_unsigned_t<T>>(value));
}
template <>
inline u64 put<float>(float value) {
  return std::bit_cast<u32>(value);
}
template <>
inline u64 put<double>(double value) {
  return std::bit_cast<u64>(value);
}

inline double widen(float x) { return x; }
inline double widen(double x) { return x; }
inline double widen(Bf16 x) { return bf16_to_float(x.bits); }
inline double widen(Half x) { return half_to_float(x.bits); }

/** x rounded once, to nearest even, to the floating-point type T, as a lane. */
template <class T>
inline u64 narrow(double x);
template <>
inline u64 narrow<float>(double x) {
  return put(static_cast<float>(x));
}
template <>
inline u64 narrow<double>(double x) {
  return put(x);
}
template <>
inline u64 narrow<Bf16>(double x) {
  return float_to_bf16(round_to_odd(x));
}
template <>
inline u64 narrow<Half>(double x) {
  return float_to_half(round_to_odd(x));
}

}  // namespace ptxsim
