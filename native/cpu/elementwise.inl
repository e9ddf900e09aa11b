// Elementwise kernels of one operand: y[i] = op(a[i]), their derivatives, and plain moves. Each operation is a functor
// of codes.def on vectors; those that no short polynomial computes well (log, sin, cos, pow) go lane by lane through
// the C library.

template <float (*F)(float)>
SFFN_INLINE Vec each_lane(Vec a) {
  for (int i = 0; i < kLanes; ++i) a[i] = F(a[i]);
  return a;
}
SFFN_INLINE Vec logarithm(Vec a) { return each_lane<std::log>(a); }
SFFN_INLINE Vec sine(Vec a) { return each_lane<std::sin>(a); }
SFFN_INLINE Vec cosine(Vec a) { return each_lane<std::cos>(a); }
SFFN_INLINE Vec power(Vec a, Vec b) {
  for (int i = 0; i < kLanes; ++i) a[i] = std::pow(a[i], b[i]);
  return a;
}
SFFN_INLINE Vec root(Vec a) { return sqrt(a); }
SFFN_INLINE Vec magnitude(Vec a) { return abs(a); }

// exp of simd.inl saturates above 88; here the last stretch up to the overflow at 88.72 matters too.
SFFN_INLINE Vec exponential(Vec a) {
  constexpr float kExp44 = 1.28516001e19f;
  return exp(a > 88.f ? a - 44.f : a) * (a > 88.f ? splat(kExp44) : splat(1.f));
}

// tanh of simd.inl cancels near 0, where Cephes' odd polynomial is accurate to 1e-7 relative.
SFFN_INLINE Vec hyperbolic_tangent(Vec a) {
  const Vec z = a * a;
  Vec p = z * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  return abs(a) < 0.625f ? p * z * a + a : tanh(a);
}

// Calls apply(functor) with the functor (a, c) -> y of the operation: one dispatch per kernel call, not per element.
template <class Apply>
void with_unary(UnaryOp op, const Apply& apply) {
  switch (op) {
#define UNARY(name, value, derivative) \
  case UnaryOp::name:                  \
    return apply([]([[maybe_unused]] Vec a, [[maybe_unused]] Vec c) { return value; });
#include "../codes.def"
  }
}

// The functors (a, c) -> y and (a, y, c) -> dy/da.
template <class Apply>
void with_unary_derivative(UnaryOp op, const Apply& apply) {
  switch (op) {
#define UNARY(name, value, derivative)                                                 \
  case UnaryOp::name:                                                                  \
    return apply([]([[maybe_unused]] Vec a, [[maybe_unused]] Vec c) { return value; }, \
                 []([[maybe_unused]] Vec a, [[maybe_unused]] Vec y, [[maybe_unused]] Vec c) { return derivative; });
#include "../codes.def"
  }
}

template <class T>
void unary_of(const T* from, T* to, int64_t size, UnaryOp op, float c) {
  with_unary(op, [&](auto f) {
    for_ranges(size, kTaskElements, [&, operand = splat(c)](int64_t begin, int64_t end) {
      for_vectors(begin, end, [&](int64_t i, auto part) { store(to + i, f(load(from + i, part), operand), part); });
    });
  });
}

void unary(View a, View y, UnaryOp op, double c) {
  with_float(y.dtype, [&]<class T>(T) { unary_of(a.as<T>(), y.as<T>(), y.size, op, static_cast<float>(c)); });
}

// Where rounding of y would spoil the derivative, y is computed again.
template <class T>
void unary_backward_of(const T* dy, const T* a, const T* y, T* da, int64_t size, UnaryOp op, float c) {
  with_unary_derivative(op, [&](auto value, auto derivative) {
    for_ranges(size, kTaskElements, [&, operand = splat(c)](int64_t begin, int64_t end) {
      for_vectors(begin, end, [&](int64_t i, auto part) {
        const Vec x = load(a + i, part);
        const Vec result = std::is_same_v<T, float> ? load(y + i, part) : value(x, operand);
        store(da + i, load(dy + i, part) * derivative(x, result, operand), part);
      });
    });
  });
}

void unary_backward(View dy, View a, View y, View da, UnaryOp op, double c) {
  with_float(da.dtype, [&]<class T>(T) {
    unary_backward_of(dy.as<T>(), a.as<T>(), y.as<T>(), da.as<T>(), da.size, op, static_cast<float>(c));
  });
}

void scale_by(View x, View factor) {
  if (factor.f32()[0] != 1.f) unary(x, x, UnaryOp::scale, factor.f32()[0]);
}

void add_scaled(View x, View acc, double scale) {
  with_float(acc.dtype, [&]<class T>(T) {
    const T* from = x.as<T>();
    T* to = acc.as<T>();
    for_ranges(acc.size, kTaskElements, [&, factor = static_cast<float>(scale)](int64_t begin, int64_t end) {
      for_vectors(begin, end, [&](int64_t i, auto part) {
        store(to + i, load(to + i, part) + factor * load(from + i, part), part);
      });
    });
  });
}

void fill(View y, double value) {
  for_ranges(y.size, kTaskElements, [&](int64_t begin, int64_t end) {
    switch (y.dtype) {
      case DType::f32:
        return std::fill(y.f32() + begin, y.f32() + end, static_cast<float>(value));
      case DType::i32:
        return std::fill(y.i32() + begin, y.i32() + end, static_cast<int32_t>(value));
      case DType::bf16:
        return std::fill(y.bf16() + begin, y.bf16() + end, to_bf16(static_cast<float>(value)));
      case DType::i8:
        return std::fill(y.i8() + begin, y.i8() + end, static_cast<int8_t>(value));
    }
  });
}

void copy(View x, View y) {
  const size_t bytes = size_of(y.dtype);
  for_ranges(y.size, kTaskElements, [&](int64_t begin, int64_t end) {
    const size_t at = static_cast<size_t>(begin) * bytes;
    std::memcpy(static_cast<char*>(y.data) + at, static_cast<const char*>(x.data) + at,
                static_cast<size_t>(end - begin) * bytes);
  });
}

void cast(View x, View y) {
  if (x.dtype == y.dtype) return copy(x, y);
  with_float(x.dtype, [&]<class From>(From) {
    with_float(y.dtype, [&]<class To>(To) {
      for_ranges(y.size, kTaskElements, [&](int64_t begin, int64_t end) {
        for_vectors(begin, end,
                    [&](int64_t i, auto part) { store(y.as<To>() + i, load(x.as<From>() + i, part), part); });
      });
    });
  });
}
