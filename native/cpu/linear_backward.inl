// The products of a linear layer's backward. The input gradient and the weight gradients share the gradient of h.

inline void clear(float* to, int64_t count) {
  if (to) std::fill(to, to + count, 0.f);
}

class LayerBackward {
 public:
  // g = dL/dpre [n, out]. `blocks` is the same with each block's columns together; it is g itself when L = 1. h may be
  // null unless there is an inner activation: it is computed again where it is needed.
  LayerBackward(const Layer& layer, const float* g, const float* blocks, const float* h, int64_t n)
      : f_(layer), g_(g), blocks_(blocks), h_(h), n_(n) {}

  void input_gradient(float* dx) {
    if (f_.uses_factors()) {
      if (f_.v) {
        Product p{.batch = f_.K, .m = n_, .n = f_.p, .k = f_.q};
        p.a = hidden_gradient(), p.a_row = f_.hidden(), p.a_batch = f_.q;
        p.b = f_.v, p.b_row = f_.p, p.b_batch = f_.q * f_.p;
        p.c = dx, p.c_row = f_.in(), p.c_batch = f_.p;
        gemm(p);
      } else {
        through_second_factor(dx);
      }
    }
    if (f_.guide_scale == 0) return;
    Product p{.m = n_, .n = f_.in(), .k = f_.out()};
    p.a = g_, p.a_row = f_.out();
    p.b = f_.guide, p.b_row = f_.in();
    p.c = dx, p.c_row = f_.in();
    p.scale = f_.guide_scale;
    p.accumulate = f_.uses_factors();
    gemm(p);
  }

  // Each gradient may be null.
  void weight_gradients(const float* x, float* dv, float* du, float* dguide) {
    if (f_.uses_factors()) {
      if (du) {
        Scratch<float> own;
        gemm(weight_gradient(f_.L, f_.s, f_.r, n_, blocks_, f_.v ? hidden(x, own) : x, du, f_.factor_scale));
      }
      if (f_.v && dv) gemm(weight_gradient(f_.K, f_.q, f_.p, n_, hidden_gradient(), x, dv, 1));
    } else {
      clear(dv, f_.K * f_.q * f_.p);
      clear(du, f_.L * f_.s * f_.r);
    }
    if (f_.guide_scale == 0)
      clear(dguide, f_.out() * f_.in());
    else if (dguide)
      gemm(weight_gradient(1, f_.out(), f_.in(), n_, g_, x, dguide, f_.guide_scale));
  }

 private:
  // What the second factor reads: h if that is it, else a copy in `own`.
  const float* hidden(const float* x, Scratch<float>& own) const {
    const bool activated = f_.inner != Activation::none;
    if (h_ && !activated) return h_;
    own = Scratch<float>(n_ * f_.hidden());
    if (!activated) {
      gemm(first_stage(f_, x, own.get(), n_));
      return own.get();
    }
    for_ranges(n_ * f_.hidden(), kTaskElements,
               [&](int64_t begin, int64_t end) { activate_row(h_ + begin, own.get() + begin, end - begin, f_.inner); });
    return own.get();
  }

  // dh [n, K·q] in the order of the first factor's rows, so that its blocks are contiguous.
  const float* hidden_gradient() {
    if (!has_hidden_gradient_) {
      hidden_gradient_ = Scratch<float>(n_ * f_.hidden());
      through_second_factor(hidden_gradient_.get());
      if (f_.inner != Activation::none) through_inner_activation(hidden_gradient_.get());
      has_hidden_gradient_ = true;
    }
    return hidden_gradient_.get();
  }

  void through_second_factor(float* to) const {
    Product p{.batch = f_.L, .m = n_, .n = f_.r, .k = f_.s};
    p.a = blocks_, p.a_row = f_.out(), p.a_batch = f_.s;
    p.b = f_.u, p.b_row = f_.r, p.b_batch = f_.s * f_.r;
    p.c = to, p.c_row = f_.L * f_.r, p.c_batch = f_.r;
    p.scale = f_.factor_scale;
    p.interleave = f_.L > 1;
    gemm(p);
  }

  void through_inner_activation(float* dh) const {
    const int64_t hidden = f_.hidden();
    for_rows(n_, hidden, [&](int64_t begin, int64_t end) {
      Scratch<float> line(f_.L > 1 ? hidden : 0);
      for (int64_t t = begin; t < end; ++t) {
        float* to = dh + t * hidden;
        const float* h = h_ + t * hidden;
        if (f_.L > 1) {
          interleave_row(h, f_.r, f_.L, f_.r, line.get(), false);
          h = line.get();
        }
        for_vectors(0, hidden, [&](int64_t j, auto part) {
          Vec value;
          store(to + j, load(to + j, part) * activation_derivative(load(h + j, part), f_.inner, value), part);
        });
      }
    });
  }

  const Layer& f_;
  const float* g_;
  const float* blocks_;
  const float* h_;
  int64_t n_;
  Scratch<float> hidden_gradient_;
  bool has_hidden_gradient_ = false;
};

void linear_backward(View dy, View x, View v, View u, View guide, View h, View pre, View dx, View dv, View du,
                     View dguide, View dbias, int64_t n, Ints dims, double factor_scale, double guide_scale,
                     Activation activation) {
  const Layer f(v, u, guide, View{}, dims, factor_scale, guide_scale);
  const bool weights = dv || du || dguide;
  Prologue prologue(f, dy.f32(), pre.f32(), dbias.f32(), n, activation);
  if (!dx && !weights) return prologue.run(false);
  prologue.run(true);
  LayerBackward backward(f, prologue.g(), prologue.blocks(), h.f32(), n);
  if (dx) backward.input_gradient(dx.f32());
  if (weights) backward.weight_gradients(x.f32(), dv.f32(), du.f32(), dguide.f32());
}
