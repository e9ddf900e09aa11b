// The feedforward module: two layers with the activation between, as one call each way.

void ffn_forward(View x, View v1, View u1, View guide1, View bias1, View v2, View u2, View guide2, View bias2,
                 View residual, View h1, View pre, View h2, View y, int64_t n, Ints dims1, Ints dims2,
                 double factor_scale1, double guide_scale1, double factor_scale2, double guide_scale2,
                 Activation activation) {
  if (n == 0) return;
  const Layer first(v1, u1, guide1, bias1, dims1, factor_scale1, guide_scale1);
  const Layer second(v2, u2, guide2, bias2, dims2, factor_scale2, guide_scale2);
  const ScratchElements hidden(n * second.in(), x.dtype);
  activated_forward(first, x, {}, h1, pre, hidden.get(), n, activation);
  layer_forward(second, hidden.get(), residual, h2, {}, y, n, Activation::none);
}

void ffn_backward(View dy, View x, View v1, View u1, View guide1, View v2, View u2, View guide2, View h1, View pre,
                  View h2, View dx, View dv1, View du1, View dguide1, View dbias1, View dv2, View du2, View dguide2,
                  View dbias2, int64_t n, Ints dims1, Ints dims2, double factor_scale1, double guide_scale1,
                  double factor_scale2, double guide_scale2, Activation activation) {
  const Layer first(v1, u1, guide1, View{}, dims1, factor_scale1, guide_scale1);
  const Layer second(v2, u2, guide2, View{}, dims2, factor_scale2, guide_scale2);
  const bool weights1 = dv1 || du1 || dguide1, weights2 = dv2 || du2 || dguide2;

  Prologue after_second(second, dy, {}, dbias2, n, Activation::none);
  after_second.run(true);
  LayerBackward second_backward(second, after_second.g(), after_second.blocks(), h2, n);
  const ScratchElements hidden_gradient(n * second.in(), dy.dtype);
  second_backward.input_gradient(hidden_gradient.get());

  // One pass computes the hidden activation again and its gradient.
  const bool activated = activation != Activation::none;
  const ScratchElements hidden(weights2 && activated ? n * second.in() : 0, dy.dtype);
  Prologue after_first(first, hidden_gradient.get(), pre, dbias1, n, activation);
  after_first.run(true, hidden.get());
  if (weights2) second_backward.weight_gradients(activated ? Source(hidden.get()) : pre, dv2, du2, dguide2);

  LayerBackward first_backward(first, after_first.g(), after_first.blocks(), h1, n);
  if (dx) first_backward.input_gradient(dx);
  if (weights1) first_backward.weight_gradients(x, dv1, du1, dguide1);
}
