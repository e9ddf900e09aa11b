// Strided operands on the device: the dimensions as the CPU joins them, handed to kernels by value.
#pragma once

#include "common.cuh"

namespace sffn::cuda {

#include "../cpu/strides.inl"

// offset[o] = where position `at` lies in operand o. Index: uint32_t if everything fits, since 64-bit divisions cost
// ten times as much.
template <class Index, int Operands>
__host__ __device__ inline void locate(const Strided<Operands>& shape, Index at, int64_t (&offset)[Operands]) {
#pragma unroll
  for (int o = 0; o < Operands; ++o) offset[o] = 0;
  for (int d = shape.rank - 1; d > 0; --d) {
    const Index size = static_cast<Index>(shape.size[d]), rest = at / size, place = at - rest * size;
#pragma unroll
    for (int o = 0; o < Operands; ++o) offset[o] += static_cast<int64_t>(place) * shape.stride[o][d];
    at = rest;
  }
#pragma unroll
  for (int o = 0; o < Operands; ++o) offset[o] += static_cast<int64_t>(at) * shape.stride[o][0];
}

// Calls body(Index{}).
template <class Body>
void dispatch_index(int64_t positions, Body&& body) {
  if (positions < int64_t{1} << 31) return body(uint32_t{});
  body(uint64_t{});
}

}  // namespace sffn::cuda
