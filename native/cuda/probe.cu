// For benchmarks: what the device can do.
#include "../counters.h"
#include "common.cuh"

namespace sffn::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChains = 8;  // independent sums of a thread, enough to hide the latency of a multiply-add

__global__ void __launch_bounds__(kThreads) flops_kernel(float* out, int64_t iterations) {
  float sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<float>(threadIdx.x + i);
  for (int64_t round = 0; round < iterations; ++round)
#pragma unroll
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * 0.999f + 0.001f;
  float total = 0;
  for (int i = 0; i < kChains; ++i) total += sums[i];
  if (threadIdx.x == 0) out[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kThreads) bandwidth_kernel(const float* x, float* out, int64_t size) {
  __shared__ float parts[kThreads / kWarp];
  float sum = 0;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < size; i += gridDim.x * int64_t{kThreads})
    sum += x[i];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int i = 1; i < kThreads / kWarp; ++i) sum += parts[i];
  out[blockIdx.x] = sum;
}

}  // namespace

void probe_flops(View out, int64_t iterations, int64_t) {
  if (out.size == 0) return;
  flops_kernel<<<static_cast<unsigned>(out.size), kThreads, 0, stream()>>>(out.f32(), iterations);
  check_launch("probe_flops");
  count_flops(out.size * kThreads * iterations * kChains * 2);
}

void probe_bandwidth(View x, View out) {
  if (out.size == 0) return;
  bandwidth_kernel<<<static_cast<unsigned>(out.size), kThreads, 0, stream()>>>(x.f32(), out.f32(), x.size);
  check_launch("probe_bandwidth");
}

}  // namespace sffn::cuda
