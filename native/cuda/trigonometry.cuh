// Sine and cosine of any float. CUDA's own functions keep the digits of 2/π in local memory for large arguments.
#pragma once

#include "common.cuh"

namespace sffn::cuda {

// An angle of quadrant + 2 · half_turns quarter turns; half_turns is between -1/2 and 1/2. Two bits of the quadrant
// count.
struct Angle {
  uint32_t quadrant;
  float half_turns;
};

// a · 2/π modulo 4 for 2^31 <= a < infinity. The digits of 2/π that give multiples of 4 are left out. 96 bits of the
// others are enough, since no float comes closer than 2^-30 to a multiple of π/2.
__host__ __device__ inline Angle angle_of_large(float a) {
  static constexpr uint32_t kTwoOverPi[] = {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                            0xdb629599, 0x3c439041, 0xfe5163ab};
  int exponent;
  const uint64_t mantissa = static_cast<uint64_t>(ldexpf(frexpf(a, &exponent), 24));
  const int first = exponent - 24 - 2, shift = first % 32;
  const uint32_t* digits = kTwoOverPi + first / 32;
  const auto pair = [&](int i) { return uint64_t{digits[i]} << 32 | digits[i + 1]; };
  const uint64_t high = pair(0) << shift | uint64_t{digits[2]} << shift >> 32, low = pair(2) << shift >> 32;
  // Quarter turns, of which the two bits before the point are kept.
  constexpr int kFraction = 62;
  const uint64_t turns = mantissa * high + (mantissa * low >> 32);
  const uint64_t quadrant = (turns + (uint64_t{1} << (kFraction - 1))) >> kFraction;
  return {static_cast<uint32_t>(quadrant), static_cast<float>(static_cast<int64_t>(turns - (quadrant << kFraction))) *
                                               (0.5f / static_cast<float>(uint64_t{1} << kFraction))};
}

__host__ __device__ inline Angle angle_of(float a) {
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1, kItsRest = -0x1.6b01ec5417056p-55;
  const float size = fabsf(a);
  Angle angle;
  if (size < 0x1p31f) {
    const double whole = rint(size * kTwoOverPi);
    const double rest = fma(static_cast<double>(size), kTwoOverPi, -whole) + size * kItsRest;
    angle = {static_cast<uint32_t>(whole), static_cast<float>(rest / 2)};
  } else if (size < INFINITY) {
    angle = angle_of_large(size);
  } else {
    angle = {0, a - a};  // NaN
  }
  return signbit(a) ? Angle{-angle.quadrant, -angle.half_turns} : angle;
}

__host__ __device__ inline float sine_of(Angle angle) {
  const float value = angle.quadrant & 1 ? cospif(angle.half_turns) : sinpif(angle.half_turns);
  return angle.quadrant & 2 ? -value : value;
}

__host__ __device__ inline float sine(float a) { return sine_of(angle_of(a)); }
__host__ __device__ inline float cosine(float a) {
  Angle angle = angle_of(a);
  ++angle.quadrant;
  return sine_of(angle);
}

}  // namespace sffn::cuda
