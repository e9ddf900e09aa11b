// The dense matrix of a layer's factors. For each pair of blocks it is the product of the rows of v and the columns of
// u that meet in the shuffle.
void linear_merge(View v, View u, View weight, Ints dims) {
  const Layer f(v, u, View{}, View{}, dims, 1, 0);
  for (int64_t k = 0; k < f.K; ++k)
    for (int64_t l = 0; l < f.L; ++l) {
      // Hidden features k·q + i, i = start, start + L, ...: columns first, first + 1, ... of u[l].
      const int64_t start = ((l - k * f.q) % f.L + f.L) % f.L;
      const int64_t count = start < f.q ? ceil_div(f.q - start, f.L) : 0, first = (k * f.q + start) / f.L;
      gemm({.m = f.s,
            .n = f.p,
            .k = count,
            .a = f.u + (l * f.s * f.r + first),
            .a_row = f.r,
            .b = f.v + (k * f.q + start) * f.p,
            .b_row = f.L * f.p,
            .c = Target(weight) + (l * f.in() + k * f.p),
            .c_row = f.L * f.in()});
    }
}
