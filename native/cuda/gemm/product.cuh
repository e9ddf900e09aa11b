// The one matrix product of the CUDA backend, described by strides: every product of every layer is one of these.
//
//   C[z] = act(Σ_f scale_f · Σ_segments A_f · B_fᵀ + bias) + added, for batches z = (outer, inner)
//
// The sums over f and over segments use the same accumulators. So the guide of a layer, or a sum over blocks, adds no
// traffic for intermediate results.
#pragma once

#include "../activation.cuh"

namespace sffn::cuda {

// Element (i, k) of an operand is data[i·ld + k] where k is contiguous, else data[k·ld + i].
struct Factor {
  const void* a = nullptr;  // [m, k]
  const void* b = nullptr;  // [n, k]
  int64_t lda = 0, ldb = 0;
  int64_t a_batch[2] = {}, b_batch[2] = {};  // steps of the outer and the inner batch index
  int64_t a_segment = 0, b_segment = 0;
  int k = 0;
  int segments = 1;
  float scale = 1;
};

// Backward through an activation: a sum is the gradient with respect to act(pre), and C the gradient with respect to
// pre.
struct Through {
  const void* pre = nullptr;  // laid out as c, which is not interleaved; null: no backward through an activation
  void* activated = nullptr;  // where to keep act(pre), or null; element (i, j) is activated[i·ld + j]
  int64_t ld = 0;
  int64_t batch[2] = {};
  int64_t up = 0;  // for swiglu: from a gate's column, in c and in pre, to the column that it gates
};

// Sums over k of the rows of A, without the factor's scale, computed along with the products of one factor whose
// operands are not k-contiguous. All inner batches have the same A.
struct RowSums {
  void* to = nullptr;  // of row i of the outer batch o: to[o·batch + i·step]; null: no row sums
  int64_t step = 1, batch = 0;
  float* parts = nullptr;  // set by launch_gemm: [splits, outer batches, m]
};

constexpr int kGates = 16;

struct Product {
  Factor factors[2];
  int nfactors = 1;
  bool a_k_contiguous = true, b_k_contiguous = true;  // of all factors
  int m = 0, n = 0;
  int batches[2] = {1, 1};

  // Element (i, j) is c[i·ldc + j·c_column]. For swiglu j < n/2, from the sums of the columns j and n/2 + j.
  void* c = nullptr;
  int64_t ldc = 0;
  int64_t c_column = 1;
  int64_t c_batch[2] = {};
  // Where this is not 0, column j of the outer batch o goes to the place of hidden feature o·n + j: see `shuffled`.
  int shuffle_blocks = 0, shuffle_rank = 0;
  const void* added = nullptr;  // laid out as c, maybe c itself
  bool c_is_f32 = false;        // for operands of any type; then there is no bias, activation or pre

  const void* bias = nullptr;  // element j of a batch is bias[j·bias_column]
  int64_t bias_column = 1;
  int64_t bias_batch[2] = {};
  // Where to keep the values before the activation: all n columns, with the same step between columns as in c.
  void* pre = nullptr;
  int64_t pre_ld = 0;
  int64_t pre_batch[2] = {};
  Activation activation = Activation::none;
  Through through;  // backward through `activation`; then there is no bias, and nothing added
  RowSums row_sums;

  float* partial = nullptr;  // set by launch_gemm: [splits, batches, m, n] f32
  int splits = 1;
  int group = 1;  // set by launch_gemm: inner batches that a block of threads computes in turn: all or one
  bool vector_operands = false, vector_c = false;  // set by launch_gemm

  // Forward of swiglu: column j of the sums gates column half() + j, for j < half(), which is 0 for all other products.
  __host__ __device__ bool gated() const { return activation == Activation::swiglu && !through.pre; }
  __host__ __device__ int half() const { return gated() ? n / 2 : 0; }
  __host__ __device__ int results() const { return gated() ? n / 2 : n; }
  // The number of tile columns. Tiles have kGates gates, then the columns that they gate, and so on.
  __host__ __device__ int tile_columns() const { return gated() ? (half() + kGates - 1) / kGates * 2 * kGates : n; }
  // Whether every run of four columns in the parts of a split sum is whole.
  __host__ __device__ bool whole_parts() const { return n % 4 == 0 && half() % 4 == 0; }
};

// The product's column for column `at` of the tiles; a number beyond all columns if there is none.
__host__ __device__ inline int tile_column(int at, int half) {
  if (half == 0) return at;
  const int gate = at / (2 * kGates) * kGates + at % kGates;
  return gate < half ? gate + at / kGates % 2 * half : INT32_MAX;
}
// The tile column of a gate; the column that it gates is kGates further on.
__host__ __device__ inline int gate_column(int gate) { return gate / kGates * 2 * kGates + gate % kGates; }

// The place of hidden feature g in the order of the second factor, whose blocks each read `rank` features.
__host__ __device__ inline int64_t shuffled(int g, int blocks, int rank) {
  return static_cast<int64_t>(g % blocks) * rank + g / blocks;
}

// dtype: of all operands and of c. There may be zero rows, columns or terms.
void launch_gemm(Product product, DType dtype);

// Both products in one launch. The first one's C, which is the second one's only operand A, stays in shared memory; it
// is also stored unless first.c is null. Outer batch b of the second product reads block b of that C, which the batches
// (group, b) of the first product make. Does nothing and returns false where that is impossible or no faster.
bool launch_chain(const Product& first, Product second, DType dtype);

}  // namespace sffn::cuda
