// The kernels of the matrix products; gemm.cu chooses among them. Each family has its own source: the sources compile
// side by side, and only changed ones compile again.
#pragma once

#include "../kernel.cuh"
#include "product.cuh"

namespace sffn::cuda {

using ProductKernel = Kernel<Product>;
using ChainKernel = Kernel<Product, Product>;

constexpr int kSkinnyRows = 16;  // of A, at most
constexpr int kSkinnyWarps = 8;

// All of them are for operands with the layout of `p`. group: of inner batches, computed in turn; only where the terms
// of A are contiguous. wgmma kernels are null where the device or this binary has none.

template <int kSize>  // 64 or 128 rows and columns
ProductKernel* bf16_kernel(const Product& p, bool group);
ProductKernel* wgmma_kernel(const Product& p);
ProductKernel* tf32_kernel(const Product& p, int size, bool group);
ProductKernel* f32_kernel(const Product& p, bool group);
// For p.m <= kSkinnyRows.
template <class T>
ProductKernel* skinny_kernel(const Product& p);
// Adds so many parts of a split sum.
constexpr int kAddThreads = 128;
template <class T>
Kernel<Product, int>* add_parts_kernel();

// width: columns of a tile of the first product's C, 64 or 128. blocks: 2, 4 or 8.
ChainKernel* chain_kernel(const Product& p, int width);
ChainKernel* wgmma_chain_kernel(const Product& p, int width);
ChainKernel* interleaved_chain_kernel(int blocks);
ChainKernel* wgmma_interleaved_chain_kernel(int blocks);

template <bool kValue>
using Truth = std::bool_constant<kValue>;
template <int kValue>
using Number = std::integral_constant<int, kValue>;

// body(constant) with a value as a constant: true or false, or the one of kFirst, kMore... that it equals. A value that
// equals none of the others is taken to be the last one.
template <class Body>
auto with_constant(bool value, Body&& body) {
  return value ? body(Truth<true>{}) : body(Truth<false>{});
}
template <int kFirst, int... kMore, class Body>
auto with_constant_of(int value, Body&& body) {
  if constexpr (sizeof...(kMore) > 0)
    if (value != kFirst) return with_constant_of<kMore...>(value, body);
  return body(Number<kFirst>{});
}

// body(whether the terms of A are contiguous, whether those of B are, whether operands are read 16 bytes at a time),
// all as constants.
template <class Body>
auto with_layout(const Product& p, Body&& body) {
  return with_constant(p.a_k_contiguous, [&](auto a) {
    return with_constant(p.b_k_contiguous, [&](auto b) {
      return with_constant(p.vector_operands, [&](auto vector) { return body(a, b, vector); });
    });
  });
}

// The kernel of this device, made at its first use; null where it has none.
template <auto kFunction, int kThreads, class... Names>
auto* kernel_of(Names... names) {
  const auto make = [&] { return new Kernel(kernel_name(names...), kFunction, kThreads); };
  static PerDevice<std::remove_pointer_t<decltype(make())>> kernels;
  auto& kernel = kernels.here(make);
  return kernel.exists() ? &kernel : nullptr;
}

}  // namespace sffn::cuda
