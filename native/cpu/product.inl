// What a product of matrices is here, and how its results reach memory.

// c = activation(scale · a · b [+ c] + bias) + residual, for each of `batch` blocks: a [m, k], b [k, n], both with any
// strides, c row by row. Blocks of a, b and c lie a_batch, b_batch and c_batch elements apart. Sums are float32; a and
// b are widened as they are packed, and each value of c is rounded once.
struct Product {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  Source a = {};
  int64_t a_row = 0, a_col = 1, a_batch = 0;
  Source b = {};
  int64_t b_row = 0, b_col = 1, b_batch = 0;
  const float* scales = nullptr;  // of int8: element (k, j) of block i counts times scales[i·n + j]; then b_row is 1
  Target c = {};
  int64_t c_row = 0, c_batch = 0;
  float scale = 1;
  bool accumulate = false;
  // After the last partial sum, in c's element type; `pre` (laid out as c) receives the value before the activation.
  Source bias = {};
  Activation activation = Activation::none;
  Target pre = {};
  Source residual = {};  // laid out as c
  // > 1: BlockShuffle's inner shuffle. Column j of block b, feature f = b·n + j of all, is stored in column
  // (f mod shuffle)·(batch·n / shuffle) + f / shuffle of c. c_batch is not used.
  int64_t shuffle = 1;
  // BlockShuffle's outer shuffle: column j of block b is stored in column j·batch + b of c. c_batch is not used.
  bool interleave = false;

  bool has_epilogue() const { return bias || activation != Activation::none || pre || residual; }
  bool rounds() const { return c.dtype != DType::f32; }
};

// Columns of a block are computed in an order that puts columns together that are stored together. Calls body(offset,
// count, source, step, target) for each run of computed columns [begin + offset, + count): they are columns source,
// source + step, ... of b, and columns target, target + 1, ... of c.
template <class Body>
SFFN_INLINE void for_each_run(const Product& p, int64_t block, int64_t begin, int64_t end, Body body) {
  if (p.shuffle == 1) {
    body(int64_t{0}, end - begin, begin, int64_t{1}, begin);
    return;
  }
  const int64_t first = block * p.n, group = p.batch * p.n / p.shuffle;
  int64_t at = 0;  // computed column at which the run of features congruent to l starts
  for (int64_t l = 0; l < p.shuffle && at < end; ++l) {
    const int64_t start = (l - first % p.shuffle + p.shuffle) % p.shuffle;
    const int64_t count = start < p.n ? ceil_div(p.n - start, p.shuffle) : 0;
    const int64_t from = std::max(at, begin), to = std::min(at + count, end);
    if (from < to)
      body(from - begin, to - from, start + (from - at) * p.shuffle, p.shuffle,
           l * group + (first + start) / p.shuffle + (from - at));
    at += count;
  }
}

// Where the results of a block begin, in elements of c.
inline int64_t output_of(const Product& p, int64_t block) {
  return p.shuffle > 1 || p.interleave ? 0 : block * p.c_batch;
}

// A piece of a row from element `at` of c on: c[j] = activation(from[j] [+ c[j]] + bias[j]) + residual[j]; j counts
// from column `column` of c.
template <class T>
void finish_row(const Product& p, const float* from, int64_t at, int64_t column, int64_t count, bool add) {
  T* const c = p.c.as<T>() + at;
  const T* bias = p.bias ? p.bias.as<T>() + column : nullptr;
  T* pre = p.pre ? p.pre.as<T>() + at : nullptr;
  const T* residual = p.residual ? p.residual.as<T>() + at : nullptr;
  for_vectors(0, count, [&](int64_t j, auto part) {
    Vec v = load(from + j, part);
    if (add) v += load(c + j, part);
    if (bias) v += load(bias + j, part);
    if (pre) store(pre + j, v, part);
    if (p.activation != Activation::none) v = activate(v, p.activation);
    if (residual) v += load(residual + j, part);
    store(c + j, v, part);
  });
}

template <class From, class To>
void add_row(const From* from, To* c, int64_t count, bool add) {
  for_vectors(0, count, [&](int64_t j, auto part) {
    store(c + j, add ? load(c + j, part) + load(from + j, part) : load(from + j, part), part);
  });
}

// Stores `rows` rows of the computed columns [begin, end) of a block from `tile`; `last`: their sums are complete.
inline void store_tile(const Product& p, int64_t block, int64_t row, int64_t rows, int64_t begin, int64_t end,
                       const float* tile, int64_t tile_row, bool add, bool last) {
  const int64_t at = output_of(p, block) + row * p.c_row;
  with_float(p.c.dtype, [&]<class T>(T) {
    for_each_run(p, block, begin, end, [&](int64_t offset, int64_t count, int64_t, int64_t, int64_t target) {
      for (int64_t i = 0; i < rows; ++i) {
        const float* from = tile + i * tile_row + offset;
        const int64_t to = at + i * p.c_row + target;
        if (last && p.has_epilogue())
          finish_row<T>(p, from, to, target, count, add);
        else
          add_row(from, p.c.as<T>() + to, count, add);
      }
    });
  });
}

// Whether c is written past the caches. That pays when c is too large to stay there for its reader and the product is
// so short that reading c's lines before writing them would take part of the time (a tenth at k = 64, nothing from k =
// 512 on).
inline bool streams(const Product& p) {
  constexpr int64_t kLarge = 2 * 1024 * 1024, kShort = 256;
  const auto aligned = [](int64_t floats) { return floats % kLanes == 0; };
  return !p.rounds() && p.shuffle == 1 && p.batch * p.m * p.n >= kLarge && p.k <= kShort && !p.accumulate &&
         !p.has_epilogue() && aligned(p.c_row) && (p.interleave || aligned(p.c_batch)) &&
         reinterpret_cast<uintptr_t>(p.c.data) % (kLanes * 4) == 0;
}

// Stores rows of the columns [begin, begin + count) of all blocks: `tiles` holds block b's at b·tile, row i at
// i·tile_row. `line` has room for batch·count floats.
inline void store_interleaved(const Product& p, int64_t row, int64_t rows, int64_t begin, int64_t count,
                              const float* tiles, int64_t tile, int64_t tile_row, float* line) {
  const bool stream = streams(p);
  const int64_t per_line = 64 / static_cast<int64_t>(size_of(p.c.dtype));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t at = (row + i) * p.c_row + begin * p.batch;
    const float* from = tiles + i * tile_row;
    // c is seldom in the caches: prefetch the lines of a row some rows before they are written.
    if (!stream && i + 4 < rows)
      for (int64_t j = 0; j < count * p.batch; j += per_line)
        __builtin_prefetch((p.c + (at + 4 * p.c_row + j)).data, 1, 3);
    if (p.has_epilogue() || p.accumulate || p.rounds()) {
      interleave_row(from, tile, p.batch, count, line, false);
      with_float(p.c.dtype,
                 [&]<class T>(T) { finish_row<T>(p, line, at, begin * p.batch, count * p.batch, p.accumulate); });
    } else {
      interleave_row(from, tile, p.batch, count, p.c.as<float>() + at, stream);
    }
  }
  if (stream) finish_streams();
}
