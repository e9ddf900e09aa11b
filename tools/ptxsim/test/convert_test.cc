// cvt between all the types that kernels convert between.
#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"

namespace ptxsim {
namespace {

u64 from(i64 x) { return static_cast<u64>(x); }

std::vector<u64> floats() {
  std::vector<u64> values;
  for (const float x : {0.0f,        -0.0f,    0.5f,     1.5f,     2.5f,  -1.5f,       -2.5f,
                        0.49999997f, 3e9f,     -3e9f,    1e20f,    0.1f,  3.14159274f, 1.00390625f,
                        1.01171875f, -0.0003f, 65519.0f, 65520.0f, 6e-8f, 3.3895e38f,  255.7f})
    values.push_back(f32(x));
  return values;
}

float x32(u64 a) { return get<float>(a); }

template <class T>
u64 clamped(double x) {
  const double low = static_cast<double>(std::numeric_limits<T>::min()),
               high = std::ldexp(1.0, std::numeric_limits<T>::digits);
  if (x >= high) return static_cast<u64>(std::numeric_limits<T>::max());
  return x <= low ? static_cast<u64>(std::numeric_limits<T>::min()) : static_cast<u64>(static_cast<T>(x));
}

TEST(integers_to_integers) {
  check_operation("cvt.s64.s32 %d, %a;", integers(), 64, [](u64 a, u64, u64) { return from(static_cast<int32_t>(a)); });
  check_operation("cvt.u64.u32 %d, %a;", integers(), 64, [](u64 a, u64, u64) { return u64{static_cast<u32>(a)}; });
  check_operation("cvt.s32.s8 %d, %a;", integers(), 32, [](u64 a, u64, u64) { return from(static_cast<int8_t>(a)); });
  check_operation("cvt.u32.u16 %d, %a;", integers(), 32, [](u64 a, u64, u64) { return a & 0xFFFF; });
  check_operation("cvt.u16.u64 %d, %a;", integers(), 16, [](u64 a, u64, u64) { return a; });
  check_operation("cvt.sat.s8.s32 %d, %a;", integers(), 8,
                  [](u64 a, u64, u64) { return from(std::clamp<i64>(static_cast<int32_t>(a), -128, 127)); });
  check_operation("cvt.sat.u8.s32 %d, %a;", integers(), 8,
                  [](u64 a, u64, u64) { return from(std::clamp<i64>(static_cast<int32_t>(a), 0, 255)); });
}

TEST(integers_to_floats) {
  check_operation("cvt.rn.f32.s32 %d, %a;", integers(), 32,
                  [](u64 a, u64, u64) { return f32(static_cast<float>(static_cast<int32_t>(a))); });
  check_operation("cvt.rn.f32.u32 %d, %a;", integers(), 32,
                  [](u64 a, u64, u64) { return f32(static_cast<float>(static_cast<u32>(a))); });
  check_operation("cvt.rn.f32.u64 %d, %a;", integers(), 32, [](u64 a, u64, u64) { return f32(static_cast<float>(a)); });
  check_operation("cvt.rn.f64.s64 %d, %a;", integers(), 64,
                  [](u64 a, u64, u64) { return f64(static_cast<double>(static_cast<i64>(a))); });
  check_operation("cvt.rz.f32.u32 %d, %a;", integers(), 32, [](u64 a, u64, u64) {
    const u32 x = static_cast<u32>(a);
    float y = static_cast<float>(x);
    if (static_cast<double>(y) > x) y = std::nextafter(y, 0.0f);
    return f32(y);
  });
}

TEST(floats_to_integers) {
  check_operation("cvt.rzi.s32.f32 %d, %a;", floats(), 32,
                  [](u64 a, u64, u64) { return clamped<int32_t>(std::trunc(x32(a))); });
  check_operation("cvt.rzi.u32.f32 %d, %a;", floats(), 32,
                  [](u64 a, u64, u64) { return clamped<u32>(std::trunc(x32(a))); });
  check_operation("cvt.rni.s32.f32 %d, %a;", floats(), 32,
                  [](u64 a, u64, u64) { return clamped<int32_t>(std::nearbyint(x32(a))); });
  check_operation("cvt.rmi.s32.f32 %d, %a;", floats(), 32,
                  [](u64 a, u64, u64) { return clamped<int32_t>(std::floor(x32(a))); });
  check_operation("cvt.rpi.s64.f32 %d, %a;", floats(), 64,
                  [](u64 a, u64, u64) { return clamped<i64>(std::ceil(x32(a))); });
  check_operation("cvt.rzi.s32.f32 %d, %a;", {0x7FC00000}, 32, [](u64, u64, u64) { return u64{0}; });
}

TEST(floats_to_floats) {
  check_operation("cvt.f64.f32 %d, %a;", floats(), 64, [](u64 a, u64, u64) { return f64(x32(a)); });
  check_operation("cvt.rn.f32.f64 %d, %a;", {f64(0.1), f64(1e-300), f64(1e300), f64(-1.0 / 3)}, 32,
                  [](u64 a, u64, u64) { return f32(static_cast<float>(get<double>(a))); });
  check_operation("cvt.rmi.f32.f32 %d, %a;", floats(), 32, [](u64 a, u64, u64) { return f32(std::floor(x32(a))); });
  check_operation("cvt.rni.f32.f32 %d, %a;", floats(), 32, [](u64 a, u64, u64) { return f32(std::nearbyint(x32(a))); });
  check_operation("cvt.sat.f32.f32 %d, %a;", floats(), 32, [](u64 a, u64, u64) {
    return f32(x32(a) > 1 ? 1.0f : x32(a) > 0 ? x32(a) : 0.0f);
  });
}

// The nearest value of a format with the mantissa's bits, ties to even, by scaling and rounding.
double nearest(double x, int mantissa, int least_exponent) {
  if (x == 0) return x;
  const int exponent = std::max(std::ilogb(x), least_exponent);
  return std::ldexp(std::nearbyint(std::ldexp(x, mantissa - exponent)), exponent - mantissa);
}

u64 to_bf16(float x) {
  const double y = nearest(x, 7, -126);
  return std::fabs(y) >= 0x1p128 ? (y < 0 ? 0xFF80 : 0x7F80) : f32(static_cast<float>(y)) >> 16;
}

TEST(floats_to_bf16) {
  check_operation("cvt.rn.bf16.f32 %d, %a;", floats(), 16, [](u64 a, u64, u64) { return to_bf16(x32(a)); });
  check_operation("cvt.rn.bf16x2.f32 %d, %a, %b;", floats(), 32,
                  [](u64 a, u64 b, u64) { return to_bf16(x32(a)) << 16 | to_bf16(x32(b)); });
  check_operation("cvt.rn.relu.bf16x2.f32 %d, %a, %b;", floats(), 32, [](u64 a, u64 b, u64) {
    return to_bf16(x32(a) > 0 ? x32(a) : 0.0f) << 16 | to_bf16(x32(b) > 0 ? x32(b) : 0.0f);
  });
  check_operation("cvt.f32.bf16 %d, %a;", {0x3F80, 0xBF81, 0x0001, 0x7F80}, 32,
                  [](u64 a, u64, u64) { return a << 16; });
}

TEST(floats_to_f16) {
  check_operation("cvt.rn.f16.f32 %d, %a; cvt.f32.f16 %d, %d;", floats(), 32, [](u64 a, u64, u64) {
    const double y = nearest(x32(a), 10, -14);
    return f32(std::fabs(y) > 65504 ? std::copysign(std::numeric_limits<float>::infinity(), x32(a))
                                    : static_cast<float>(y));
  });
  check_operation("cvt.rn.f16x2.f32 %d, %a, %b; shr.u32 %d, %d, 16; cvt.f32.f16 %d, %d;", {f32(1.5f), f32(-2.25f)}, 32,
                  [](u64 a, u64, u64) { return a; });
}

TEST(floats_to_tf32) {
  check_operation("cvt.rna.tf32.f32 %d, %a;", {f32(1.0f), f32(0.1f), f32(-3.3f), 0x3F801000, 0x3F800FFF}, 32,
                  [](u64 a, u64, u64) {
                    const double scaled = std::ldexp(x32(a), 10 - std::ilogb(x32(a)));
                    return f32(static_cast<float>(std::ldexp(std::round(scaled), std::ilogb(x32(a)) - 10)));
                  });
}

}  // namespace
}  // namespace ptxsim
