// What a product of matrices is here, and how its results reach memory.

// c = activation(scale · a · b [+ c] + bias) + residual, for each of `batch` blocks: a [m, k], b [k, n], both with any
// strides, c row by row. Blocks of a, b and c lie a_batch, b_batch and c_batch floats apart.
struct Product {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t a_row = 0, a_col = 1, a_batch = 0;
  const float* b = nullptr;
  int64_t b_row = 0, b_col = 1, b_batch = 0;
  // bf16 or i8 weights instead of b, widened as they are packed: element (k, j) of block i is reduced[i·b_batch + k +
  // j·b_col] · scales[i·n + j]; i8 has scales.
  View reduced = {};
  const float* scales = nullptr;
  float* c = nullptr;
  int64_t c_row = 0, c_batch = 0;
  float scale = 1;
  bool accumulate = false;
  // After the last partial sum; `pre` (laid out as c) receives the value before the activation.
  const float* bias = nullptr;
  Activation activation = Activation::none;
  float* pre = nullptr;
  const float* residual = nullptr;  // laid out as c
  // > 1: BlockShuffle's inner shuffle. Column j of block b, feature f = b·n + j of all, is stored in column
  // (f mod shuffle)·(batch·n / shuffle) + f / shuffle of c. c_batch is not used.
  int64_t shuffle = 1;
  // BlockShuffle's outer shuffle: column j of block b is stored in column j·batch + b of c. c_batch is not used.
  bool interleave = false;

  bool has_epilogue() const { return bias || activation != Activation::none || pre || residual; }
};

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

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

inline float* output_of(const Product& p, int64_t block) {
  return p.shuffle > 1 || p.interleave ? p.c : p.c + block * p.c_batch;
}

// A piece of a row: c[j] = activation(from[j] [+ c[j]] + bias[j]) + residual[j]; j counts from column `column` of c.
inline void finish_row(const Product& p, const float* from, float* c, int64_t column, int64_t count, bool add) {
  const float* bias = p.bias ? p.bias + column : nullptr;
  float* pre = p.pre ? p.pre + (c - p.c) : nullptr;
  const float* residual = p.residual ? p.residual + (c - p.c) : nullptr;
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

inline void add_row(const float* from, float* c, int64_t count, bool add) {
  for_vectors(0, count, [&](int64_t j, auto part) {
    store(c + j, add ? load(c + j, part) + load(from + j, part) : load(from + j, part), part);
  });
}

// Stores `rows` rows of the computed columns [begin, end) of a block from `tile`; `last`: their sums are complete.
inline void store_tile(const Product& p, int64_t block, int64_t row, int64_t rows, int64_t begin, int64_t end,
                       const float* tile, int64_t tile_row, bool add, bool last) {
  float* c = output_of(p, block) + row * p.c_row;
  for_each_run(p, block, begin, end, [&](int64_t offset, int64_t count, int64_t, int64_t, int64_t target) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = tile + i * tile_row + offset;
      float* to = c + i * p.c_row + target;
      if (last && p.has_epilogue())
        finish_row(p, from, to, target, count, add);
      else
        add_row(from, to, count, add);
    }
  });
}

// Whether c is written past the caches. That pays when c is too large to stay there for its reader and the product is
// so short that reading c's lines before writing them would take part of the time (a tenth at k = 64, nothing from k =
// 512 on).
inline bool streams(const Product& p) {
  constexpr int64_t kLarge = 2 * 1024 * 1024, kShort = 256;
  const auto aligned = [](int64_t floats) { return floats % kLanes == 0; };
  return p.shuffle == 1 && p.batch * p.m * p.n >= kLarge && p.k <= kShort && !p.accumulate && !p.has_epilogue() &&
         aligned(p.c_row) && (p.interleave || aligned(p.c_batch)) &&
         reinterpret_cast<uintptr_t>(p.c) % (kLanes * 4) == 0;
}

// Stores rows of the columns [begin, begin + count) of all blocks: `tiles` holds block b's at b·tile, row i at
// i·tile_row. `line` has room for batch·count floats.
inline void store_interleaved(const Product& p, int64_t row, int64_t rows, int64_t begin, int64_t count,
                              const float* tiles, int64_t tile, int64_t tile_row, float* line) {
  const bool stream = streams(p);
  for (int64_t i = 0; i < rows; ++i) {
    float* c = p.c + (row + i) * p.c_row + begin * p.batch;
    const float* from = tiles + i * tile_row;
    // c is seldom in the caches: prefetch the lines of a row some rows before they are written.
    if (!stream && i + 4 < rows)
      for (int64_t j = 0; j < count * p.batch; j += 16) __builtin_prefetch(c + 4 * p.c_row + j, 1, 3);
    if (p.has_epilogue() || p.accumulate) {
      interleave_row(from, tile, p.batch, count, line, false);
      finish_row(p, line, c, begin * p.batch, count * p.batch, p.accumulate);
    } else {
      interleave_row(from, tile, p.batch, count, c, stream);
    }
  }
  if (stream) finish_streams();
}
