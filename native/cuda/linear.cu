// The linear layers, forward and backward: each is a handful of products, with the shuffle in their strides.
#include "layer.cuh"

namespace sffn::cuda {

namespace {

Product first_product(const Layer& f, const void* x, void* h, int n) {
  Product product;
  product.m = n;
  product.c = h;
  product.ldc = f.hidden();
  Factor& factor = product.factors[0];
  factor.a = x;
  factor.lda = f.in();
  factor.a_batch[0] = f.p;
  factor.b = f.v;
  factor.b_batch[0] = int64_t{f.q} * f.p;
  factor.k = f.p;
  product.batches[0] = f.K;
  if (f.q % f.L == 0) {
    // Rows l, l + L, ... of a block of v make neighbouring columns of block l.
    const int each = f.q / f.L;
    product.batches[1] = f.L;
    product.n = each;
    factor.ldb = int64_t{f.L} * f.p;
    factor.b_batch[1] = f.p;
    product.c_batch[0] = each;
    product.c_batch[1] = f.r;
  } else {
    product.n = f.q;
    factor.ldb = f.p;
    product.shuffle_blocks = f.L;
    product.shuffle_rank = f.r;
  }
  return product;
}

// h is x for a dense layer.
Product second_product(const Layer& f, const void* x, const void* h, void* pre, void* y, int n, Activation activation) {
  Product product;
  product.m = n;
  product.n = f.s;
  product.batches[1] = f.L;
  product.c = y;
  product.ldc = f.out();
  product.c_column = f.L;
  product.c_batch[1] = 1;
  product.pre = pre;
  product.activation = activation;
  product.bias = f.bias;
  product.bias_batch[1] = 1;
  product.nfactors = 2;
  product.factors[0] = {.a = h,
                        .b = f.u,
                        .lda = f.hidden(),
                        .ldb = f.r,
                        .a_batch = {0, f.r},
                        .b_batch = {0, int64_t{f.s} * f.r},
                        .k = f.r,
                        .scale = f.factor_scale};
  // Row i of block l of the result is row i·L + l of the guide.
  product.factors[1] = {.a = x,
                        .b = f.guide,
                        .lda = f.in(),
                        .ldb = int64_t{f.L} * f.in(),
                        .b_batch = {0, f.in()},
                        .k = f.in(),
                        .scale = f.guide_scale};
  return product;
}

// y = activation(factors + guide + bias) and, where it is wanted, the value before the activation, which is not swiglu.
void stages(const Layer& f, const void* x, void* h, void* pre, void* y, int n, Activation activation) {
  if (!f.v || !f.uses_factors()) return launch_gemm(second_product(f, x, f.v ? h : x, pre, y, n, activation), f.dtype);
  Product first = first_product(f, x, h, n), second = second_product(f, x, h, pre, y, n, activation);
  if (launch_chain(first, second, f.dtype)) return;
  Workspace<char> own_h;
  if (!h) {
    own_h = elements(int64_t{n} * f.hidden(), f.dtype);
    first.c = own_h.get();
    second.factors[0].a = own_h.get();
  }
  launch_gemm(first, f.dtype);
  launch_gemm(second, f.dtype);
}

}  // namespace

void layer_forward(const Layer& f, const void* x, void* h, void* pre, void* y, int n, Activation activation) {
  Workspace<char> own_pre;
  if (activation == Activation::swiglu) {
    if (!pre) {
      own_pre = elements(int64_t{n} * f.out(), f.dtype);
      pre = own_pre.get();
    }
    stages(f, x, h, nullptr, pre, n, Activation::none);
    return swiglu(pre, y, n, f.out(), f.dtype);
  }
  stages(f, x, h, pre, y, n, activation);
}

namespace {

// to [n, hidden] = g · u in the order of the first factor's rows, so that its blocks are contiguous.
Product second_factor_product(const Layer& f, const void* g, void* to, int n) {
  Product product;
  product.m = n;
  product.n = f.r;
  product.batches[1] = f.L;
  product.b_k_contiguous = false;
  product.factors[0] = {.a = g,
                        .b = f.u,
                        .lda = f.out(),
                        .ldb = f.r,
                        .a_batch = {0, f.s},
                        .b_batch = {0, int64_t{f.s} * f.r},
                        .k = f.s,
                        .scale = f.factor_scale};
  product.c = to;
  product.ldc = f.hidden();
  product.c_column = f.L;
  product.c_batch[1] = 1;
  return product;
}

// dx = (dh or g, by the factor nearest to x) + g · guide.
Product input_product(const Layer& f, const void* g, const void* dh, void* dx, int n) {
  Product product;
  product.m = n;
  product.n = f.p;
  product.batches[0] = f.K;
  product.b_k_contiguous = false;
  product.nfactors = 2;
  // Without a first factor, K = L = 1, and u takes its place.
  product.factors[0] = f.v ? Factor{.a = dh,
                                    .b = f.v,
                                    .lda = f.hidden(),
                                    .ldb = f.p,
                                    .a_batch = {f.q, 0},
                                    .b_batch = {int64_t{f.q} * f.p, 0},
                                    .k = f.q,
                                    .scale = f.uses_factors() ? 1.f : 0.f}
                           : Factor{.a = g, .b = f.u, .lda = f.out(), .ldb = f.r, .k = f.s, .scale = f.factor_scale};
  product.factors[1] = {.a = g,
                        .b = f.guide,
                        .lda = f.out(),
                        .ldb = int64_t{f.L} * f.in(),
                        .b_batch = {f.p, 0},
                        .a_segment = f.s,
                        .b_segment = f.in(),
                        .k = f.s,
                        .segments = f.L,
                        .scale = f.guide_scale};
  product.c = dx;
  product.ldc = f.in();
  product.c_batch[0] = f.p;
  return product;
}

// to[b] = scale · aᵀ c for the columns of each of `batches` blocks of a [n, batches·rows] and c [n, ...].
struct WeightGradient {
  const void *a, *b;
  int64_t lda, ldb, a_batch, b_batch;
  int batches, rows, columns;
  void* to;
  int64_t ldc, c_batch;
  float scale;
};

void weight_gradient(const WeightGradient& w, int n, DType dtype) {
  Product product;
  product.m = w.rows;
  product.n = w.columns;
  product.batches[1] = w.batches;
  product.a_k_contiguous = product.b_k_contiguous = false;
  product.factors[0] = {.a = w.a,
                        .b = w.b,
                        .lda = w.lda,
                        .ldb = w.ldb,
                        .a_batch = {0, w.a_batch},
                        .b_batch = {0, w.b_batch},
                        .k = n,
                        .scale = w.scale};
  product.c = w.to;
  product.ldc = w.ldc;
  product.c_batch[1] = w.c_batch;
  launch_gemm(product, dtype);
}

}  // namespace

void layer_backward(const Layer& f, const void* g, const void* x, const void* h, const LayerGradients& to, int n) {
  Workspace<char> own_dh, own_h;
  const bool known_dh = to.dh && !to.dx;
  const bool needs_dh = f.v && f.uses_factors() && (to.dx || to.dv) && !known_dh;
  if (needs_dh && !to.dh) own_dh = elements(int64_t{n} * f.hidden(), f.dtype);
  void* dh = to.dh ? to.dh : own_dh.get();
  Product first = second_factor_product(f, g, to.dv || to.dh ? dh : nullptr, n);
  const Product second = input_product(f, g, dh, to.dx, n);
  if (!needs_dh || !to.dx || !launch_chain(first, second, f.dtype)) {
    first.c = dh;
    if (needs_dh) launch_gemm(first, f.dtype);
    if (to.dx) launch_gemm(second, f.dtype);
  }
  if (to.du) {
    if (f.v && !h && f.uses_factors()) {
      own_h = elements(int64_t{n} * f.hidden(), f.dtype);
      launch_gemm(first_product(f, x, own_h.get(), n), f.dtype);
      h = own_h.get();
    }
    weight_gradient({.a = g,
                     .b = f.v ? h : x,
                     .lda = f.out(),
                     .ldb = f.hidden(),
                     .a_batch = f.s,
                     .b_batch = f.r,
                     .batches = f.L,
                     .rows = f.s,
                     .columns = f.r,
                     .to = to.du,
                     .ldc = f.r,
                     .c_batch = int64_t{f.s} * f.r,
                     .scale = f.factor_scale},
                    n, f.dtype);
  }
  if (f.v && to.dv)
    weight_gradient({.a = dh,
                     .b = x,
                     .lda = f.hidden(),
                     .ldb = f.in(),
                     .a_batch = f.q,
                     .b_batch = f.p,
                     .batches = f.K,
                     .rows = f.q,
                     .columns = f.p,
                     .to = to.dv,
                     .ldc = f.p,
                     .c_batch = int64_t{f.q} * f.p,
                     .scale = f.uses_factors() ? 1.f : 0.f},
                    n, f.dtype);
  if (to.dguide)
    weight_gradient({.a = g,
                     .b = x,
                     .lda = f.out(),
                     .ldb = f.in(),
                     .a_batch = f.s,
                     .b_batch = 0,
                     .batches = f.L,
                     .rows = f.s,
                     .columns = f.in(),
                     .to = to.dguide,
                     .ldc = int64_t{f.L} * f.in(),
                     .c_batch = f.in(),
                     .scale = f.guide_scale},
                    n, f.dtype);
}

void linear_forward(View x, View v, View u, View guide, View bias, View h, View pre, View y, int64_t n, Ints dims,
                    double factor_scale, double guide_scale, int64_t activation) {
  if (n == 0) return;
  const Layer layer(v, u, guide, bias, dims, factor_scale, guide_scale);
  layer_forward(layer, x.data, h.data, pre.data, y.data, static_cast<int>(n), static_cast<Activation>(activation));
}

void linear_backward(View dy, View x, View v, View u, View guide, View h, View pre, View dx, View dv, View du,
                     View dguide, View dbias, int64_t n, Ints dims, double factor_scale, double guide_scale,
                     int64_t activation) {
  const Layer layer(v, u, guide, View{}, dims, factor_scale, guide_scale);
  const Workspace<char> space = elements(n * layer.out(), layer.dtype);
  const int rows = static_cast<int>(n);
  const void* g =
      prologue(layer, dy.data, pre.data, space.get(), dbias.data, nullptr, rows, static_cast<Activation>(activation));
  layer_backward(layer, g, x.data, h.data, {dx.data, dv.data, du.data, dguide.data}, rows);
}

// Block (k, l) of the dense matrix: the columns of u[l] times the rows of v[k] that meet in the shuffle.
void linear_merge(View v, View u, View weight, Ints dims) {
  const Layer f(v, u, View{}, View{}, dims, 1, 0);
  for (int k = 0; k < f.K; ++k)
    for (int l = 0; l < f.L; ++l) {
      // Hidden features k·q + i, i = start, start + L, ...: columns first, first + 1, ... of u[l].
      const int start = ((l - k * f.q) % f.L + f.L) % f.L;
      const int count = start < f.q ? (f.q - start + f.L - 1) / f.L : 0, first = (k * f.q + start) / f.L;
      Product product;
      product.m = f.s;
      product.n = f.p;
      product.b_k_contiguous = false;
      product.factors[0] = {.a = at(f.u, int64_t{l} * f.s * f.r + first, f.dtype),
                            .b = at(f.v, (int64_t{k} * f.q + start) * f.p, f.dtype),
                            .lda = f.r,
                            .ldb = int64_t{f.L} * f.p,
                            .k = count};
      product.c = at(weight.data, int64_t{l} * f.in() + k * f.p, f.dtype);
      product.ldc = int64_t{f.L} * f.in();
      launch_gemm(product, f.dtype);
    }
}

}  // namespace sffn::cuda
