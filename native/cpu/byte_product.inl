// Products of int8 weights with rows that are rounded to int8: exact integers, then two scales. Several rows meet
// panels of weights that are packed on the way; a few meet the weights as they lie in memory. Both sum the same
// integers, so that a row's results have the same bits whatever rows come with it.

// Rows of each block as bytes, with a scale for each.
struct ByteRows {
  int64_t n, k;
  int64_t row;            // bytes from one to the next: k and zeros
  int64_t passes, depth;  // k is divided where sums would need more than 32 bits
  Scratch<int8_t> data;   // [blocks, n, row]
  Scratch<float> scales;  // [blocks, n]
  Scratch<int32_t> sums;  // [blocks, n, passes]

  // x [n, blocks · k]
  ByteRows(const float* x, int64_t n, int64_t blocks, int64_t k)
      : n(n),
        k(k),
        row(round_up(k, kByteStep)),
        passes(std::max<int64_t>(1, ceil_div(k, kMostByteTerms))),
        depth(round_up(ceil_div(k, passes), kByteStep)),
        data(blocks * n * row),
        scales(blocks * n),
        sums(blocks * n * passes) {
    for_rows(blocks * n, k, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) round(x + (i % n * blocks + i / n) * k, i);
    });
  }

 private:
  // The scale is NaN where the row is not finite, so that the product shows it.
  void round(const float* x, int64_t i) {
    const float largest = largest_or_nan(x, k), scale = largest / kMostInt8;
    scales[i] = scale;
    int8_t* to = data.get() + i * row;
    std::fill(to + (scale > 0 ? k : 0), to + row, int8_t{0});
    for (int64_t pass = 0; pass < passes; ++pass) {
      const int64_t begin = pass * depth;
      sums[i * passes + pass] = scale > 0 ? round_part(x, begin, std::min(k, begin + depth), scale, to) : 0;
    }
  }
  static int32_t round_part(const float* x, int64_t begin, int64_t end, float scale, int8_t* to) {
    IntVec total{};
    for_vectors(begin, end, [&](int64_t j, auto part) {
      const IntVec rounded = round_to_int8(load(x + j, part) / scale);
      total += rounded;
      store(to + j, rounded, part);
    });
    int32_t sum = 0;
    SFFN_UNROLL for (int lane = 0; lane < kLanes; ++lane) sum += total[lane];
    return sum;
  }
};

#if SFFN_LANES == 16
constexpr int kByteTileRows = 8, kByteTileVecs = 3;
#elif SFFN_LANES == 8
constexpr int kByteTileRows = 8, kByteTileVecs = 1;
#elif defined(__aarch64__)
constexpr int kByteTileRows = 8, kByteTileVecs = 3;
#else
constexpr int kByteTileRows = 4, kByteTileVecs = 2;
#endif
constexpr int kBytePanel = kByteTileVecs * kLanes;  // columns of a full panel

// to[i, j] = or += the sum over k of x[i, k] w[k, j]. k counts words of four bytes.
struct ByteTile {
  int64_t k;
  const int8_t* x;
  int64_t x_row;
  const int32_t* sums;  // of the rows of x, for weights that were moved
  int64_t sums_row;
  const uint32_t* w;  // a panel
  float* to;
  int64_t to_row;
  bool add;
};

template <class Products, int kRows, int kVecs>
void byte_kernel(const ByteTile& t) {
  IntVec sums[kRows][kVecs];
  SFFN_UNROLL for (int i = 0; i < kRows; ++i) {
    IntVec start{};
    if constexpr (Products::kMoved) start -= 128 * t.sums[i * t.sums_row];
    SFFN_UNROLL for (int j = 0; j < kVecs; ++j) sums[i][j] = start;
  }
  const int8_t* x = t.x;
  const int8_t* w = reinterpret_cast<const int8_t*>(t.w);
  for (int64_t k = 0; k < t.k; ++k, x += 4, w += kVecs * kByteStep) {
    typename Products::Weights weights[kVecs];
    SFFN_UNROLL for (int j = 0; j < kVecs; ++j) weights[j] = Products::weights(load_bytes(w + j * kByteStep, Full{}));
    SFFN_UNROLL for (int i = 0; i < kRows; ++i) {
      int32_t word;
      std::memcpy(&word, x + i * t.x_row, sizeof word);
      const typename Products::Input input = Products::input((ByteVec)(IntVec{} + word));
      SFFN_UNROLL for (int j = 0; j < kVecs; ++j) Products::add_products(sums[i][j], weights[j], input);
    }
  }
  SFFN_UNROLL for (int i = 0; i < kRows; ++i) SFFN_UNROLL for (int j = 0; j < kVecs; ++j) {
    float* to = t.to + i * t.to_row + j * kLanes;
    const Vec total = __builtin_convertvector(sums[i][j], Vec);
    store(to, t.add ? load(to) + total : total);
  }
}

using ByteKernel = void (*)(const ByteTile&);

using ByteKernelsByRows = std::array<ByteKernel, kByteTileRows>;

template <class Products, int kVecs, int... kRows>
constexpr ByteKernelsByRows byte_kernels_by_rows(std::integer_sequence<int, kRows...>) {
  return {byte_kernel<Products, kRows + 1, kVecs>...};
}
template <class Products, int... kVecs>
constexpr std::array<ByteKernelsByRows, kByteTileVecs> byte_kernels(std::integer_sequence<int, kVecs...>) {
  return {byte_kernels_by_rows<Products, kVecs + 1>(std::make_integer_sequence<int, kByteTileRows>())...};
}

// to[r, j - begin] = sums of the rows [first, first + count) of a block for the columns [begin, end) of w [columns, k].
// `to` has room for whole panels.
template <class Products>
void byte_columns_of(const ByteRows& x, int64_t block, int64_t first, int64_t count, const int8_t* w, int64_t begin,
                     int64_t end, float* to, int64_t to_row) {
  static constexpr auto kernels = byte_kernels<Products>(std::make_integer_sequence<int, kByteTileVecs>());
  Scratch<uint32_t> panel(ceil_div(std::min(x.k, x.depth), 4) * kBytePanel);
  const int64_t row = block * x.n + first;
  for (int64_t j = begin; j < end; j += kBytePanel) {
    const int64_t columns = std::min<int64_t>(kBytePanel, end - j), vecs = ceil_div(columns, kLanes);
    for (int64_t pass = 0; pass < x.passes; ++pass) {
      const int64_t k = pass * x.depth, depth = std::min(x.depth, x.k - k);
      const int8_t* from = w + j * x.k + k;
      pack_words_transposed(from, x.k, depth, columns, panel.get(), vecs * kLanes);
      // What is packed next: by then it is there.
      for (int64_t i = 0; i < kBytePanel * depth; i += 64) __builtin_prefetch(from + kBytePanel * x.k + i, 0, 2);
      ByteTile tile{};
      tile.k = ceil_div(depth, 4);
      tile.x_row = x.row;
      tile.sums_row = x.passes;
      tile.w = panel.get();
      tile.to_row = to_row;
      tile.add = pass > 0;
      for (int64_t r = 0; r < count; r += kByteTileRows) {
        tile.x = x.data.get() + (row + r) * x.row + k;
        tile.sums = x.sums.get() + (row + r) * x.passes + pass;
        tile.to = to + r * to_row + j - begin;
        kernels[vecs - 1][std::min<int64_t>(kByteTileRows, count - r) - 1](tile);
      }
    }
  }
}
