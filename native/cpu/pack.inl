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

// to[k·to_row + j] = word k of 32 bits of row j of w, whose elements are contiguous. A last word that is not whole ends
// with zeros.
template <class T>
void pack_words_transposed(const T* w, int64_t w_row, int64_t depth, int64_t count, uint32_t* to, int64_t to_row) {
  constexpr int64_t kTerms = sizeof(uint32_t) / sizeof(T);
  for (int64_t j = 0; j < count; j += kLanes) {
    const int64_t columns = std::min<int64_t>(kLanes, count - j);
    const T* from = w + j * w_row;
    int64_t k = 0;
    for (; k + kTerms * kLanes <= depth; k += kTerms * kLanes) {
      Vec v[kLanes];
      SFFN_UNROLL for (int i = 0; i < kLanes; ++i) {
        v[i] = Vec{};
        if (i < columns) std::memcpy(&v[i], from + i * w_row + k, sizeof v[i]);
      }
      interleave(v);
      float* block = reinterpret_cast<float*>(to) + k / kTerms * to_row + j;
      if (columns == kLanes) {
        SFFN_UNROLL for (int i = 0; i < kLanes; ++i) store(block + i * to_row, v[i]);
      } else {
        SFFN_UNROLL for (int i = 0; i < kLanes; ++i) store_part(block + i * to_row, v[i], columns);
      }
    }
    for (; k < depth; k += kTerms)
      for (int64_t i = 0; i < columns; ++i) {
        uint32_t word = 0;
        std::memcpy(&word, from + i * w_row + k, static_cast<size_t>(std::min(kTerms, depth - k)) * sizeof(T));
        to[k / kTerms * to_row + j + i] = word;
      }
  }
}

#ifdef SFFN_PAIRS
// Words of two bfloat16. Those of an odd depth end with a 0.

SFFN_INLINE uint32_t pair_of(const uint16_t* p, int64_t step, bool second) {
  return p[0] | (second ? uint32_t{p[step]} << 16 : 0);
}

// to[k·to_row + j] = the pair of b[2k, j] and b[2k + 1, j], for any strides.
inline void pack_pairs(const uint16_t* b, int64_t b_row, int64_t b_col, int64_t depth, int64_t count, uint32_t* to,
                       int64_t to_row) {
  if (b_row == 1) return pack_words_transposed(b, b_col, depth, count, to, to_row);
  for (int64_t k = 0; k < depth; k += 2) {
    const uint16_t* from = b + k * b_row;
    uint32_t* line = to + k / 2 * to_row;
    const bool second = k + 1 < depth;
    if (b_col != 1) {
      for (int64_t j = 0; j < count; ++j) line[j] = pair_of(from + j * b_col, b_row, second);
      continue;
    }
    for_vectors(0, count, [&](int64_t j, auto part) {
      const UintVec low = (UintVec)load(from + j, part) >> 16;
      const UintVec high = second ? (UintVec)load(from + b_row + j, part) : UintVec{};
      store(reinterpret_cast<float*>(line) + j, (Vec)(low | high), part);
    });
  }
}
#endif

// One operand in the words of the arithmetic: to[k·to_row + j] for k < depth in words, j < count.
template <class Arithmetic>
void pack_words(const Source& b, int64_t b_row, int64_t b_col, int64_t depth, int64_t count, float* to,
                int64_t to_row) {
#ifdef SFFN_PAIRS
  if constexpr (Arithmetic::kTerms == 2)
    return pack_pairs(b.as<uint16_t>(), b_row, b_col, depth, count, reinterpret_cast<uint32_t*>(to), to_row);
#endif
  with_float(b.dtype, [&]<class T>(T) { pack_columns(b.as<T>(), b_row, b_col, depth, count, to, to_row); });
}

// Micro-panels of kTileRows rows: to[(i / kTileRows)·words·kTileRows + k·kTileRows + i % kTileRows] = word k of row i.
template <class Arithmetic>
void pack_rows(const Source& a, int64_t a_row, int64_t a_col, int64_t rows, int64_t depth, float* to) {
  const int64_t words = ceil_div(depth, Arithmetic::kTerms);
  for (int64_t i = 0; i < rows; i += kTileRows) {
    const Source from = a + i * a_row;
    float* panel = to + i * words;
    if (a.dtype == DType::f32 && a_row == 1 && rows - i >= kTileRows)
      for (int64_t k = 0; k < depth; ++k)
        std::memcpy(panel + k * kTileRows, from.as<float>() + k * a_col, kTileRows * sizeof(float));
    else
      pack_words<Arithmetic>(from, a_col, a_row, depth, std::min<int64_t>(kTileRows, rows - i), panel, kTileRows);
  }
}
