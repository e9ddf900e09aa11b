// Packing: operands copied into the order in which the micro-kernel reads them.

// to[k·to_row + j] = b[k·b_row + j·b_col] for k < depth, j < count; `to` may start anywhere inside a panel's row.
inline void pack_columns(const float* b, int64_t b_row, int64_t b_col, int64_t depth, int64_t count, float* to,
                         int64_t to_row) {
  if (b_col == 1) {
    for (int64_t k = 0; k < depth; ++k) {
      const float* from = b + k * b_row;
      int64_t j = 0;
      for (; j + kLanes <= count; j += kLanes) store(to + k * to_row + j, load(from + j));
      if (j < count) store_part(to + k * to_row + j, load_part(from + j, count - j), count - j);
    }
    return;
  }
  int64_t j = 0;
  if (b_row == 1) {
    for (; j < count; j += kLanes) {
      const int64_t columns = std::min<int64_t>(kLanes, count - j);
      const float* from = b + j * b_col;
      int64_t k = 0;
      for (; k + kLanes <= depth; k += kLanes) {
        Vec v[kLanes];
        SFFN_UNROLL for (int i = 0; i < kLanes; ++i) v[i] = i < columns ? load(from + i * b_col + k) : Vec{};
        interleave(v);
        float* block = to + k * to_row + j;
        if (columns == kLanes) {
          SFFN_UNROLL for (int i = 0; i < kLanes; ++i) store(block + i * to_row, v[i]);
        } else {
          SFFN_UNROLL for (int i = 0; i < kLanes; ++i) store_part(block + i * to_row, v[i], columns);
        }
      }
      for (; k < depth; ++k)
        for (int64_t i = 0; i < columns; ++i) to[k * to_row + j + i] = from[i * b_col + k];
    }
    return;
  }
  for (int64_t k = 0; k < depth; ++k)
    for (j = 0; j < count; ++j) to[k * to_row + j] = b[k * b_row + j * b_col];
}

// Micro-panels of kTileRows rows: to[(i / kTileRows)·depth·kTileRows + k·kTileRows + i % kTileRows] = a[i, k].
inline void pack_rows(const float* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t depth, float* to) {
  for (int64_t i = 0; i < rows; i += kTileRows) {
    const float* from = a + i * a_row;
    if (a_row == 1 && rows - i >= kTileRows)
      for (int64_t k = 0; k < depth; ++k) std::memcpy(to + i * depth + k * kTileRows, from + k * a_col, kTileRows * 4);
    else
      pack_columns(from, a_col, a_row, depth, std::min<int64_t>(kTileRows, rows - i), to + i * depth, kTileRows);
  }
}
