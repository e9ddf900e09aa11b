// Products of general matrices.
#include "gemm/product.cuh"

namespace sffn::cuda {

void matmul(View a, View b, View c, int64_t batch, int64_t m, int64_t n, int64_t k, int64_t transpose_a,
            int64_t transpose_b, Ints strides, int64_t accumulate) {
  Product product;
  product.m = dimension(m);
  product.n = dimension(n);
  product.batches[1] = dimension(batch);
  product.a_k_contiguous = transpose_a == 0;
  product.b_k_contiguous = transpose_b != 0;
  product.factors[0] = {.a = a.data,
                        .b = b.data,
                        .lda = transpose_a ? m : k,
                        .ldb = transpose_b ? k : n,
                        .a_batch = {0, strides[0]},
                        .b_batch = {0, strides[1]},
                        .k = dimension(k)};
  product.c = c.data;
  product.ldc = n;
  product.c_batch[1] = m * n;
  if (accumulate) product.added = c.data;
  launch_gemm(product, c.dtype);
}

}  // namespace sffn::cuda
