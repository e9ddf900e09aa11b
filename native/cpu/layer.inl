// The family of linear layers as the kernels see it (kernels.def has the formulas), and the products it consists of.

struct Layer {
  Source v;  // null: dense
  Source u, guide, bias;
  int64_t K = 1, q = 0, p = 0, L = 1, s = 0, r = 0;
  Activation inner = Activation::none;  // activation between the factors
  float factor_scale = 1, guide_scale = 0;

  Layer(View v, View u, View guide, View bias, Ints dims, double factor_scale, double guide_scale)
      : v(v),
        u(u),
        guide(guide),
        bias(bias),
        K(dims[0]),
        q(dims[1]),
        p(dims[2]),
        L(dims[3]),
        s(dims[4]),
        r(dims[5]),
        inner(static_cast<Activation>(dims[6])),
        factor_scale(static_cast<float>(factor_scale)),
        guide_scale(guide ? static_cast<float>(guide_scale) : 0.f) {}

  int64_t in() const { return v ? K * p : r; }
  int64_t hidden() const { return v ? K * q : 0; }
  int64_t out() const { return L * s; }
  bool uses_factors() const { return factor_scale != 0 || guide_scale == 0; }
};

// h' = blockdiag(v) x, in the order in which the second factor reads it.
inline Product first_stage(const Layer& f, Source x, Target h, int64_t n) {
  return {.batch = f.K,
          .m = n,
          .n = f.q,
          .k = f.p,
          .a = x,
          .a_row = f.in(),
          .a_batch = f.p,
          .b = f.v,
          .b_row = 1,
          .b_col = f.p,
          .b_batch = f.q * f.p,
          .c = h,
          .c_row = f.hidden(),
          .c_batch = f.q,
          .shuffle = f.L};
}

// y = scale · blockdiag(u) h', interleaved. Here h' is after the inner activation; for a dense layer it is x.
inline Product second_stage(const Layer& f, Source h, Target y, int64_t n) {
  return {.batch = f.L,
          .m = n,
          .n = f.s,
          .k = f.r,
          .a = h,
          .a_row = f.L * f.r,
          .a_batch = f.r,
          .b = f.u,
          .b_row = 1,
          .b_col = f.r,
          .b_batch = f.s * f.r,
          .c = y,
          .c_row = f.out(),
          .c_batch = f.s,
          .scale = f.factor_scale,
          .interleave = f.L > 1};
}

inline Product guide_product(const Layer& f, Source x, Target y, int64_t n) {
  return {.m = n,
          .n = f.out(),
          .k = f.in(),
          .a = x,
          .a_row = f.in(),
          .b = f.guide,
          .b_row = 1,
          .b_col = f.in(),
          .c = y,
          .c_row = f.out(),
          .scale = f.guide_scale};
}

// c[rows of g, columns of x] = scale · gᵀ x for each block: the gradient of a factor.
inline Product weight_gradient(int64_t blocks, int64_t rows, int64_t columns, int64_t n, Source g, Source x, Target c,
                               float scale) {
  return {.batch = blocks,
          .m = rows,
          .n = columns,
          .k = n,
          .a = g,
          .a_row = 1,
          .a_col = blocks * rows,
          .a_batch = rows,
          .b = x,
          .b_row = blocks * columns,
          .b_batch = columns,
          .c = c,
          .c_row = columns,
          .c_batch = rows * columns,
          .scale = scale};
}
