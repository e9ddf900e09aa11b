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
  factor.a_batch[0] = f.run();
  factor.a_segment = f.in() / f.in_blocks;
  factor.b = f.v;
  factor.b_batch[0] = int64_t{f.q} * f.p;
  factor.b_segment = f.run();
  factor.k = f.run();
  factor.segments = f.in_blocks;
  product.batches[0] = f.K;
  if (f.q % f.L == 0) {
    // Rows l, l + L, ... of a block of v become neighbouring columns of block l.
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

// h is after the inner activation; for a dense layer it is x.
Product second_product(const Layer& f, const void* x, const void* h, void* pre, void* y, int n, Activation activation,
                       const void* residual) {
  const int halves = activation == Activation::swiglu ? 2 : 1;
  Product product;
  product.m = n;
  product.n = f.s;
  product.c = y;
  product.ldc = f.out() / halves;
  product.added = residual;
  product.pre = pre;
  product.pre_ld = f.out();
  product.activation = activation;
  product.bias = f.bias;
  product.bias_column = f.L;
  product.nfactors = 2;
  product.factors[0] = {.a = h, .b = f.u, .lda = f.hidden(), .ldb = f.r, .k = f.r, .scale = f.factor_scale};
  // Row i of block l of the result is row i·L + l of the guide.
  product.factors[1] = {
      .a = x, .b = f.guide, .lda = f.in(), .ldb = int64_t{f.L} * f.in(), .k = f.in(), .scale = f.guide_scale};
  // Interleaved results are inner batches, which a block of threads can compute in turn.
  const bool interleaved = !f.blocked_out && f.L > 1;
  const int by_block = interleaved ? 1 : 0;
  product.batches[by_block] = f.L;
  product.c_column = interleaved ? f.L : 1;
  product.c_batch[by_block] = interleaved ? 1 : f.s / halves;
  product.pre_batch[by_block] = interleaved ? 1 : f.s;
  product.bias_batch[by_block] = 1;
  product.factors[0].a_batch[by_block] = f.r;
  product.factors[0].b_batch[by_block] = int64_t{f.s} * f.r;
  product.factors[1].b_batch[by_block] = f.in();
  return product;
}

}  // namespace

void layer_forward(const Layer& f, const void* x, void* h, void* pre, void* y, int n, Activation activation,
                   const void* residual) {
  if (activation == Activation::swiglu && f.s % 2 != 0) {
    // A gate and what it gates are in different blocks.
    const Workspace<char> own_pre = elements(pre ? 0 : int64_t{n} * f.out(), f.dtype);
    void* kept = pre ? pre : own_pre.get();
    layer_forward(f, x, h, nullptr, kept, n, Activation::none, nullptr);
    return swiglu(kept, y, residual, n, f.out(), f.dtype);
  }
  Product second = second_product(f, x, f.v ? h : x, pre, y, n, activation, residual);
  if (!f.v || !f.uses_factors()) return launch_gemm(second, f.dtype);
  Product first = first_product(f, x, h, n);
  const bool activated = f.inner != Activation::none;
  if (!activated && launch_chain(first, second, f.dtype)) return;
  Workspace<char> own_h;
  if (!h || activated) {
    own_h = elements(int64_t{n} * f.hidden(), f.dtype);
    first.c = own_h.get();
    second.factors[0].a = own_h.get();
  }
  if (activated) {
    first.activation = f.inner;
    first.pre = h;
    first.pre_ld = first.ldc;
    std::copy_n(first.c_batch, 2, first.pre_batch);
  }
  launch_gemm(first, f.dtype);
  launch_gemm(second, f.dtype);
}

