// A linear layer backward: one pass over dy for everything elementwise, then the products.

// Elementwise work of a column stripe: dpre = dy · activation'(pre), the bias gradient (sums over the rows), and the
// copy with each block's columns together. Stripes are tasks, so no sum depends on the number of threads.
struct Prologue {
  const float* dy;
  const float* pre;
  float* dpre;    // [n, out], or null when dy itself serves
  float* blocks;  // [n, L·s] with block l contiguous, or null when L = 1
  float* dbias;   // [out] or null
  float* hidden;  // activation(pre), or null
  int64_t n, out, L, activation;

  void run() const {
    if (!dpre && !blocks && !dbias && !hidden) return;
    const int64_t per_block = out / L, unit = std::max<int64_t>(kLanes, 128 / L);
    const int64_t width = activation == kSwiglu ? out / 2 : out;
    if (blocks && activation == kSwiglu) {  // a stripe has both halves, whose blocks differ
      stripes(width, 128);
      parallel_for(ceil_div(n, 16), [&](int64_t task) {
        for (int64_t t = task * 16; t < std::min(n, task * 16 + 16); ++t)
          deinterleave_row(dpre + t * out, L, per_block, blocks + t * out, per_block);
      });
      return;
    }
    stripes(width, blocks ? unit * L : 128);
  }

 private:
  void stripes(int64_t width, int64_t stripe) const {
    parallel_for(ceil_div(width, stripe), [&](int64_t task) {
      const int64_t begin = task * stripe, count = std::min(stripe, width - begin);
      const int64_t halves = activation == kSwiglu ? 2 : 1;
      // Sums of 32 rows are added to the totals: a sum over thousands of rows stays accurate.
      Scratch<float> sums(dbias ? 2 * halves * count : 0);
      float* part = sums.get();
      float* total = part + halves * count;
      if (dbias) std::fill(part, total + halves * count, 0.f);
      for (int64_t t = 0; t < n; ++t) {
        row(t, begin, count, part, part + count);
        if (dbias && (t % 32 == 31 || t == n - 1))
          for (int64_t j = 0; j < halves * count; ++j) total[j] += part[j], part[j] = 0;
      }
      if (dbias)
        for (int64_t half = 0; half < halves; ++half)
          std::copy(total + half * count, total + (half + 1) * count, dbias + half * width + begin);
    });
  }

  void row(int64_t t, int64_t begin, int64_t count, float* sum, float* second_sum) const {
    if (activation == kSwiglu) return swiglu_row(t, begin, count, sum, second_sum);
    const float* from = dy + t * out + begin;
    if (activation != kNoActivation) {
      const float* x = pre + t * out + begin;
      float* to = dpre + t * out + begin;
      float* act = hidden ? hidden + t * out + begin : nullptr;
      for_vectors(0, count, [&](int64_t j, auto part) {
        Vec value;
        store(to + j, load(from + j, part) * activation_derivative(load(x + j, part), activation, value), part);
        if (act) store(act + j, value, part);
      });
      from = to;
    }
    if (dbias) add_row(from, sum, count, true);
    if (blocks && !(activation == kSwiglu)) deinterleave_row(from, L, count / L, blocks + t * out + begin / L, out / L);
  }

  void swiglu_row(int64_t t, int64_t begin, int64_t count, float* sum, float* second_sum) const {
    const int64_t half = out / 2;
    const float* from = dy + t * half + begin;
    const float* a = pre + t * out + begin;
    float* to = dpre + t * out + begin;
    float* act = hidden ? hidden + t * half + begin : nullptr;
    for_vectors(0, count, [&](int64_t j, auto part) {
      Vec value;
      const Vec g = load(from + j, part), b = load(a + half + j, part);
      const Vec slope = activation_derivative(load(a + j, part), kSilu, value);
      store(to + j, g * b * slope, part);
      store(to + half + j, g * value, part);
      if (act) store(act + j, value * b, part);
    });
    if (dbias) {
      add_row(to, sum, count, true);
      add_row(to + half, second_sum, count, true);
    }
  }
};

struct LayerGradients {
  float *dx, *dv, *du, *dguide;  // null: not wanted
};

inline void clear(float* to, int64_t count) {
  if (to) std::fill(to, to + count, 0.f);
}

