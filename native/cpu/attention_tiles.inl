// What both directions of attention share: blocks of 64 positions, packed so that every product is a sum of one
// broadcast element times whole vectors. Rows are padded with zeros to whole vectors, blocks to whole groups of rows.

constexpr int64_t kScoreBlock = 64;  // positions: two tiles of keys and values fit in 32 KiB at head size 64
constexpr int64_t kScoreRows = 4;    // rows of one register tile
constexpr int kScoreVecs = kLanes == 16 ? 4 : 2;  // and its vectors: 16 accumulators of 32, 8 of 16

// The projection [batch, seq, (heads + 2·kv_heads)·head_size] and its division into heads.
struct AttentionShape {
  int64_t batch, seq, heads, kv_heads, head_size;
  int64_t width() const { return (heads + 2 * kv_heads) * head_size; }  // of a token in qkv
  int64_t group() const { return heads / kv_heads; }                    // query heads that share a key head
  int64_t padded_head() const { return round_up(head_size, kLanes); }
  int64_t blocks() const { return (seq + kScoreBlock - 1) / kScoreBlock; }
  int64_t block_rows(int64_t block) const { return std::min(kScoreBlock, seq - block * kScoreBlock); }
  float scale() const { return static_cast<float>(1 / std::sqrt(static_cast<double>(head_size))); }
};

// c[r, :] (+)= Σ_i a[r·a_row + i·a_step] · b[i·b_row, :] for kScoreRows rows of N vectors.
template <int N>
SFFN_INLINE void multiply_tile(const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_row,
                               int64_t depth, float* c, int64_t c_row, bool accumulate) {
  Vec acc[kScoreRows][N];
  SFFN_UNROLL for (int64_t r = 0; r < kScoreRows; ++r) {
    SFFN_UNROLL for (int n = 0; n < N; ++n) acc[r][n] = accumulate ? load(c + r * c_row + n * kLanes) : Vec{};
  }
  for (int64_t i = 0; i < depth; ++i, a += a_step, b += b_row) {
    Vec right[N];
    SFFN_UNROLL for (int n = 0; n < N; ++n) right[n] = load(b + n * kLanes);
    SFFN_UNROLL for (int64_t r = 0; r < kScoreRows; ++r) {
      const Vec left = splat(a[r * a_row]);
      SFFN_UNROLL for (int n = 0; n < N; ++n) acc[r][n] += left * right[n];
    }
  }
  SFFN_UNROLL for (int64_t r = 0; r < kScoreRows; ++r) {
    SFFN_UNROLL for (int n = 0; n < N; ++n) store(c + r * c_row + n * kLanes, acc[r][n]);
  }
}

// The same for `columns` columns, in whole vectors.
inline void multiply(const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_row, int64_t depth,
                     float* c, int64_t c_row, int64_t columns, bool accumulate) {
  int64_t at = 0;
  for (; at + kScoreVecs * kLanes <= columns; at += kScoreVecs * kLanes)
    multiply_tile<kScoreVecs>(a, a_row, a_step, b + at, b_row, depth, c + at, c_row, accumulate);
  if (kScoreVecs > 2 && at + 2 * kLanes <= columns) {
    multiply_tile<2>(a, a_row, a_step, b + at, b_row, depth, c + at, c_row, accumulate);
    at += 2 * kLanes;
  }
  for (; at < columns; at += kLanes)
    multiply_tile<1>(a, a_row, a_step, b + at, b_row, depth, c + at, c_row, accumulate);
}

// y [rounded rows, padded_head] = rows of one head from `first` on, rotated and scaled; the padding is 0.
template <class T>
void pack_rows(const T* x, int64_t x_row, float* y, const AttentionShape& shape, const Rotary& rotary, int64_t first,
               int64_t rows, float scale) {
  const int64_t padded = shape.padded_head();
  for (int64_t r = 0; r < rows; ++r) {
    rotate(x + r * x_row, y + r * padded, shape.head_size, rotary, first + r, scale);
    std::fill(y + r * padded + shape.head_size, y + (r + 1) * padded, 0.f);
  }
  std::fill(y + rows * padded, y + round_up(rows, kScoreRows) * padded, 0.f);
}

typedef float Quad __attribute__((vector_size(16)));
typedef float QuadUnaligned __attribute__((vector_size(16), aligned(4)));

SFFN_INLINE void transpose_quads(const float* x, int64_t x_row, float* y, int64_t y_row) {
  const auto row = [&](int64_t r) -> Quad { return *reinterpret_cast<const QuadUnaligned*>(x + r * x_row); };
  const Quad a = row(0), b = row(1), c = row(2), d = row(3);
  const Quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto put = [&](int64_t r, Quad value) { *reinterpret_cast<QuadUnaligned*>(y + r * y_row) = value; };
  put(0, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
  put(1, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
  put(2, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
  put(3, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

// y [padded_head, kScoreBlock] = the transpose of packed rows; absent columns are 0.
inline void transpose_block(const float* x, float* y, const AttentionShape& shape, int64_t rows) {
  const int64_t padded = shape.padded_head(), columns = round_up(rows, kScoreRows);
  for (int64_t i = 0; i < padded; i += 4) {
    for (int64_t r = 0; r < columns; r += 4)
      transpose_quads(x + r * padded + i, padded, y + i * kScoreBlock + r, kScoreBlock);
    for (int64_t k = i; k < i + 4; ++k) std::fill(y + k * kScoreBlock + columns, y + (k + 1) * kScoreBlock, 0.f);
  }
}

// 0, 1, 2, ... from `first` on, to tell which columns of a row the causal mask hides.
SFFN_INLINE IntVec column_numbers(int64_t first) {
  IntVec numbers;
  for (int i = 0; i < kLanes; ++i) numbers[i] = i;
  return numbers + static_cast<int32_t>(first);
}
