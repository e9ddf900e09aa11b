// Weights of fewer bits: int8 with one scale for each row.

constexpr float kMostInt8 = 127;

void quantize(View x, View y, View scales, int64_t rows, int64_t columns) {
  for_rows(rows, columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x.f32() + row * columns;
      Vec largest{};
      for_vectors(0, columns, [&](int64_t i, auto part) { largest = max(largest, abs(load(from + i, part))); });
      const float scale = max_lane(largest) / kMostInt8, inverse = scale > 0 ? 1 / scale : 0;
      scales.f32()[row] = scale;
      for (int64_t i = 0; i < columns; ++i) {
        const float value = std::clamp(std::nearbyint(from[i] * inverse), -kMostInt8, kMostInt8);
        y.i8()[row * columns + i] = static_cast<int8_t>(value);
      }
    }
  });
}

template <class W>
void widen_rows(const W* x, const float* scales, float* y, int64_t rows, int64_t columns) {
  for_rows(rows, columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float scale = scales ? scales[row] : 1.f;
      for_vectors(0, columns, [&](int64_t i, auto part) {
        store(y + row * columns + i, load(x + row * columns + i, part) * scale, part);
      });
    }
  });
}

void dequantize(View x, View scales, View y, int64_t rows, int64_t columns) {
  if (x.dtype == DType::bf16) return widen_rows(x.bf16(), scales.f32(), y.f32(), rows, columns);
  widen_rows(x.i8(), scales.f32(), y.f32(), rows, columns);
}
