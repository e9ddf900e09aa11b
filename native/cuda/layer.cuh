// A linear layer as the kernels see it, and its products. The formulas and the sizes are those of kernels.def.
#pragma once

#include "gemm/product.cuh"

namespace sffn::cuda {

struct Layer {
  Layer(View v, View u, View guide, View bias, Ints dims, double factor_scale, double guide_scale)
      : v(v.data),
        u(u.data),
        guide(guide_scale != 0 ? guide.data : nullptr),
        bias(bias.data),
        dtype(u.dtype),
        K(dims[0]),
        q(dims[1]),
        p(dims[2]),
        L(dims[3]),
        s(dims[4]),
        r(dims[5]),
        inner(static_cast<Activation>(dims[6])),
        factor_scale(static_cast<float>(factor_scale)),
        guide_scale(guide ? static_cast<float>(guide_scale) : 0.f) {}

  int in() const { return K * p; }
  int hidden() const { return L * r; }
  // Columns of x that are adjacent in a block of the first factor.
  int run() const { return p / in_blocks; }
  int out() const { return L * s; }
  bool uses_factors() const { return factor_scale != 0; }

  const void *v, *u, *guide, *bias;
  DType dtype;
  int K, q, p, L, s, r;
  Activation inner;  // between the factors
  float factor_scale, guide_scale;
  // Inside the feedforward module the features between the two layers need not be in their own order. in_blocks = B:
  // feature i·B + l of x lies at column l·in/B + i, and so do the columns of guide (and of u, where there is no v). The
  // columns of each block of v are ordered in the same way, at l·p/B + i. So are the gradients of all of these.
  // blocked_out: the results, and pre, have the columns of each block together.
  int in_blocks = 1;
  bool blocked_out = false;
};

// Computes everything forward. h [n, hidden] is before the inner activation, with each block of the second factor's
// columns together. h and pre may be null. y has the columns of the activation. residual is added to it; it may be y
// itself or null.
void layer_forward(const Layer& layer, const void* x, void* h, void* pre, void* y, int n, Activation activation,
                   const void* residual);

// g [n, out] is the gradient before the activation with the columns of each block together (made by `prologue`). h may
// be null unless there is an inner activation: it is computed again where it is needed. Null outputs are not computed.
struct LayerGradients {
  void *dx = nullptr, *dv = nullptr, *du = nullptr, *dguide = nullptr, *dbias = nullptr;
  // [n, hidden], the gradient of the hidden features. A call for dx stores it here, and a later call for the factors
  // alone reads it. Null: each call uses its own memory.
  void* dh = nullptr;
  // x = activation(pre), if that is not none. Then dx is the gradient with respect to pre, with the layout of pre, and
  // x itself is stored in `activated` unless that is null.
  Activation activation = Activation::none;
  const void* pre = nullptr;
  void* activated = nullptr;
};
void layer_backward(const Layer& layer, const void* g, const void* x, const void* h, const LayerGradients& gradients,
                    int n);

// From the gradient of the activation's result (and pre) to g. `activated` [n, columns of the activation] receives
// act(pre), if it is wanted. g is `space` [n, out], or dy itself where there is nothing to do.
const void* prologue(const Layer& layer, const void* dy, const void* pre, void* space, void* activated, int n,
                     Activation activation);
// The sum of the rows of g, in the order of the features, for cases where no weight gradient computes it along the way.
void bias_gradient(const Layer& layer, const void* g, void* dbias, int n);
// y = act(pre) + residual [n, out/2] of swiglu; residual may be y itself or null.
void swiglu(const void* pre, void* y, const void* residual, int64_t n, int out, DType dtype);

// A workspace of elements of a dtype.
inline Workspace<char> elements(int64_t count, DType dtype) {
  return Workspace<char>(count * static_cast<int64_t>(size_of(dtype)));
}
// The address of element `index`.
inline const void* at(const void* base, int64_t index, DType dtype) {
  return static_cast<const char*>(base) + index * static_cast<int64_t>(size_of(dtype));
}
inline void* at(void* base, int64_t index, DType dtype) {
  return static_cast<char*>(base) + index * static_cast<int64_t>(size_of(dtype));
}

}  // namespace sffn::cuda