namespace {

// to [n, hidden] = g · u in the order of the first factor's rows, so that its blocks are contiguous. If u is one block,
// the result passes through the inner activation on its way, if there is one.
Product second_factor_product(const Layer& f, const void* g, const void* h, void* to, int n) {
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
  if (f.L == 1 && f.inner != Activation::none) {
    product.activation = f.inner;
    product.through.pre = h;
  }
  return product;
}

// The same for blocks of the first factor: each block of the second one computes every L-th column of one of them.
Product by_first_blocks(const Layer& f, Product product) {
  const int each = f.q / f.L;
  product.n = each;
  product.batches[0] = f.L;
  product.batches[1] = f.K;
  Factor& factor = product.factors[0];
  factor.a_batch[0] = factor.a_batch[1];
  factor.a_batch[1] = 0;
  factor.b_batch[0] = factor.b_batch[1];
  factor.b_batch[1] = each;
  product.c_batch[0] = 1;
  product.c_batch[1] = f.q;
  return product;
}

UnaryOp unary_of(Activation inner) {
  switch (inner) {
    case Activation::gelu:
      return UnaryOp::gelu;
    case Activation::silu:
      return UnaryOp::silu;
    case Activation::relu:
      return UnaryOp::relu;
    case Activation::none:
    case Activation::swiglu:
      break;
  }
  throw Error("ERR_ARGUMENT", "no activation between factors");
}

View hidden_view(const Layer& f, const void* data, int n) {
  return {const_cast<void*>(data), int64_t{n} * f.hidden(), f.dtype, here()};
}

// What the second factor read.
void apply_inner_activation(const Layer& f, const void* h, void* to, int n) {
  unary(hidden_view(f, h, n), hidden_view(f, to, n), unary_of(f.inner), 0);
}

// dh, in the order of the first factor's rows, back through the inner activation of several blocks; h is brought into
// that order.
void through_inner_activation(const Layer& f, const void* h, void* dh, int n) {
  const int32_t dims[] = {n, f.r, f.L}, strides[] = {f.hidden(), 1, f.r};
  const Workspace<char> space = elements(int64_t{n} * f.hidden(), f.dtype);
  const View ordered = hidden_view(f, space.get(), n), gradient = hidden_view(f, dh, n);
  strided_copy(hidden_view(f, h, n), ordered, 0, dims, strides);
  unary_backward(gradient, ordered, ordered, gradient, unary_of(f.inner), 0);
}

// dx = (dh or g, times the factor next to x) + g · guide, and back through the activation that made x.
Product input_product(const Layer& f, const void* g, const void* dh, const LayerGradients& to, int n) {
  Product product;
  product.m = n;
  product.n = f.run();
  product.batches[0] = f.K;
  product.batches[1] = f.in_blocks;
  product.b_k_contiguous = false;
  product.nfactors = 2;
  // Without a first factor, K = L = 1, and u takes its place.
  product.factors[0] = f.v ? Factor{.a = dh,
                                    .b = f.v,
                                    .lda = f.hidden(),
                                    .ldb = f.p,
                                    .a_batch = {f.q, 0},
                                    .b_batch = {int64_t{f.q} * f.p, f.run()},
                                    .k = f.q,
                                    .scale = f.uses_factors() ? 1.f : 0.f}
                           : Factor{.a = g,
                                    .b = f.u,
                                    .lda = f.out(),
                                    .ldb = f.r,
                                    .b_batch = {0, f.run()},
                                    .k = f.s,
                                    .scale = f.factor_scale};
  const int64_t block = f.in() / f.in_blocks;
  product.factors[1] = {.a = g,
                        .b = f.guide,
                        .lda = f.out(),
                        .ldb = int64_t{f.L} * f.in(),
                        .b_batch = {f.run(), block},
                        .a_segment = f.s,
                        .b_segment = f.in(),
                        .k = f.s,
                        .segments = f.L,
                        .scale = f.guide_scale};
  const bool swiglu = to.activation == Activation::swiglu;
  const int columns = swiglu ? 2 : 1;
  product.c = to.dx;
  product.ldc = columns * f.in();
  product.c_batch[0] = f.run();
  product.c_batch[1] = columns * block;
  product.activation = to.activation;
  if (to.activation != Activation::none)
    product.through = {
        .pre = to.pre, .activated = to.activated, .ld = f.in(), .batch = {f.run(), block}, .up = swiglu ? block : 0};
  return product;
}

// to[b] = scale · aᵀ b for the columns of each block of a [n, blocks·rows] and for b: the columns of one of its blocks,
// or all. `runs`: the columns of b are this many runs, b_run apart. dbias, unless it is null, receives the sums of the
// columns of a, element i of block b at i·blocks + b.
struct WeightGradient {
  const void *a, *b;
  int64_t lda, ldb, b_block, b_run;
  int blocks, rows, columns, runs;
  void* to;
  int64_t ldc, c_block;
  float scale;
  void* dbias = nullptr;
};

void weight_gradient(const WeightGradient& w, int n, DType dtype) {
  Product product;
  product.m = w.rows;
  product.n = w.columns / w.runs;
  product.batches[0] = w.blocks;
  product.batches[1] = w.runs;
  product.a_k_contiguous = product.b_k_contiguous = false;
  product.factors[0] = {.a = w.a,
                        .b = w.b,
                        .lda = w.lda,
                        .ldb = w.ldb,
                        .a_batch = {w.rows, 0},
                        .b_batch = {w.b_block, w.b_run},
                        .k = n,
                        .scale = w.scale};
  product.c = w.to;
  product.ldc = w.ldc;
  product.c_batch[0] = w.c_block;
  product.c_batch[1] = w.columns / w.runs;
  product.row_sums = {.to = w.dbias, .step = w.blocks, .batch = 1};
  launch_gemm(product, dtype);
}

}  // namespace