// Given g = dL/dpre [n, out] (`blocks`: the same with each block's columns together; g itself when L = 1).
inline void layer_backward(const Layer& f, const float* g, const float* blocks, const float* x, const float* h,
                           const LayerGradients& to, int64_t n) {
  const bool guided = f.guide_scale != 0;
  if (!f.uses_factors()) {
    clear(to.dv, f.K * f.q * f.p);
    clear(to.du, f.L * f.s * f.r);
  } else {
    Scratch<float> own_h(f.v && !h && to.du ? n * f.hidden() : 0);
    if (f.v && !h && to.du) {
      gemm(first_stage(f, x, own_h.get(), n));
      h = own_h.get();
    }
    if (to.du) gemm(weight_gradient(f.L, f.s, f.r, n, blocks, f.v ? h : x, to.du, f.factor_scale));
    const bool needs_dh = f.v && (to.dx || to.dv);
    Scratch<float> own_dh(needs_dh ? n * f.hidden() : 0);
    if (needs_dh || to.dx) {
      Product dh{.batch = f.L, .m = n, .n = f.r, .k = f.s};
      dh.a = blocks, dh.a_row = f.out(), dh.a_batch = f.s;
      dh.b = f.u, dh.b_row = f.r, dh.b_batch = f.s * f.r;
      dh.c = f.v ? own_dh.get() : to.dx, dh.c_row = f.L * f.r, dh.c_batch = f.r;
      dh.scale = f.factor_scale;
      dh.interleave = f.L > 1;
      gemm(dh);
    }
    if (f.v && to.dx) {
      Product dx{.batch = f.K, .m = n, .n = f.p, .k = f.q};
      dx.a = own_dh.get(), dx.a_row = f.hidden(), dx.a_batch = f.q;
      dx.b = f.v, dx.b_row = f.p, dx.b_batch = f.q * f.p;
      dx.c = to.dx, dx.c_row = f.in(), dx.c_batch = f.p;
      gemm(dx);
    }
    if (f.v && to.dv) gemm(weight_gradient(f.K, f.q, f.p, n, own_dh.get(), x, to.dv, 1));
  }
  if (!guided) return clear(to.dguide, f.out() * f.in());
  if (to.dguide) gemm(weight_gradient(1, f.out(), f.in(), n, g, x, to.dguide, f.guide_scale));
  if (to.dx) {
    Product dx{.m = n, .n = f.in(), .k = f.out()};
    dx.a = g, dx.a_row = f.out();
    dx.b = f.guide, dx.b_row = f.in();
    dx.c = to.dx, dx.c_row = f.in();
    dx.scale = f.guide_scale;
    dx.accumulate = f.uses_factors();
    gemm(dx);
  }
}

// The prologue, then the products. `hidden` (null: not wanted) receives activation(pre).
inline void layer_backward_from_dy(const Layer& f, const float* dy, const float* x, const float* h, const float* pre,
                                   float* hidden, float* dbias, const LayerGradients& to, int64_t n,
                                   int64_t activation) {
  const bool products = to.dx || to.dv || to.du || to.dguide;
  Scratch<float> dpre(activation != kNoActivation ? n * f.out() : 0);
  Scratch<float> blocks(f.L > 1 && products ? n * f.out() : 0);
  const Prologue prologue{dy,
                          pre,
                          activation != kNoActivation ? dpre.get() : nullptr,
                          f.L > 1 && products ? blocks.get() : nullptr,
                          dbias,
                          hidden,
                          n,
                          f.out(),
                          f.L,
                          activation};
  prologue.run();
  const float* g = activation != kNoActivation ? dpre.get() : dy;
  if (products) layer_backward(f, g, f.L > 1 ? blocks.get() : g, x, h, to, n);
}

inline void linear_backward(View dy, View x, View v, View u, View guide, View h, View pre, View dx, View dv, View du,
                            View dguide, View dbias, int64_t n, Ints dims, double factor_scale, double guide_scale,
                            int64_t activation) {
  const Layer f(v, u, guide, View{}, dims, factor_scale, guide_scale);
  layer_backward_from_dy(f, dy.f32(), x.f32(), h.f32(), pre.f32(), nullptr, dbias.f32(),
                         {dx.f32(), dv.f32(), du.f32(), dguide.f32()}, n, activation);
}
