// The feedforward module: two layers with the activation between, as one call each way.
//
// The blocks of the first layer's results stay apart where they can: the hidden activation is then in an order in which
// it is stored and read in whole runs, both factors of the first layer take one launch, and the gradient through the
// activation belongs to the product before it. The columns of the second layer's weights are brought into that order.
#include "layer.cuh"

namespace sffn::cuda {

namespace {

// A matrix [rows, columns] as the second layer needs it: within each `span` columns, every blocks-th together.
Workspace<char> permuted(const void* matrix, int64_t rows, int64_t columns, int span, int blocks, DType dtype) {
  Workspace<char> to = elements(rows * columns, dtype);
  const int32_t dims[] = {static_cast<int32_t>(rows * columns / span), blocks, span / blocks};
  const int32_t strides[] = {span, 1, blocks};
  strided_copy({const_cast<void*>(matrix), rows * columns, dtype, Device::cuda},
               {to.get(), rows * columns, dtype, Device::cuda}, 0, dims, strides);
  return to;
}

struct FeedForward {
  FeedForward(const Layer& fc1, const Layer& fc2, int64_t n, Activation kind) : first(fc1), second(fc2) {
    const int B = first.L;
    const int64_t guide = second.guide ? int64_t{second.out()} * second.in() : 0;
    const int64_t nearest = second.v ? int64_t{second.hidden()} * second.p : int64_t{second.out()} * second.in();
    first.blocked_out = B == 1;
    // Where the copies of the weights are less than the activation that they keep from being rearranged.
    if (B == 1 || second.p % B != 0 || (kind == Activation::swiglu && first.s % 2 != 0) ||
        nearest + guide > n * second.in())
      return;
    first.blocked_out = true;
    second.in_blocks = B;
    weight = second.v ? permuted(second.v, second.hidden(), second.p, second.p, B, second.dtype)
                      : permuted(second.u, second.out(), second.in(), second.in(), B, second.dtype);
    (second.v ? second.v : second.u) = weight.get();
    if (!guide) return;
    guide_weight = permuted(second.guide, second.out(), second.in(), second.in(), B, second.dtype);
    second.guide = guide_weight.get();
  }

  Layer first, second;
  Workspace<char> weight, guide_weight;
};

}  // namespace

void ffn_forward(View x, View v1, View u1, View guide1, View bias1, View v2, View u2, View guide2, View bias2,
                 View residual, View h1, View pre, View h2, View y, int64_t n, Ints dims1, Ints dims2,
                 double factor_scale1, double guide_scale1, double factor_scale2, double guide_scale2,
                 int64_t activation) {
  if (n == 0) return;
  const int rows = static_cast<int>(n);
  const Activation kind = static_cast<Activation>(activation);
  const FeedForward ffn({v1, u1, guide1, bias1, dims1, factor_scale1, guide_scale1},
                        {v2, u2, guide2, bias2, dims2, factor_scale2, guide_scale2}, n, kind);
  const Workspace<char> hidden = elements(n * ffn.second.in(), ffn.second.dtype);
  layer_forward(ffn.first, x.data, h1.data, pre.data, hidden.get(), rows, kind, nullptr);
  layer_forward(ffn.second, hidden.get(), h2.data, nullptr, y.data, rows, Activation::none, residual.data);
}

void ffn_backward(View dy, View x, View v1, View u1, View guide1, View v2, View u2, View guide2, View h1, View pre,
                  View h2, View dx, View dv1, View du1, View dguide1, View dbias1, View dv2, View du2, View dguide2,
                  View dbias2, int64_t n, Ints dims1, Ints dims2, double factor_scale1, double guide_scale1,
                  double factor_scale2, double guide_scale2, int64_t activation) {
  const int rows = static_cast<int>(n);
  const Activation kind = static_cast<Activation>(activation);
  const FeedForward ffn({v1, u1, guide1, View{}, dims1, factor_scale1, guide_scale1},
                        {v2, u2, guide2, View{}, dims2, factor_scale2, guide_scale2}, n, kind);
  const auto& [first, second, weight, guide_weight] = ffn;
  const bool weights2 = dv2 || du2 || dguide2;

  const Workspace<char> space2 = elements(n * second.out(), second.dtype);
  const void* g2 = prologue(second, dy.data, nullptr, space2.get(), dbias2.data, nullptr, rows, Activation::none);
  const bool keeps_dh = dv2 && second.uses_factors();
  const Workspace<char> dh2 = elements(keeps_dh ? n * second.hidden() : 0, second.dtype);
  void* dh = keeps_dh ? dh2.get() : nullptr;
  // The hidden activation is made again beside its gradient.
  const bool again = weights2 && kind != Activation::none;
  const Workspace<char> hidden = elements(again ? n * second.in() : 0, second.dtype);
  void* activated = again ? hidden.get() : nullptr;

  const Workspace<char> space1 = elements(n * first.out(), first.dtype);
  const void* g1 = space1.get();
  if (first.blocked_out) {
    layer_backward(second, g2, nullptr, h2.data,
                   {.dx = space1.get(), .dh = dh, .activation = kind, .pre = pre.data, .activated = activated}, rows);
    if (dbias1) bias_gradient(first, g1, dbias1.data, rows);
  } else {
    const Workspace<char> dhidden = elements(n * second.in(), second.dtype);
    layer_backward(second, g2, nullptr, h2.data, {.dx = dhidden.get(), .dh = dh}, rows);
    g1 = prologue(first, dhidden.get(), pre.data, space1.get(), dbias1.data, activated, rows, kind);
  }
  if (weights2)
    layer_backward(second, g2, again ? hidden.get() : pre.data, h2.data,
                   {.dv = dv2.data, .du = du2.data, .dguide = dguide2.data, .dh = dh}, rows);
  layer_backward(first, g1, x.data, h1.data, {dx.data, dv1.data, du1.data, dguide1.data}, rows);
}

}  // namespace sffn::cuda
