// The feedforward module: two layers with the activation between, as one call each way.
#include "layer.cuh"

namespace sffn::cuda {

void ffn_forward(View x, View v1, View u1, View guide1, View bias1, View v2, View u2, View guide2, View bias2, View h1,
                 View pre, View h2, View y, int64_t n, Ints dims1, Ints dims2, double factor_scale1,
                 double guide_scale1, double factor_scale2, double guide_scale2, int64_t activation) {
  if (n == 0) return;
  const int rows = static_cast<int>(n);
  const Layer first(v1, u1, guide1, bias1, dims1, factor_scale1, guide_scale1);
  const Layer second(v2, u2, guide2, bias2, dims2, factor_scale2, guide_scale2);
  const Workspace<char> hidden = elements(n * second.in(), second.dtype);
  layer_forward(first, x.data, h1.data, pre.data, hidden.get(), rows, static_cast<Activation>(activation));
  layer_forward(second, hidden.get(), h2.data, nullptr, y.data, rows, Activation::none);
}

void ffn_backward(View dy, View x, View v1, View u1, View guide1, View v2, View u2, View guide2, View h1, View pre,
                  View h2, View dx, View dv1, View du1, View dguide1, View dbias1, View dv2, View du2, View dguide2,
                  View dbias2, int64_t n, Ints dims1, Ints dims2, double factor_scale1, double guide_scale1,
                  double factor_scale2, double guide_scale2, int64_t activation) {
  const int rows = static_cast<int>(n);
  const Activation kind = static_cast<Activation>(activation);
  const Layer first(v1, u1, guide1, View{}, dims1, factor_scale1, guide_scale1);
  const Layer second(v2, u2, guide2, View{}, dims2, factor_scale2, guide_scale2);
  const bool weights2 = dv2 || du2 || dguide2;

  const Workspace<char> space2 = elements(n * second.out(), second.dtype);
  const void* g2 = prologue(second, dy.data, nullptr, space2.get(), dbias2.data, nullptr, rows, Activation::none);
  const Workspace<char> dhidden = elements(n * second.in(), second.dtype);
  const bool keeps_dh = dv2 && second.uses_factors();
  const Workspace<char> dh2 = elements(keeps_dh ? n * second.hidden() : 0, second.dtype);
  void* dh = keeps_dh ? dh2.get() : nullptr;
  layer_backward(second, g2, nullptr, h2.data, {.dx = dhidden.get(), .dh = dh}, rows);

  // One pass makes the hidden activation again and takes its gradient through it.
  const bool again = weights2 && kind != Activation::none;
  const Workspace<char> hidden = elements(again ? n * second.in() : 0, second.dtype);
  const Workspace<char> space1 = elements(n * first.out(), first.dtype);
  const void* g1 =
      prologue(first, dhidden.get(), pre.data, space1.get(), dbias1.data, again ? hidden.get() : nullptr, rows, kind);
  if (weights2)
    layer_backward(second, g2, again ? hidden.get() : pre.data, h2.data,
                   {.dv = dv2.data, .du = du2.data, .dguide = dguide2.data, .dh = dh}, rows);
  layer_backward(first, g1, x.data, h1.data, {dx.data, dv1.data, du1.data, dguide1.data}, rows);
}

}  // namespace sffn::cuda
