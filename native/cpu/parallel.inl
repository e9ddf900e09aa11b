// How the simple kernels share their work. Ranges are fixed, so that neither the number of threads nor their order
// changes a result. Small inputs stay on the calling thread.

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

// About 10 us of work for a memory-bound kernel; waking a thread costs about the same.
constexpr int64_t kTaskElements = 32768;

// body(begin, end) for ranges of at most `chunk` that cover 0 .. size-1.
template <class Body>
void for_ranges(int64_t size, int64_t chunk, const Body& body) {
  parallel_for((size + chunk - 1) / chunk,
               [&](int64_t task) { body(task * chunk, std::min(size, (task + 1) * chunk)); });
}

// body(begin, end) for ranges of rows of `features` elements each.
template <class Body>
void for_rows(int64_t rows, int64_t features, const Body& body) {
  for_ranges(rows, std::max<int64_t>(1, kTaskElements / std::max<int64_t>(features, 1)), body);
}

// body(task) for 0 .. count-1; each task costs as much as `elements` elements of a memory-bound kernel.
template <class Body>
void for_tasks(int64_t count, int64_t elements, const Body& body) {
  for_rows(count, elements, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) body(task);
  });
}
