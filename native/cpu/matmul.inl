// Batched products of plain matrices (kernels.def says how they lie in memory).
void matmul(View a, View b, View c, int64_t batch, int64_t m, int64_t n, int64_t k, int64_t transpose_a,
            int64_t transpose_b, Ints strides, int64_t accumulate) {
  Product p{.batch = batch, .m = m, .n = n, .k = k};
  p.a = a;
  p.a_row = transpose_a ? 1 : k;
  p.a_col = transpose_a ? m : 1;
  p.a_batch = strides[0];
  p.b = b;
  p.b_row = transpose_b ? 1 : n;
  p.b_col = transpose_b ? k : 1;
  p.b_batch = strides[1];
  p.c = c;
  p.c_row = n;
  p.c_batch = m * n;
  p.accumulate = accumulate != 0;
  gemm(p);
}
