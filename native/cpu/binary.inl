// Elementwise kernels of two operands, with broadcasting.

SFFN_INLINE Vec load_strided(const float* p, int64_t stride, int64_t count) {
  Vec v{};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i * stride];
  return v;
}

SFFN_INLINE Vec load_strided(const float* p, int64_t stride, Full) { return load_strided(p, stride, kLanes); }
SFFN_INLINE Vec load_strided(const float* p, int64_t stride, Part part) { return load_strided(p, stride, part.count); }

// y[i] = f(a[i·a_stride], b[i·b_stride]), i < count.
template <class F>
void binary_row(F f, const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* y, int64_t count) {
  const auto loop = [&](auto load_a, auto load_b) {
    for_vectors(0, count, [&](int64_t i, auto part) { store(y + i, f(load_a(i, part), load_b(i, part)), part); });
  };
  const auto contiguous = [](const float* p) { return [p](int64_t i, auto part) { return load(p + i, part); }; };
  const auto repeated = [](const float* p) { return [value = splat(*p)](int64_t, auto) { return value; }; };
  const auto strided = [](const float* p, int64_t stride) {
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
  const float *a_at = a.f32(), *b_at = b.f32();
  float* to = y.f32();
  with_binary(op, [&](auto f) {
    for_ranges(y.size, kTaskElements, [&](int64_t begin, int64_t end) {
      shape.walk(begin, end, [&](const int64_t* offset, int64_t at, int64_t length) {
        binary_row(f, a_at + offset[0], shape.inner_stride(0), b_at + offset[1], shape.inner_stride(1), to + at,
                   length);
      });
    });
  });
}
