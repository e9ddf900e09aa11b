// The products of a linear layer's backward. The input gradient and the weight gradients share the gradient of h.

inline void clear(Target to, int64_t count) {
  if (to) std::memset(to.data, 0, static_cast<size_t>(count) * size_of(to.dtype));
}

class LayerBackward {
 public:
  // g = dL/dpre [n, out]. `blocks` is the same with each block's columns together; it is g itself when L = 1. h may be
  // null unless there is an inner activation: it is computed again where it is needed.
  LayerBackward(const Layer& layer, Source g, Source blocks, Source h, int64_t n)
      : f_(layer), g_(g), blocks_(blocks), h_(h), n_(n) {}

  void input_gradient(Target dx) {
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
  void weight_gradients(Source x, Target dv, Target du, Target dguide) {
    if (f_.uses_factors()) {
      if (du) {
        ScratchElements own;
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
  Source hidden(Source x, ScratchElements& own) const {
    const bool activated = f_.inner != Activation::none;
    if (h_ && !activated) return h_;
    own = ScratchElements(n_ * f_.hidden(), x.dtype);
    if (!activated) {
      gemm(first_stage(f_, x, own.get(), n_));
      return own.get();
    }
    with_float(h_.dtype, [&]<class T>(T) {
      for_ranges(n_ * f_.hidden(), kTaskElements, [&](int64_t begin, int64_t end) {
        activate_row(h_.as<T>() + begin, own.get().as<T>() + begin, end - begin, f_.inner);
      });
    });
    return own.get();
  }

  // dh [n, K·q] in the order of the first factor's rows, so that its blocks are contiguous.
  Source hidden_gradient() {
    if (!has_hidden_gradient_) {
      hidden_gradient_ = ScratchElements(n_ * f_.hidden(), blocks_.dtype);
      through_second_factor(hidden_gradient_.get());
      if (f_.inner != Activation::none) through_inner_activation(hidden_gradient_.get());
      has_hidden_gradient_ = true;
    }
    return hidden_gradient_.get();
  }

  void through_second_factor(Target to) const {
    Product p{.batch = f_.L, .m = n_, .n = f_.r, .k = f_.s};
    p.a = blocks_, p.a_row = f_.out(), p.a_batch = f_.s;
    p.b = f_.u, p.b_row = f_.r, p.b_batch = f_.s * f_.r;
    p.c = to, p.c_row = f_.L * f_.r, p.c_batch = f_.r;
    p.scale = f_.factor_scale;
    p.interleave = f_.L > 1;
    gemm(p);
  }

  void through_inner_activation(Target dh) const {
    with_float(dh.dtype, [&]<class T>(T) { through_inner_activation_of(dh.as<T>(), h_.as<T>()); });
  }

  template <class T>
  void through_inner_activation_of(T* dh, const T* h) const {
    const int64_t hidden = f_.hidden();
    for_rows(n_, hidden, [&](int64_t begin, int64_t end) {
      Scratch<float> line(hidden);
      for (int64_t t = begin; t < end; ++t) {
        T* to = dh + t * hidden;
        interleave_row(h + t * hidden, f_.r, f_.L, f_.r, line.get(), false);
        for_vectors(0, hidden, [&](int64_t j, auto part) {
          Vec value;
          store(to + j, load(to + j, part) * activation_derivative(load(line.get() + j, part), f_.inner, value), part);
        });
      }
    });
  }

  const Layer& f_;
  Source g_, blocks_, h_;
  int64_t n_;
  ScratchElements hidden_gradient_;
  bool has_hidden_gradient_ = false;
};

void linear_backward(View dy, View x, View v, View u, View guide, View h, View pre, View dx, View dv, View du,
                     View dguide, View dbias, int64_t n, Ints dims, double factor_scale, double guide_scale,
                     Activation activation) {
  const Layer f(v, u, guide, View{}, dims, factor_scale, guide_scale);
  const bool weights = dv || du || dguide;
  Prologue prologue(f, dy, pre, dbias, n, activation);
  if (!dx && !weights) return prologue.run(false);
  prologue.run(true);
  LayerBackward backward(f, prologue.g(), prologue.blocks(), h, n);
  if (dx) backward.input_gradient(dx);
  if (weights) backward.weight_gradients(x, dv, du, dguide);
}
