// Rows of a table by id, and the gradient of the table.

constexpr int64_t kNoneIgnored = std::numeric_limits<int64_t>::min();

// Throws Error("ERR_RANGE") for the first id that is neither in 0 .. bound-1 nor `ignored`.
inline void check_ids(const char* what, const int32_t* ids, int64_t n, int64_t bound, int64_t ignored) {
  for (int64_t i = 0; i < n; ++i)
    if ((ids[i] < 0 || ids[i] >= bound) && ids[i] != ignored)
      throw Error("ERR_RANGE", std::string(what) + " " + std::to_string(ids[i]) + " at position " + std::to_string(i) +
                                   " is outside 0 .. " + std::to_string(bound - 1));
}

void embedding_forward(View ids, View table, View y, int64_t n, int64_t rows, int64_t features) {
  check_ids("embedding: id", ids.i32(), n, rows, kNoneIgnored);
  for_rows(n, features, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(y.f32() + i * features, table.f32() + ids.i32()[i] * features,
                  static_cast<size_t>(features) * sizeof(float));
  });
}

// Every task adds all rows, in order, over its own columns.
void embedding_backward(View dy, View ids, View dtable, int64_t n, int64_t rows, int64_t features) {
  check_ids("embedding: id", ids.i32(), n, rows, kNoneIgnored);
  fill(dtable, 0.0);
  const int64_t columns = std::max<int64_t>(64, kTaskElements / std::max<int64_t>(n, 1));
  for_ranges(features, columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < n; ++i) {
      const float* from = dy.f32() + i * features;
      float* to = dtable.f32() + ids.i32()[i] * features;
      for_vectors(begin, end,
                  [&](int64_t c, auto part) { store(to + c, load(to + c, part) + load(from + c, part), part); });
    }
  });
}
