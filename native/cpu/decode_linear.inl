// A linear layer of the family on a few rows, with weights of any element type: they stream from memory once and are
// widened in registers. Many rows use the training kernels, which widen the weights as they pack them.

// Where the results of a factor go, and what is done to them on the way: feature f of blocks·rows is stored in column
// (f mod inner)·(features / inner) + f / inner.
struct DecodeOutput {
  float* y;
  int64_t inner;
  const float* bias;  // by column
  Activation activation;
  bool add;  // added to what is there
};

inline void finish_decoded(float* tile, int64_t feature, int64_t count, int64_t features, float* y,
                           const DecodeOutput& out) {
  const bool straight = out.inner == 1 || out.inner == features;
  const int64_t outer = features / out.inner;
  const auto column = [&](int64_t j) { return (feature + j) % out.inner * outer + (feature + j) / out.inner; };
  if (!straight && out.bias)
    for (int64_t j = 0; j < count; ++j) tile[j] += out.bias[column(j)];
  for_vectors(0, count, [&](int64_t j, auto part) {
    Vec v = load(tile + j, part);
    if (straight && out.bias) v += load(out.bias + feature + j, part);
    v = activate(v, out.activation);
    if (!straight) return store(tile + j, v, part);
    if (out.add) v += load(y + feature + j, part);
    store(y + feature + j, v, part);
  });
  if (straight) return;
  for (int64_t j = 0; j < count; ++j) {
    float& to = y[column(j)];
    to = out.add ? to + tile[j] : tile[j];
  }
}

constexpr int64_t kDecodeTaskRows = 256;  // most rows of a task: its results stay in L2

// blockdiag(matrix) x for n rows of x: `multiply(block, row, rows, begin, end, to, to_row)` makes the products of
// `rows` rows with the rows [begin, end) of a block of w, as many as a multiple of `granule` has room for. `scales`
// [blocks, n] of x go with those of w, if there are any.
template <class Multiply>
void decode_product(const DecodeMatrix& w, const float* scales, int64_t n, const DecodeOutput& out, int64_t granule,
                    const Multiply& multiply) {
  const int64_t features = w.features(), threads = num_threads();
  // At least 64 KB in a task, as in skinny_product.
  const int64_t least = ceil_div(64 * 1024 / static_cast<int64_t>(size_of(w.weights.dtype)), w.k);
  const int64_t columns = round_up(std::max(least, ceil_div(features, 8 * threads)), granule);
  const int64_t chunks = ceil_div(w.rows, columns), wide = w.blocks * chunks;
  // Rows are divided only for the sake of tasks for all threads, or of the caches.
  const int64_t parts = std::max(ceil_div(n, kDecodeTaskRows), std::min(ceil_div(4 * threads, wide), n / 64));
  const int64_t rows = std::max<int64_t>(1, ceil_div(n, std::max<int64_t>(1, parts))), row_chunks = ceil_div(n, rows);
  parallel_for(wide * row_chunks, [&](int64_t task) {
    const int64_t block = task / row_chunks / chunks, first = task % row_chunks * rows,
                  count = std::min(rows, n - first);
    const int64_t begin = task / row_chunks % chunks * columns, end = std::min(w.rows, begin + columns);
    const int64_t feature = block * w.rows + begin;
    Scratch<float> tile(count * columns);
    multiply(block, first, count, begin, end, tile.get(), columns);
    for (int64_t t = 0; t < count; ++t) {
      float* row = tile.get() + t * columns;
      if (w.scales) {
        const float scale = scales ? scales[block * n + first + t] : 1.f;
        for_vectors(0, end - begin, [&](int64_t j, auto part) {
          store(row + j, load(row + j, part) * load(w.scales + feature + j, part) * scale, part);
        });
      }
      finish_decoded(row, feature, end - begin, features, out.y + (first + t) * features, out);
    }
  });
}

// The rows of x in the type of the arithmetic: `block` and `row` elements from one block and row to the next.
template <class Arithmetic>
struct DecodeInput {
  const typename Arithmetic::Input* data;
  int64_t block, row;
  const float* scales;  // [blocks, n], if any
};