void layer_backward(const Layer& f, const void* g, const void* x, const void* h, const LayerGradients& to, int n) {
  Workspace<char> own_dh, own_hidden;
  const bool activated = f.inner != Activation::none;
  const bool known_dh = to.dh && !to.dx;
  const bool needs_dh = f.v && f.uses_factors() && (to.dx || to.dv) && !known_dh;
  if (needs_dh && !to.dh) own_dh = elements(int64_t{n} * f.hidden(), f.dtype);
  void* dh = to.dh ? to.dh : own_dh.get();
  Product first = second_factor_product(f, g, h, to.dv || to.dh ? dh : nullptr, n);
  const Product second = input_product(f, g, dh, to, n);
  const bool can_chain = needs_dh && to.dx && f.q % f.L == 0 && !activated;
  if (!can_chain || !launch_chain(by_first_blocks(f, first), second, f.dtype)) {
    first.c = dh;
    if (needs_dh) launch_gemm(first, f.dtype);
    if (needs_dh && activated && f.L > 1) through_inner_activation(f, h, dh, n);
    if (to.dx) launch_gemm(second, f.dtype);
  }
  const int64_t run_step = f.in() / f.in_blocks;
  // The first product that reads all of g computes the bias gradient along the way, if there is one.
  const bool with_du = to.du && f.uses_factors() && f.r > 0;
  const bool with_dguide = !with_du && to.dguide && f.guide_scale != 0 && f.in() > 0;
  if (to.dbias && !with_du && !with_dguide) bias_gradient(f, g, to.dbias, n);
  if (to.du) {
    const void* hidden = f.v ? h : x;
    if (f.v && f.uses_factors() && (!h || activated)) {
      own_hidden = elements(int64_t{n} * f.hidden(), f.dtype);
      if (activated)
        apply_inner_activation(f, h, own_hidden.get(), n);
      else
        launch_gemm(first_product(f, x, own_hidden.get(), n), f.dtype);
      hidden = own_hidden.get();
    }
    weight_gradient({.a = g,
                     .b = hidden,
                     .lda = f.out(),
                     .ldb = f.hidden(),
                     .b_block = f.r,
                     .b_run = run_step,
                     .blocks = f.L,
                     .rows = f.s,
                     .columns = f.r,
                     .runs = f.v ? 1 : f.in_blocks,
                     .to = to.du,
                     .ldc = f.r,
                     .c_block = int64_t{f.s} * f.r,
                     .scale = f.factor_scale,
                     .dbias = with_du ? to.dbias : nullptr},
                    n, f.dtype);
  }
  if (f.v && to.dv)
    weight_gradient({.a = dh,
                     .b = x,
                     .lda = f.hidden(),
                     .ldb = f.in(),
                     .b_block = f.run(),
                     .b_run = run_step,
                     .blocks = f.K,
                     .rows = f.q,
                     .columns = f.p,
                     .runs = f.in_blocks,
                     .to = to.dv,
                     .ldc = f.p,
                     .c_block = int64_t{f.q} * f.p,
                     .scale = f.uses_factors() ? 1.f : 0.f},
                    n, f.dtype);
  if (to.dguide)
    weight_gradient({.a = g,
                     .b = x,
                     .lda = f.out(),
                     .ldb = f.in(),
                     .b_block = 0,
                     .b_run = run_step,
                     .blocks = f.L,
                     .rows = f.s,
                     .columns = f.in(),
                     .runs = f.in_blocks,
                     .to = to.dguide,
                     .ldc = int64_t{f.L} * f.in(),
                     .c_block = f.in(),
                     .scale = f.guide_scale,
                     .dbias = with_dguide ? to.dbias : nullptr},
                    n, f.dtype);
}

void linear_forward(View x, View v, View u, View guide, View bias, View residual, View h, View pre, View y, int64_t n,
                    Ints dims, double factor_scale, double guide_scale, Activation activation) {
  if (n == 0) return;
  const Layer layer(v, u, guide, bias, dims, factor_scale, guide_scale);
  layer_forward(layer, x.data, h.data, pre.data, y.data, dimension(n), activation, residual.data);
}

void linear_backward(View dy, View x, View v, View u, View guide, View h, View pre, View dx, View dv, View du,
                     View dguide, View dbias, int64_t n, Ints dims, double factor_scale, double guide_scale,
                     Activation activation) {
  const Layer layer(v, u, guide, View{}, dims, factor_scale, guide_scale);
  const Workspace<char> space = elements(n * layer.out(), layer.dtype);
  const int rows = dimension(n);
  const void* g = prologue(layer, dy.data, pre.data, space.get(), nullptr, rows, activation);
  layer_backward(layer, g, x.data, h.data, {dx.data, dv.data, du.data, dguide.data, dbias.data}, rows);
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
