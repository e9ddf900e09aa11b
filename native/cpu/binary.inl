// Elementwise kernels of two operands, with broadcasting.

template <class T>
SFFN_INLINE Vec load_strided(const T* p, int64_t stride, int64_t count) {
  Vec v{};
  for (int64_t i = 0; i < count; ++i) v[i] = widen(p[i * stride]);
  return v;
}

template <class T>
SFFN_INLINE Vec load_strided(const T* p, int64_t stride, Full) {
  return load_strided(p, stride, int64_t{kLanes});
}
template <class T>
SFFN_INLINE Vec load_strided(const T* p, int64_t stride, Part part) {
  return load_strided(p, stride, part.count);
}

// y[i] = f(a[i·a_stride], b[i·b_stride]), i < count.
template <class F, class T>
void binary_row(F f, const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* y, int64_t count) {
  const auto loop = [&](auto load_a, auto load_b) {
    for_vectors(0, count, [&](int64_t i, auto part) { store(y + i, f(load_a(i, part), load_b(i, part)), part); });
  };
  const auto contiguous = [](const T* p) { return [p](int64_t i, auto part) { return load(p + i, part); }; };
  const auto repeated = [](const T* p) { return [value = splat(widen(*p))](int64_t, auto) { return value; }; };
  const auto strided = [](const T* p, int64_t stride) {
    return [=](int64_t i, auto part) { return load_strided(p + i * stride, stride, part); };
  };
  if (a_stride == 1 && b_stride == 1)
    loop(contiguous(a), contiguous(b));
  else if (a_stride == 1 && b_stride == 0)
    loop(contiguous(a), repeated(b));
  else if (a_stride == 0 && b_stride == 1)
    loop(repeated(a), contiguous(b));
  else
    loop(strided(a, a_stride), strided(b, b_stride));
}

// Calls apply(functor) with the functor (a, b) -> y.
template <class Apply>
void with_binary(BinaryOp op, const Apply& apply) {
  switch (op) {
#define BINARY(name, value) \
  case BinaryOp::name:      \
    return apply([](Vec a, Vec b) { return value; });
#include "../codes.def"
  }
}

void binary(View a, View b, View y, BinaryOp op, Ints dims, Ints a_strides, Ints b_strides) {
  if (y.size == 0) return;
  const Strided<2> shape(dims, {a_strides, b_strides});
  with_float(y.dtype, [&]<class T>(T) {
    with_binary(op, [&](auto f) {
      for_ranges(y.size, kTaskElements, [&](int64_t begin, int64_t end) {
        shape.walk(begin, end, [&](const int64_t* offset, int64_t at, int64_t length) {
          binary_row(f, a.as<const T>() + offset[0], shape.inner_stride(0), b.as<const T>() + offset[1],
                     shape.inner_stride(1), y.as<T>() + at, length);
        });
      });
    });
  });
}