// A few rows: weights as they lie in memory.
template <class Arithmetic>
void decode_product(const DecodeMatrix& w, const typename Arithmetic::Weight* weights, const DecodeInput<Arithmetic>& x,
                    int64_t n, const DecodeOutput& out) {
  decode_product(w, x.scales, n, out, kLanes,
                 [&](int64_t block, int64_t row, int64_t rows, int64_t begin, int64_t end, float* to, int64_t to_row) {
                   const auto* from = x.data + block * x.block + row * x.row;
                   skinny_columns_of(
                       SkinnyProduct<Arithmetic>{rows, w.k, from, x.row, weights + block * w.rows * w.k, w.k, 1.f},
                       begin, end, to, to_row);
                 });
}

template <class W>
void decode_product_of_floats(const DecodeMatrix& w, const W* weights, const float* x, int64_t n,
                              const DecodeOutput& out) {
  decode_product<FloatArithmetic<W>>(w, weights, {x, w.k, w.blocks * w.k, nullptr}, n, out);
}

#ifdef SFFN_PAIRS
// Several rows are rounded to bfloat16, too: fewer are bound by memory anyway.
constexpr int64_t kLeastPairRows = 8;

inline void decode_product_of_pairs(const DecodeMatrix& w, const float* x, int64_t n, const DecodeOutput& out) {
  const int64_t row = round_up(w.k, PairArithmetic::kStep), all = w.blocks * w.k;
  const Scratch<uint16_t> rows = PairArithmetic::rows(x, all, w.blocks, n, w.k, w.k);
  decode_product<PairArithmetic>(w, w.weights.bf16(), {rows.get(), n * row, row, nullptr}, n, out);
}
#endif

#ifdef SFFN_SHORT_ARITHMETIC
// to = x / scale, rounded, for the `count` floats of each block of a row; returns the scale. It is NaN where x is not
// finite, so that the product shows it.
inline float round_to_shorts(const float* x, int64_t blocks, int64_t count, int16_t* to, int64_t to_block) {
  constexpr float kMost = 32767;
  const float scale = largest_or_nan(x, blocks * count) / kMost;
  if (!(scale > 0)) {
    std::fill(to, to + blocks * to_block, int16_t{0});
    return scale;
  }
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t i = 0; i < count; ++i)
      to[block * to_block + i] = static_cast<int16_t>(std::nearbyint(x[block * count + i] / scale));
    std::fill(to + block * to_block + count, to + (block + 1) * to_block, int16_t{0});
  }
  return scale;
}

template <class Arithmetic>
void decode_product_of_shorts(const DecodeMatrix& w, const float* x, int64_t n, const DecodeOutput& out) {
  const int64_t block = round_up(w.k, Arithmetic::kStep), row = w.blocks * block;
  Scratch<int16_t> rounded(n * row);
  Scratch<float> scales(w.blocks * n);
  for (int64_t t = 0; t < n; ++t) {
    const float scale = round_to_shorts(x + t * w.blocks * w.k, w.blocks, w.k, rounded.get() + t * row, block);
    for (int64_t b = 0; b < w.blocks; ++b) scales[b * n + t] = scale;
  }
  decode_product<Arithmetic>(w, w.weights.i8(), {rounded.get(), block, row, scales.get()}, n, out);
}

inline void decode_product_of_bytes(const DecodeMatrix& w, const float* x, int64_t n, const DecodeOutput& out) {
#if SFFN_LANES == 16 && !defined(SFFN_EMULATED_AVX512)
  static const bool vnni = __builtin_cpu_supports("avx512vnni");
  if (vnni) return decode_product_of_shorts<ShortArithmetic<true>>(w, x, n, out);
#endif
  decode_product_of_shorts<ShortArithmetic<false>>(w, x, n, out);
}
#else
inline void decode_product_of_bytes(const DecodeMatrix& w, const float* x, int64_t n, const DecodeOutput& out) {
  decode_product_of_floats(w, w.weights.i8(), x, n, out);
}
#endif

template <class Products>
void decode_product_of_few_bytes(const DecodeMatrix& w, const ByteRows& x, const DecodeOutput& out) {
  using Arithmetic = ByteArithmetic<Products>;
  decode_product<Arithmetic>(w, w.weights.i8(), {x.data.get(), x.n * x.row, x.row, x.scales.get()}, x.n, out);
}

template <class Products>
void decode_product_of_many_bytes(const DecodeMatrix& w, const ByteRows& x, const DecodeOutput& out) {
  decode_product(w, x.scales.get(), x.n, out, kBytePanel,
                 [&](int64_t block, int64_t row, int64_t rows, int64_t begin, int64_t end, float* to, int64_t to_row) {
                   const int8_t* weights = w.weights.i8() + block * w.rows * w.k;
                   byte_columns_of<Products>(x, block, row, rows, weights, begin, end, to, to_row);
                 });
}

