// Random numbers: the counter-based generator Philox4x32-10, so that every element is a function of the seed and its
// place alone. docs/random.md specifies the stream.
#pragma once

#include <array>

#include "tensor.h"

namespace sffn {

// Four draws of 32 bits.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// y[i] uniform in [low, high).
void random_uniform(View y, int64_t seed_low, int64_t seed_high, int64_t offset, double low, double high);
// y[i] normal.
void random_normal(View y, int64_t seed_low, int64_t seed_high, int64_t offset, double mean, double std);

}  // namespace sffn
