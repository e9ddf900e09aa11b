// A linear layer forward: at most three products, the last of which ends with bias and activation.

// y [n, out] = activation(layer(x)) + residual; h, pre and residual as in kernels.def, each may be null. Swiglu is not
// applied here.
inline void layer_forward(const Layer& f, Source x, Source residual, Target h, Target pre, Target y, int64_t n,
                          Activation activation) {
  const bool activated = f.inner != Activation::none;
  const bool has_hidden = f.v && (f.uses_factors() || h), kept = h && !activated;
  const ScratchElements own_hidden(has_hidden && !kept ? n * f.hidden() : 0, x.dtype);
  const Target hidden = kept ? h : own_hidden.get();
  if (has_hidden) {
    Product first = first_stage(f, x, hidden, n);
    first.activation = f.inner;
    first.pre = kept ? Target() : h;
    gemm(first);
  }
  const bool guided = f.guide_scale != 0;
  Product last = f.uses_factors() ? second_stage(f, f.v ? Source(hidden) : x, y, n) : guide_product(f, x, y, n);
  if (guided && f.uses_factors()) {
    gemm(guide_product(f, x, y, n));
    last.accumulate = true;
  }
  last.bias = f.bias;
  last.activation = activation;
  last.pre = pre;
  last.residual = residual;
  gemm(last);
}

// The same with any activation: y [n, out or out/2].
inline void activated_forward(const Layer& f, Source x, Source residual, Target h, Target pre, Target y, int64_t n,
                              Activation activation) {
  if (activation != Activation::swiglu) return layer_forward(f, x, residual, h, pre, y, n, activation);
  const ScratchElements own_pre(pre ? 0 : n * f.out(), x.dtype);
  if (!pre) pre = own_pre.get();
  layer_forward(f, x, {}, h, {}, pre, n, Activation::none);
  swiglu_rows(pre, residual, y, n, f.out() / 2);
}

void linear_forward(View x, View v, View u, View guide, View bias, View residual, View h, View pre, View y, int64_t n,
                    Ints dims, double factor_scale, double guide_scale, Activation activation) {
  if (n == 0) return;
  const Layer f(v, u, guide, bias, dims, factor_scale, guide_scale);
  activated_forward(f, x, residual, h, pre, y, n, activation);
}