// Rows are rounded to int8, too.
template <class Few, class Many>
void decode_product_of_byte_rows(const DecodeMatrix& w, const ByteRows& x, const DecodeOutput& out) {
  x.n < Many::kLeastRows ? decode_product_of_few_bytes<Few>(w, x, out) : decode_product_of_many_bytes<Many>(w, x, out);
}
inline void decode_product_of_byte_rows(const DecodeMatrix& w, const float* x, int64_t n, const DecodeOutput& out) {
  const ByteRows rows(x, n, w.blocks, w.k);
#if SFFN_LANES == 16
  if (has_vnni()) return decode_product_of_byte_rows<Bytes<true>, MovedBytes>(w, rows, out);
  decode_product_of_byte_rows<Bytes<false>, Bytes<false>>(w, rows, out);
#elif defined(__aarch64__)
  if (has_dot_product()) return decode_product_of_byte_rows<Bytes<true>, Bytes<true>>(w, rows, out);
  decode_product_of_byte_rows<Bytes<false>, Bytes<false>>(w, rows, out);
#else
  decode_product_of_byte_rows<Bytes, Bytes>(w, rows, out);
#endif
}

inline void decode_product(const DecodeMatrix& w, const float* x, int64_t n, const DecodeOutput& out) {
  if (w.weights.dtype == DType::f32) return decode_product_of_floats(w, w.weights.f32(), x, n, out);
#ifdef SFFN_PAIRS
  if (w.weights.dtype == DType::bf16 && n >= kLeastPairRows) return decode_product_of_pairs(w, x, n, out);
#endif
  if (w.weights.dtype == DType::bf16) return decode_product_of_floats(w, w.weights.bf16(), x, n, out);
  w.int8_rows ? decode_product_of_byte_rows(w, x, n, out) : decode_product_of_bytes(w, x, n, out);
}

inline void decode_many(const DecodeLayer& f, const float* x, float* y, int64_t n, Activation activation, bool add) {
  const Layer layer(f.v, f.u, View{}, f.bias, f.dims, 1, 0);
  // With pairs of bfloat16, the operands of such weights are bfloat16, too.
  const DType rows = kMultipliesPairs && f.u.dtype == DType::bf16 ? DType::bf16 : DType::f32;
  const ScratchElements h(n * f.hidden(), rows), rounded(rows == DType::bf16 ? n * layer.in() : 0, rows);
  if (rounded.get()) cast({const_cast<float*>(x), n * layer.in()}, {rounded.get().data, n * layer.in(), rows});
  const Source input = rounded.get() ? Source(rounded.get()) : x;
  if (f.v) {
    Product first = first_stage(layer, input, h.get(), n);
    first.scales = f.first().scales;
    first.activation = f.inner();
    gemm(first);
  }
  Product last = second_stage(layer, f.v ? Source(h.get()) : input, y, n);
  last.scales = f.second().scales;
  last.bias = layer.bias;
  last.activation = activation;
  last.accumulate = add;
  gemm(last);
}

inline void decode_few(const DecodeLayer& f, const float* x, float* y, int64_t n, Activation activation, bool add) {
  Scratch<float> h(n * f.hidden());
  if (f.v) decode_product(f.first(), x, n, {h.get(), f.dims[3], nullptr, f.inner(), false});
  decode_product(f.second(), f.v ? h.get() : x, n, {y, f.dims[4], f.bias.f32(), activation, add});
}

// y [n, out] = activation(layer(x)), or y += layer(x).
inline void apply_decoded(const DecodeLayer& f, const float* x, float* y, int64_t n, Activation activation, bool add) {
  const auto apply = f.int8_rows || n <= most_skinny_rows(f.u.dtype) ? decode_few : decode_many;
  if (activation != Activation::swiglu) return apply(f, x, y, n, activation, add);
  Scratch<float> pre(n * f.out());
  apply(f, x, pre.get(), n, Activation::none, false);
  swiglu_rows(pre.get(), nullptr, y, n, f.out() / 2);
}

void decode_linear(View x, View v, View v_scales, View u, View u_scales, View bias, View y, int64_t n, Ints dims,
                   Activation activation, int64_t int8_rows) {
  apply_decoded({v, v_scales, u, u_scales, bias, dims, int8_rows != 0}, x.f32(), y.f32(), n, activation, false);
}
