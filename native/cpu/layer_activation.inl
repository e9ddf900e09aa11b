// The activations of a layer's end by their code, their derivatives, and SwiGLU, which joins two columns.

enum Activation : int64_t { kNoActivation, kGelu, kSilu, kRelu, kSwiglu };

SFFN_INLINE Vec activate(Vec x, int64_t activation) {
  switch (activation) {
    case kGelu:
      return gelu(x);
    case kSilu:
      return silu(x);
    case kRelu:
      return relu(x);
    default:
      return x;
  }
}

// y = activate(x), which may be y itself.
inline void activate_row(const float* x, float* y, int64_t count, int64_t activation) {
  for_vectors(0, count, [&](int64_t j, auto part) { store(y + j, activate(load(x + j, part), activation), part); });
}

// d activate(x) / dx; the value itself comes with it.
SFFN_INLINE Vec activation_derivative(Vec x, int64_t activation, Vec& value) {
  switch (activation) {
    case kGelu:
      value = gelu(x);
      return gelu_derivative(x);
    case kSilu:
      value = silu(x);
      return silu_derivative(x);
    case kRelu:
      value = relu(x);
      return relu_derivative(x);
    default:
      value = x;
      return splat(1.f);
  }
}

// y = silu(first half of pre) · second half + residual, row by row: pre [n, 2·half], y [n, half]; residual may be null.
inline void swiglu_rows(const float* pre, const float* residual, float* y, int64_t n, int64_t half) {
  parallel_for((n + 15) / 16, [&](int64_t task) {
    for (int64_t t = task * 16; t < std::min(n, task * 16 + 16); ++t) {
      const float* a = pre + t * 2 * half;
      for_vectors(0, half, [&](int64_t j, auto part) {
        Vec v = silu(load(a + j, part)) * load(a + half + j, part);
        if (residual) v += load(residual + t * half + j, part);
        store(y + t * half + j, v, part);
      });
    }
  });
}
