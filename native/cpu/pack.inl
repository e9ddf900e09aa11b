// Packing: operands copied into the order in which the micro-kernel reads them.

// to[k·to_row + j] = w[j·w_row + k], widened and times scales[j·scale_step] where there are scales.
template <class W>
void pack_transposed(const W* w, int64_t w_row, const float* scales, int64_t scale_step, int64_t depth, int64_t count,
                     float* to, int64_t to_row) {
  for (int64_t j = 0; j < count; j += kLanes) {
    const int64_t columns = std::min<int64_t>(kLanes, count - j);
    const W* from = w + j * w_row;
    float scale[kLanes];
    for (int64_t i = 0; i < columns; ++i) scale[i] = scales ? scales[(j + i) * scale_step] : 1.f;
    const auto scaled = [&](Vec v, int64_t i) __attribute__((always_inline)) {
      return std::is_same_v<W, int8_t> ? v * scale[i] : v;
    };
    int64_t k = 0;
    for (; k + kLanes <= depth; k += kLanes) {
      Vec v[kLanes];
      SFFN_UNROLL for (int i = 0; i < kLanes; ++i) v[i] =
          i < columns ? scaled(load(from + i * w_row + k, Full{}), i) : Vec{};
      interleave(v);
      float* block = to + k * to_row + j;
      if (columns == kLanes) {
        SFFN_UNROLL for (int i = 0; i < kLanes; ++i) store(block + i * to_row, v[i]);
      } else {
        SFFN_UNROLL for (int i = 0; i < kLanes; ++i) store_part(block + i * to_row, v[i], columns);
      }
    }
    if (k == depth) continue;
    for (int64_t i = 0; i < columns; ++i) {
      const Vec v = scaled(load(from + i * w_row + k, Part{depth - k}), i);
      for (int64_t rest = 0; k + rest < depth; ++rest) to[(k + rest) * to_row + j + i] = v[static_cast<int>(rest)];
    }
  }
}

// to[k·to_row + j] = b[k·b_row + j·b_col] for k < depth, j < count; `to` may start anywhere inside a panel's row.
template <class T>
void pack_columns(const T* b, int64_t b_row, int64_t b_col, int64_t depth, int64_t count, float* to, int64_t to_row) {
  if (b_col == 1) {
    for (int64_t k = 0; k < depth; ++k) {
      const T* from = b + k * b_row;
      for_vectors(0, count, [&](int64_t j, auto part) { store(to + k * to_row + j, load(from + j, part), part); });
    }
    return;
  }
  if (b_row == 1) return pack_transposed(b, b_col, nullptr, 0, depth, count, to, to_row);
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t j = 0; j < count; ++j) to[k * to_row + j] = widen(b[k * b_row + j * b_col]);
}

// Micro-panels of kTileRows rows: to[(i / kTileRows)·depth·kTileRows + k·kTileRows + i % kTileRows] = a[i, k].
template <class T>
void pack_rows(const T* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t depth, float* to) {
  for (int64_t i = 0; i < rows; i += kTileRows) {
    const T* from = a + i * a_row;
    if (std::is_same_v<T, float> && a_row == 1 && rows - i >= kTileRows)
      for (int64_t k = 0; k < depth; ++k) std::memcpy(to + i * depth + k * kTileRows, from + k * a_col, kTileRows * 4);
    else
      pack_columns(from, a_col, a_row, depth, std::min<int64_t>(kTileRows, rows - i), to + i * depth, kTileRows);
  }
}
