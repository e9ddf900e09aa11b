#include "random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "thread_pool.h"

namespace sffn {
namespace {

constexpr int64_t kTaskCounters = 4096;

// fill(draws, four outputs) for every counter; the last one may be cut short.
template <class Fill>
void for_counters(View y, int64_t seed_low, int64_t seed_high, int64_t offset, const Fill& fill) {
  const std::array key = {static_cast<uint32_t>(seed_low), static_cast<uint32_t>(seed_high)};
  const int64_t counters = (y.size + 3) / 4;
  parallel_for((counters + kTaskCounters - 1) / kTaskCounters, [&](int64_t task) {
    for (int64_t c = task * kTaskCounters; c < std::min(counters, (task + 1) * kTaskCounters); ++c) {
      const uint64_t position = static_cast<uint64_t>(offset) + static_cast<uint64_t>(c);
      const auto draws = philox({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0}, key);
      float values[4];
      fill(draws, values);
      std::copy_n(values, std::min<int64_t>(4, y.size - 4 * c), y.f32() + 4 * c);
    }
  });
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0], product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

void random_uniform(View y, int64_t seed_low, int64_t seed_high, int64_t offset, double low, double high) {
  // The product can round up to `high` itself, which the interval leaves out.
  const float top = std::nextafter(static_cast<float>(high), -INFINITY);
  for_counters(y, seed_low, seed_high, offset, [&](const std::array<uint32_t, 4>& draws, float* values) {
    for (int i = 0; i < 4; ++i) {
      const float value = static_cast<float>(low + (high - low) * (draws[i] >> 8) * 0x1p-24);
      values[i] = value < static_cast<float>(high) ? value : top;
    }
  });
}

void random_normal(View y, int64_t seed_low, int64_t seed_high, int64_t offset, double mean, double std) {
  for_counters(y, seed_low, seed_high, offset, [&](const std::array<uint32_t, 4>& draws, float* values) {
    for (int i = 0; i < 4; i += 2) {
      const double radius = std * std::sqrt(-2 * std::log((draws[i] + 1.0) * 0x1p-32));
      const double angle = 2 * std::numbers::pi * draws[i + 1] * 0x1p-32;
      values[i] = static_cast<float>(mean + radius * std::cos(angle));
      values[i + 1] = static_cast<float>(mean + radius * std::sin(angle));
    }
  });
}

}  // namespace sffn
