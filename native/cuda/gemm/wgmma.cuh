// The kernels by wgmma. Each is null where the device or this binary has none.
#pragma once

#include "product.cuh"

namespace sffn::cuda {

using Kernel = void (*)(const Product);
using ChainKernel = void (*)(const Product, const Product);

// For operands that lie like this.
Kernel wgmma_kernel(bool a_k_contiguous, bool b_k_contiguous);
// With tiles of Z of 64 or 128 columns.
ChainKernel wgmma_chain(bool b_k_contiguous, int width);
// Of 2, 4 or 8 blocks.
ChainKernel wgmma_interleaved_chain(int blocks);

}  // namespace sffn::cuda
