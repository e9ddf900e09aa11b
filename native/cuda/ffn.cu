// The feedforward module: two layers with the activation between, as one call each way.
//
// The blocks of the first layer's results stay apart where possible. The hidden activation is then stored and read in
// whole runs, both factors of the first layer take one launch, and the gradient through the activation is part of the
// product before it. The columns of the second layer's weights are brought into the same order.
#include "layer.cuh"

namespace sffn::cuda {

namespace {

// A matrix [rows, columns] of the second layer and the new order of its columns: within each `span` columns, every
// blocks-th column comes together.
struct Permutation {
  int64_t rows, columns;
  int span, blocks;

  int64_t size() const { return rows * columns; }
  View view(const void* data, DType dtype) const { return {const_cast<void*>(data), size(), dtype, here()}; }
  // Into that order, or back: each span is a matrix of as many columns that is transposed.
  void apply(const void* from, void* to, DType dtype) const { transpose(from, to, dtype, blocks); }
  void undo(const void* from, void* to, DType dtype) const { transpose(from, to, dtype, span / blocks); }
  void transpose(const void* from, void* to, DType dtype, int width) const {
    const int32_t dims[] = {static_cast<int32_t>(size() / span), width, span / width};
    const int32_t strides[] = {span, 1, width};
    strided_copy(view(from, dtype), view(to, dtype), 0, dims, strides);
  }
};

// A gradient that is computed in that order and then brought back into its own.
class PermutedGradient {
 public:
  PermutedGradient(View to, const Permutation& order, bool permuted)
      : to_(to), order_(order), space_(elements(to && permuted ? order.size() : 0, to.dtype)), permuted_(permuted) {}
  void* data() const { return to_ && permuted_ ? space_.get() : to_.data; }
  void finish() const {
    if (to_ && permuted_) order_.undo(space_.get(), to_.data, to_.dtype);
  }

 private:
  View to_;
  Permutation order_;
  Workspace<char> space_;
  bool permuted_;
};

class FeedForward {
 public:
  FeedForward(const Layer& fc1, const Layer& fc2, int64_t n, Activation kind)
      : first(fc1),
        second(fc2),
        factor{second.v ? second.hidden() : second.out(), second.v ? second.p : second.in(),
               second.v ? second.p : second.in(), first.L},
        guide{second.out(), second.in(), second.in(), first.L} {
    const int B = first.L;
    // Where the copies of the weights are smaller than the activation that would have to be rearranged without them.
    const bool worthwhile = factor.size() + (second.guide ? guide.size() : 0) <= n * second.in();
    permuted = B > 1 && second.p % B == 0 && (kind != Activation::swiglu || first.s % 2 == 0) && worthwhile;
    first.blocked_out = B == 1 || permuted;
    if (!permuted) return;
    second.in_blocks = B;
    weight_ = copy(second.v ? second.v : second.u, factor);
    if (second.guide) guide_weight_ = copy(second.guide, guide);
  }

  Layer first, second;
  const Permutation factor, guide;  // of the second layer's factor next to its input, and of its guide
  bool permuted;

 private:
  Workspace<char> copy(const void*& weight, const Permutation& order) const {
    Workspace<char> to = elements(order.size(), second.dtype);
    order.apply(weight, to.get(), second.dtype);
    weight = to.get();
    return to;
  }

  Workspace<char> weight_, guide_weight_;
};

}  // namespace

void ffn_forward(View x, View v1, View u1, View guide1, View bias1, View v2, View u2, View guide2, View bias2,
                 View residual, View h1, View pre, View h2, View y, int64_t n, Ints dims1, Ints dims2,
                 double factor_scale1, double guide_scale1, double factor_scale2, double guide_scale2,
                 Activation activation) {
  if (n == 0) return;
  const int rows = dimension(n);
  const FeedForward ffn({v1, u1, guide1, bias1, dims1, factor_scale1, guide_scale1},
                        {v2, u2, guide2, bias2, dims2, factor_scale2, guide_scale2}, n, activation);
  const Workspace<char> hidden = elements(n * ffn.second.in(), ffn.second.dtype);
  layer_forward(ffn.first, x.data, h1.data, pre.data, hidden.get(), rows, activation, nullptr);
  layer_forward(ffn.second, hidden.get(), h2.data, nullptr, y.data, rows, Activation::none, residual.data);
}

void ffn_backward(View dy, View x, View v1, View u1, View guide1, View v2, View u2, View guide2, View h1, View pre,
                  View h2, View dx, View dv1, View du1, View dguide1, View dbias1, View dv2, View du2, View dguide2,
                  View dbias2, int64_t n, Ints dims1, Ints dims2, double factor_scale1, double guide_scale1,
                  double factor_scale2, double guide_scale2, Activation activation) {
  const int rows = dimension(n);
  const FeedForward ffn({v1, u1, guide1, View{}, dims1, factor_scale1, guide_scale1},
                        {v2, u2, guide2, View{}, dims2, factor_scale2, guide_scale2}, n, activation);
  const Layer &first = ffn.first, &second = ffn.second;
  const bool weights2 = dv2 || du2 || dguide2;

  const Workspace<char> space2 = elements(n * second.out(), second.dtype);
  const void* g2 = prologue(second, dy.data, nullptr, space2.get(), nullptr, rows, Activation::none);
  const bool keeps_dh = dv2 && second.uses_factors();
  const Workspace<char> dh2 = elements(keeps_dh ? n * second.hidden() : 0, second.dtype);
  void* dh = keeps_dh ? dh2.get() : nullptr;
  // The hidden activation is computed again together with its gradient.
  const bool again = weights2 && activation != Activation::none;
  const Workspace<char> hidden = elements(again ? n * second.in() : 0, second.dtype);
  void* activated = again ? hidden.get() : nullptr;

  const Workspace<char> space1 = elements(n * first.out(), first.dtype);
  const void* g1 = space1.get();
  if (first.blocked_out) {
    layer_backward(second, g2, nullptr, h2.data,
                   {.dx = space1.get(), .dh = dh, .activation = activation, .pre = pre.data, .activated = activated},
                   rows);
  } else {
    const Workspace<char> dhidden = elements(n * second.in(), second.dtype);
    layer_backward(second, g2, nullptr, h2.data, {.dx = dhidden.get(), .dh = dh}, rows);
    g1 = prologue(first, dhidden.get(), pre.data, space1.get(), activated, rows, activation);
  }
  if (weights2 || dbias2) {
    const PermutedGradient dv(dv2, ffn.factor, ffn.permuted), du(du2, ffn.factor, ffn.permuted && !second.v),
        dguide(dguide2, ffn.guide, ffn.permuted);
    layer_backward(second, g2, again ? hidden.get() : pre.data, h2.data,
                   {.dv = dv.data(), .du = du.data(), .dguide = dguide.data(), .dbias = dbias2.data, .dh = dh}, rows);
    for (const PermutedGradient* gradient : {&dv, &du, &dguide}) gradient->finish();
  }
  layer_backward(first, g1, x.data, h1.data, {dx.data, dv1.data, du1.data, dguide1.data, dbias1.data}, rows);
}

}  // namespace sffn::cuda
