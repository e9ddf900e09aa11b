// The random stream of docs/random.md: Philox4x32-10, four draws to a counter.
#include <cmath>

#include "pack.cuh"

namespace sffn::cuda {
namespace {

struct Draws {
  uint32_t value[4];
};

__device__ Draws philox(uint64_t position, uint32_t key0, uint32_t key1) {
  uint32_t c0 = static_cast<uint32_t>(position), c1 = static_cast<uint32_t>(position >> 32), c2 = 0, c3 = 0;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * c0, product1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ key0;
    c1 = static_cast<uint32_t>(product1);
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ key1;
    c3 = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

// fill(draws, four outputs) for every counter; the last one may be cut short.
template <class Fill>
__global__ void __launch_bounds__(kThreads)
    random_kernel(float* y, int64_t size, uint32_t key0, uint32_t key1, uint64_t offset, Fill fill) {
  const int64_t counters = (size + 3) / 4;
  for (int64_t c = first_item(); c < counters; c += item_stride()) {
    float values[4];
    fill(philox(offset + static_cast<uint64_t>(c), key0, key1), values);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (4 * c + i < size) y[4 * c + i] = values[i];
  }
}

// Products and sums are rounded separately, as on the CPU: a fused one would give other bits.
struct Uniform {
  double low, width;
  float high, top;

  __device__ void operator()(const Draws& draws, float (&values)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const double part = __dmul_rn(__dmul_rn(width, draws.value[i] >> 8), 0x1p-24);
      const float value = static_cast<float>(__dadd_rn(low, part));
      values[i] = value < high ? value : top;
    }
  }
};

struct Normal {
  double mean, std;

  __device__ void operator()(const Draws& draws, float (&values)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const double radius = std * sqrt(-2 * log((draws.value[i] + 1.0) * 0x1p-32));
      double sine, cosine;
      sincospi(draws.value[i + 1] * 0x1p-31, &sine, &cosine);
      values[i] = static_cast<float>(__dadd_rn(mean, __dmul_rn(radius, cosine)));
      values[i + 1] = static_cast<float>(__dadd_rn(mean, __dmul_rn(radius, sine)));
    }
  }
};

template <class Fill>
void launch(View y, int64_t seed_low, int64_t seed_high, int64_t offset, Fill fill) {
  refuse_while_recording("no random numbers can be drawn: every replay would draw the same");
  if (y.size == 0) return;
  random_kernel<<<blocks_for(ceil_div(y.size, 4)), kThreads, 0, stream()>>>(
      data_of<float>(y), y.size, static_cast<uint32_t>(seed_low), static_cast<uint32_t>(seed_high),
      static_cast<uint64_t>(offset), fill);
  check_launch("random numbers");
}

}  // namespace

void random_uniform(View y, int64_t seed_low, int64_t seed_high, int64_t offset, double low, double high) {
  // The product can round up to `high` itself, which the interval leaves out.
  const float end = static_cast<float>(high);
  launch(y, seed_low, seed_high, offset, Uniform{low, high - low, end, std::nextafter(end, -INFINITY)});
}

void random_normal(View y, int64_t seed_low, int64_t seed_high, int64_t offset, double mean, double std) {
  launch(y, seed_low, seed_high, offset, Normal{mean, std});
}

}  // namespace sffn::cuda
