// The sums over k of the rows of A, computed along with a product whose operands are not k-contiguous. A weight
// gradient reads all of a layer's gradient, and the row sums of that are the gradient of the layer's bias. Blocks of
// threads in the first column of tiles add up the values that they load: each thread some rows of every 16th term. Then
// the 16 lines of sums are joined in order.
#pragma once

#include "../pack.cuh"
#include "product.cuh"

namespace sffn::cuda {

constexpr int kSumLines = 16;

// Whether the block of threads of this tile has to compute its row sums.
__device__ inline bool makes_row_sums(const Product& p, int batch, int column0) {
  return p.row_sums.to && column0 == 0 && batch % p.batches[1] == 0;
}

template <class T>
__device__ void store_row_sum(const Product& p, int outer, int row, float sum) {
  static_cast<T*>(p.row_sums.to)[outer * p.row_sums.batch + row * p.row_sums.step] = from_float<T>(sum);
}

// The place of a row's sum in part `part` of a split product.
__device__ inline float& row_sum_part(const Product& p, int part, int outer, int row) {
  return p.row_sums.parts[(int64_t{part} * p.batches[0] + outer) * p.m + row];
}

// sums: of the rows first + i · kStep + j of the tile, for each thread. A line is a sixteenth of the block, in
// consecutive threads. `shared` has room for kSumLines · kRows floats; all threads of the block must call this.
template <class T, int kRows, int kStep, int kRuns>
__device__ void store_row_sums(const Product& p, int batch, int row0, float* shared, const float (&sums)[kRuns][4],
                               int first) {
  float* const own_line = shared + threadIdx.x / (blockDim.x / kSumLines) * kRows;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kRuns; ++i) store_pack<4>(own_line + first + i * kStep, sums[i]);
  __syncthreads();
  const int outer = batch / p.batches[1];
  for (int i = threadIdx.x; i < min(kRows, p.m - row0); i += blockDim.x) {
    float sum = 0;
    for (int line = 0; line < kSumLines; ++line) sum += shared[line * kRows + i];
    if (p.splits > 1)
      row_sum_part(p, blockIdx.z, outer, row0 + i) = sum;
    else
      store_row_sum<T>(p, outer, row0 + i, sum);
  }
  __syncthreads();
}

}  // namespace sffn::cuda
