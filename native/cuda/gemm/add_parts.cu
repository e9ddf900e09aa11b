#include "epilogue.cuh"
#include "kernels.cuh"
#include "row_sums.cuh"

namespace sffn::cuda {

// Adds the parts of a split sum in order, and stores the result exactly as an unsplit product would.
template <class T>
__global__ void __launch_bounds__(kAddThreads, 8) add_parts(const __grid_constant__ Product p, int parts) {
  const int runs = (p.results() + kRun - 1) / kRun;
  const int64_t index = blockIdx.x * int64_t{kAddThreads} + threadIdx.x;
  const int row = static_cast<int>(index / runs), column = static_cast<int>(index % runs) * kRun;
  if (row >= p.m) return;
  const int64_t batches = p.batches[0] * p.batches[1];
  const auto sum = [&](int first, float(&values)[kRun]) {
    for (int part = 0; part < parts; ++part) {
      const float* from = p.partial + ((part * batches + blockIdx.y) * p.m + row) * p.n + first;
      if (p.whole_parts()) {
        const float4 run = *reinterpret_cast<const float4*>(from);
        values[0] += run.x, values[1] += run.y, values[2] += run.z, values[3] += run.w;
        continue;
      }
#pragma unroll
      for (int j = 0; j < kRun; ++j)
        if (column + j < p.results()) values[j] += from[j];
    }
  };
  if (p.row_sums.to && column == 0 && blockIdx.y % p.batches[1] == 0) {
    const int outer = blockIdx.y / p.batches[1];
    float total = 0;
    for (int part = 0; part < parts; ++part) total += row_sum_part(p, part, outer, row);
    store_row_sum<T>(p, outer, row, total);
  }
  float values[kRun] = {};
  sum(column, values);
  if (p.gated()) {
    float ups[kRun] = {};
    sum(column + p.half(), ups);
    store_gated<T>(p, blockIdx.y, row, column, values, ups);
  } else {
    store_run<T, true>(p, blockIdx.y, row, column, values);
  }
}

template <class T>
Kernel<Product, int>* add_parts_kernel() {
  return kernel_of<add_parts<T>, kAddThreads>("add_parts", kTypeName<T>);
}

template Kernel<Product, int>* add_parts_kernel<float>();
template Kernel<Product, int>* add_parts_kernel<bf16>();

}  // namespace sffn::cuda
