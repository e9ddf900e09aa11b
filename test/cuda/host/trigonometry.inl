// Sine and cosine against those of float64, which the C library gets right for every argument.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "cuda/trigonometry.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

// To a few units in the last place, relative to the value itself: near multiples of π/2, too.
bool is_near(float value, double expected) {
  return std::abs(value - expected) <= 3e-7 * std::abs(expected) + 4.0 * std::numeric_limits<float>::denorm_min();
}

bool is_right_at(float a) { return is_near(sine(a), std::sin(double{a})) && is_near(cosine(a), std::cos(double{a})); }

void check_at(float size) {
  for (const float a : {size, -size})
    if (!is_right_at(a)) unit::fail(__FILE__, __LINE__, "at " + std::to_string(a));
}

TEST(sines_of_every_size) {
  for (int exponent = -149; exponent < 128; ++exponent)
    for (uint32_t i = 0; i < 2000; ++i) check_at(ldexpf(1.f + static_cast<float>(i * 4195u) * 0x1p-23f, exponent));
  for (const float a : {0.f, 1e5f, 1e10f, 0x1p31f, std::nextafter(0x1p31f, 0.f), std::numeric_limits<float>::max()})
    check_at(a);
}

TEST(sines_near_multiples_of_half_pi) {
  for (int i = 1; i <= 100000; ++i) check_at(static_cast<float>(i * M_PI_2));
  check_at(0x1.f37c8ap+95f);  // the nearest of all floats
}

TEST(sines_of_what_has_none) {
  for (const float a : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    CHECK(std::isnan(sine(a)) && std::isnan(sine(-a)) && std::isnan(cosine(a)) && std::isnan(cosine(-a)));
  CHECK(std::signbit(sine(-0.f)) && !std::signbit(sine(0.f)) && cosine(-0.f) == 1);
}

}  // namespace
}  // namespace sffn::cuda
