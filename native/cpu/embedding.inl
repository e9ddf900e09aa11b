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
    const size_t row = static_cast<size_t>(features) * size_of(table.dtype);
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(y.as<char>() + static_cast<size_t>(i) * row,
                  table.as<char>() + static_cast<size_t>(ids.i32()[i]) * row, row);
  });
}

// Every task adds all rows over its own columns: those of one id after the other, in order. The sums are float32.
template <class T>
void add_rows_by_id(const T* dy, const int32_t* ids, T* dtable, int64_t n, int64_t features) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int32_t i) { return ids[i]; });
  const int64_t columns = std::max<int64_t>(64, kTaskElements / std::max<int64_t>(n, 1));
  for_ranges(features, columns, [&](int64_t begin, int64_t end) {
    Scratch<float> sums(end - begin);
    for (auto next = order.begin(); next != order.end();) {
      const int32_t id = ids[*next];
      std::fill(sums.get(), sums.get() + (end - begin), 0.f);
      for (; next != order.end() && ids[*next] == id; ++next) {
        const T* from = dy + *next * features + begin;
        for_vectors(0, end - begin, [&](int64_t c, auto part) {
          store(sums.get() + c, load(sums.get() + c, part) + load(from + c, part), part);
        });
      }
      for_vectors(0, end - begin, [&](int64_t c, auto part) {
        store(dtable + id * features + begin + c, load(sums.get() + c, part), part);
      });
    }
  });
}

void embedding_backward(View dy, View ids, View dtable, int64_t n, int64_t rows, int64_t features) {
  check_ids("embedding: id", ids.i32(), n, rows, kNoneIgnored);
  fill(dtable, 0.0);
  with_float(dy.dtype, [&]<class T>(T) { add_rows_by_id(dy.as<T>(), ids.i32(), dtable.as<T>(), n, features); });
}
