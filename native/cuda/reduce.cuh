// Sums over the middle dimension for other launchers: where partial results are joined, in order.
#pragma once

#include "common.cuh"

namespace sffn::cuda {

// y[o, i] = Σ over j of x[o, j, i], both f32 or bf16.
void reduce_sum(const void* x, DType x_type, void* y, DType y_type, int64_t outer, int64_t extent, int64_t inner);

}  // namespace sffn::cuda
