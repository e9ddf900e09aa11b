// The activations at a layer's end by their code, their derivatives, and SwiGLU, which joins two columns.

SFFN_INLINE Vec activate(Vec x, Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return gelu(x);
    case Activation::silu:
      return silu(x);
    case Activation::relu:
      return relu(x);
    default:
      return x;
  }
}

// y = activate(x); y may be x itself.
template <class T>
void activate_row(const T* x, T* y, int64_t count, Activation activation) {
  for_vectors(0, count, [&](int64_t j, auto part) { store(y + j, activate(load(x + j, part), activation), part); });
}

// d activate(x) / dx, together with the value itself.
SFFN_INLINE Vec activation_derivative(Vec x, Activation activation, Vec& value) {
  switch (activation) {
    case Activation::gelu:
      value = gelu(x);
      return gelu_derivative(x);
    case Activation::silu:
      value = silu(x);
      return silu_derivative(x);
    case Activation::relu:
      value = relu(x);
      return relu_derivative(x);
    default:
      value = x;
      return splat(1.f);
  }
}

// y = silu(first half of pre) · second half + residual, row by row: pre [n, 2·half], y [n, half]; residual may be null.
inline void swiglu_rows(Source pre, Source residual, Target y, int64_t n, int64_t half) {
  with_float(pre.dtype, [&]<class T>(T) {
    parallel_for((n + 15) / 16, [&](int64_t task) {
      for (int64_t t = task * 16; t < std::min(n, task * 16 + 16); ++t) {
        const T* a = pre.as<T>() + t * 2 * half;
        const T* add = residual ? residual.as<T>() + t * half : nullptr;
        T* to = y.as<T>() + t * half;
        for_vectors(0, half, [&](int64_t j, auto part) {
          Vec v = silu(load(a + j, part)) * load(a + half + j, part);
          if (add) v += load(add + j, part);
          store(to + j, v, part);
        });
      }
    });
  });
}
