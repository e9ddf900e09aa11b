// Sums, means and maxima over the middle dimension of [outer, extent, inner], in f64. Work is cut into fixed pieces of
// the extent and of the columns; pieces of one result are joined in order.

constexpr int64_t kReduceColumns = 1024;  // 8 KiB of accumulators, in L1

struct SumOf {
  static constexpr double kInitial = 0;
  template <class T>
  static T join(T a, T b) {
    return a + b;
  }
};
// A NaN is kept.
struct MaxOf {
  static constexpr double kInitial = -std::numeric_limits<double>::infinity();
  template <class T>
  static T join(T a, T b) {
    return ((b > a) | (b != b)) ? b : a;
  }
};

// Of `count` contiguous elements.
template <class Op, class T>
double reduce_run(const T* x, int64_t count) {
  DoubleVec acc[4];
  for (DoubleVec& a : acc) a = DoubleVec{} + Op::kInitial;
  int64_t i = 0;
  for (; i + 4 * kDoubleLanes <= count; i += 4 * kDoubleLanes) {
    SFFN_UNROLL for (int k = 0; k < 4; ++k) acc[k] = Op::join(acc[k], load_double(x + i + k * kDoubleLanes));
  }
  const DoubleVec all = Op::join(Op::join(acc[0], acc[1]), Op::join(acc[2], acc[3]));
  double result = Op::kInitial;
  for (int lane = 0; lane < kDoubleLanes; ++lane) result = Op::join(result, double{all[lane]});
  for (; i < count; ++i) result = Op::join(result, double{widen(x[i])});
  return result;
}

// Of each of `columns` columns, over `rows` rows that are `stride` apart.
template <class Op, class T>
void reduce_columns(const T* x, int64_t rows, int64_t stride, int64_t columns, double* result) {
  std::fill(result, result + columns, Op::kInitial);
  for (int64_t r = 0; r < rows; ++r, x += stride)
    for (int64_t c = 0; c < columns; ++c) result[c] = Op::join(result[c], double{widen(x[c])});
}

template <class Op, class From, class To>
void reduce_with(const From* x, To* y, int64_t outer, int64_t extent, int64_t inner, double scale) {
  const int64_t width = std::min(inner, kReduceColumns), strips = (inner + width - 1) / width;
  const int64_t rows = std::max<int64_t>(64, kTaskElements / width);  // of one piece
  const int64_t pieces = std::max<int64_t>(1, (extent + rows - 1) / rows);
  const int64_t group = std::max<int64_t>(1, kTaskElements / (std::max<int64_t>(1, std::min(rows, extent)) * width));
  Scratch<double> partial(pieces > 1 ? outer * pieces * inner : 0);
  for_ranges(outer * strips * pieces, group, [&](int64_t begin, int64_t end) {
    double local[kReduceColumns];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t piece = task % pieces, strip = task / pieces % strips, o = task / pieces / strips;
      const int64_t first = strip * width, columns = std::min(width, inner - first);
      const int64_t count = std::min(rows, extent - piece * rows);
      const From* from = x + (o * extent + piece * rows) * inner + first;
      double* result = pieces > 1 ? partial.get() + (o * pieces + piece) * inner + first : local;
      if (inner == 1)
        *result = reduce_run<Op>(from, count);
      else
        reduce_columns<Op>(from, count, inner, columns, result);
      if (pieces == 1)
        for (int64_t c = 0; c < columns; ++c)
          y[o * inner + first + c] = narrow<To>(static_cast<float>(local[c] * scale));
    }
  });
  if (pieces == 1) return;
  for_rows(outer * inner, pieces, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double* from = partial.get() + i / inner * pieces * inner + i % inner;
      double result = Op::kInitial;
      for (int64_t piece = 0; piece < pieces; ++piece) result = Op::join(result, from[piece * inner]);
      y[i] = narrow<To>(static_cast<float>(result * scale));
    }
  });
}

void reduce(View x, View y, Reduction op, int64_t outer, int64_t extent, int64_t inner) {
  if (outer * inner == 0) return;
  with_float(x.dtype, [&]<class T>(T) {
    if (op == Reduction::max)
      reduce_with<MaxOf>(x.as<T>(), y.as<T>(), outer, extent, inner, 1);
    else
      reduce_with<SumOf>(x.as<T>(), y.as<T>(), outer, extent, inner,
                         op == Reduction::mean ? 1 / static_cast<double>(extent) : 1);
  });
}

// The first of equal maxima; a NaN counts as the largest.
void argmax(View x, View index, int64_t outer, int64_t extent, int64_t inner) {
  const auto better = [](float a, float b) { return a > b || (a != a && b == b); };
  with_float(x.dtype, [&]<class T>(T) {
    for_rows(outer, extent * inner, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const T* from = x.as<T>() + o * extent * inner;
        int32_t* best = index.i32() + o * inner;
        std::fill(best, best + inner, 0);
        for (int64_t j = 1; j < extent; ++j)
          for (int64_t i = 0; i < inner; ++i)
            if (better(widen(from[j * inner + i]), widen(from[best[i] * inner + i]))) best[i] = static_cast<int32_t>(j);
      }
    });
  });
}
