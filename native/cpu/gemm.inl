// The driver of every large product: blocks of packed b in the caches, tiles of rows, and their division into tasks.

// The panels of a block: full ones, then the rest. A single vector at the end is shared with the panel before it, so
// that no panel is only a third as wide as the others.
struct Panels {
  explicit Panels(int64_t columns) : vecs(ceil_div(columns, kLanes)), count(ceil_div(vecs, kTileVecs)) {
    split = kTileVecs == 3 && vecs % 3 == 1 && count > 1;
  }
  // First column of panel p; p = count gives the padded width.
  int64_t begin(int64_t p) const {
    if (split && p == count - 1) return (vecs - 2) * kLanes;
    return std::min(p * kTileVecs, vecs) * kLanes;
  }
  int64_t width(int64_t p) const { return begin(p + 1) - begin(p); }
  int64_t vecs, count;
  bool split;
};

constexpr int64_t kRowsDepth = 96 * 1024;         // words of a's rows of one task
constexpr int64_t kSharedPack = 4 * 1024 * 1024;  // words of b that are packed at once for all tasks
constexpr int64_t kStrip = 8;                     // panels of a task
constexpr int64_t kInterleaveTile = 24 * 1024;    // floats of a task's results before they are interleaved

template <class Arithmetic>
struct Blocking {
  explicit Blocking(const Product& p) : panels(p.n) {
    const int64_t passes = std::max<int64_t>(1, ceil_div(p.k, Arithmetic::kDepth));
    depth = std::max<int64_t>(1, round_up(ceil_div(p.k, passes), 4 * Arithmetic::kTerms));
    int64_t most = std::clamp<int64_t>(kRowsDepth / std::max<int64_t>(words(depth), 192), 64, 256);
    if (p.interleave) most = std::clamp<int64_t>(kInterleaveTile / (p.batch * kPanel), kTileRows, most);
    const int64_t chunks = std::max<int64_t>(1, ceil_div(p.m, most));
    rows = round_up(std::max<int64_t>(1, ceil_div(p.m, chunks)), kTileRows);
    row_chunks = std::max<int64_t>(1, ceil_div(p.m, rows));
    // Rows of pairs are read in place up to a length.
    packed_a = p.a_col != 1 || (Arithmetic::kTerms == 1 ? p.a.dtype != DType::f32 : p.k % 2 != 0 || p.k > 1536);
    held = p.interleave || (p.rounds() && depth < p.k);
  }
  static int64_t words(int64_t k) { return ceil_div(k, Arithmetic::kTerms); }
  Panels panels;
  int64_t depth;       // of one pass, in elements
  int64_t rows;        // of one task
  int64_t row_chunks;  // tasks along the rows
  bool packed_a;
  bool held;  // a task keeps its sums over all of k, and stores them at its end
};

// pack_words for `count` columns of a block of b, from column `source` in steps of `step`, and from row `k`.
template <class Arithmetic>
void pack_part(const Product& p, int64_t block, int64_t k, int64_t depth, int64_t source, int64_t step, int64_t count,
               float* to, int64_t to_row) {
  const Source from = p.b + (block * p.b_batch + k * p.b_row + source * p.b_col);
  if (from.dtype == DType::i8)
    return pack_transposed(from.as<int8_t>(), step * p.b_col, p.scales + block * p.n + source, step, depth, count, to,
                           to_row);
  pack_words<Arithmetic>(from, p.b_row, step * p.b_col, depth, count, to, to_row);
}

// Packs the panels [first, last) of one block for k in [k0, k0 + depth), one after the other.
template <class Arithmetic>
void pack_panels(const Product& p, const Panels& panels, int64_t block, int64_t first, int64_t last, int64_t k0,
                 int64_t depth, float* to) {
  // Row-contiguous b is read in slices of rows over all panels: a single panel would touch a new page with every row.
  const int64_t slice = p.b_col == 1 && p.shuffle == 1 ? 16 : depth, words = ceil_div(depth, Arithmetic::kTerms);
  for (int64_t k = 0; k < depth; k += slice) {
    const int64_t slice_depth = std::min(slice, depth - k);
    float* panel_start = to;
    for (int64_t panel = first; panel < last; ++panel) {
      const int64_t begin = panels.begin(panel), width = panels.width(panel), end = std::min(begin + width, p.n);
      float* panel_to = panel_start + k / Arithmetic::kTerms * width;
      for_each_run(p, block, begin, end, [&](int64_t offset, int64_t count, int64_t source, int64_t step, int64_t) {
        pack_part<Arithmetic>(p, block, k0 + k, slice_depth, source, step, count, panel_to + offset, width);
      });
      if (end < begin + width)
        for (int64_t i = 0; i < ceil_div(slice_depth, Arithmetic::kTerms); ++i)
          std::fill(panel_to + i * width + (end - begin), panel_to + (i + 1) * width, 0.f);
      panel_start += words * width;
    }
  }
}

// One pass over k for a tile of rows and one packed panel.
struct Pass {
  int64_t block, row, rows, panel, k0, depth;
  const float* a;  // packed rows, or null
  const float* b;  // the packed panel
  int64_t b_row;
  bool first, last;
};

template <class Arithmetic>
void run_pass(const Product& p, const Panels& panels, const Pass& s, float* result, int64_t result_row) {
  const int64_t words = ceil_div(s.depth, Arithmetic::kTerms);
  const int64_t begin = panels.begin(s.panel), width = panels.width(s.panel), end = std::min(begin + width, p.n);
  bool direct = !result && !p.rounds() && end == begin + width;
  int64_t target = begin;
  if (direct && p.shuffle > 1)
    for_each_run(p, s.block, begin, end, [&](int64_t, int64_t count, int64_t, int64_t, int64_t to) {
      direct = count == width;
      target = to;
    });
  alignas(64) float buffer[kTileRows * kPanel];
  Tile tile;
  tile.k = words;
  tile.a_row = p.a_row * static_cast<int64_t>(size_of(p.a.dtype));
  tile.b = s.b;
  tile.b_row = s.b_row;
  tile.scale = p.scale;
  tile.stream = direct && s.first && s.last && streams(p);
  const Source a = p.a + (s.block * p.a_batch + s.row * p.a_row + s.k0);
  const int64_t c = output_of(p, s.block) + s.row * p.c_row + target;
  // The next panel's cache lines, divided among this panel's tiles.
  const float* prefetch = s.b + words * s.b_row;
  const int64_t share = std::min(words * 4, round_up(words * width * kTileRows / std::max(s.rows, int64_t{1}), 16));
  for (int64_t i = 0; i < s.rows; i += kTileRows) {
    const int64_t rows = std::min<int64_t>(kTileRows, s.rows - i);
    tile.a = s.a ? reinterpret_cast<const char*>(s.a + i * words) : a.as<char>() + i * tile.a_row;
    tile.prefetch = prefetch + i / kTileRows * share;
    const MicroKernel kernel = micro_kernel_for<Arithmetic>(rows, width / kLanes, s.a != nullptr);
    if (result) {
      tile.c = result + i * result_row;
      tile.c_row = result_row;
      tile.accumulate = !s.first;
      kernel(tile);
    } else if (direct) {
      const int64_t at = c + i * p.c_row;
      tile.c = p.c.as<float>() + at;
      tile.c_row = p.c_row;
      tile.accumulate = !s.first || p.accumulate;
      kernel(tile);
      if (s.last && p.has_epilogue())
        for (int64_t r = 0; r < rows; ++r)
          finish_row<float>(p, tile.c + r * p.c_row, at + r * p.c_row, target, width, false);
    } else {
      tile.c = buffer;
      tile.c_row = width;
      tile.accumulate = false;
      kernel(tile);
      store_tile(p, s.block, s.row + i, rows, begin, end, buffer, width, !s.first || p.accumulate, s.last);
    }
  }
  if (tile.stream) finish_streams();
}

// Where packed b lies when it is shared: block by block, pass by pass, panel by panel.
template <class Arithmetic>
struct SharedPack {
  const float* data = nullptr;
  int64_t first = 0, last = 0;  // panels
  int64_t k0 = 0, k = 0;
  float* at(const Panels& panels, int64_t block, int64_t k_begin, int64_t depth, int64_t panel) const {
    const auto words = [](int64_t elements) { return ceil_div(elements, Arithmetic::kTerms); };
    const int64_t origin = panels.begin(first), width = panels.begin(last) - origin;
    return const_cast<float*>(data) + (block * words(k) + words(k_begin - k0)) * width +
           words(depth) * (panels.begin(panel) - origin);
  }
};

// Computes rows [row, row + rows) of the panels [first, last) of `block`, or of all blocks when interleaving, for
// k in [k0, k1).
template <class Arithmetic>
void run_task(const Product& p, const Blocking<Arithmetic>& blocking, const SharedPack<Arithmetic>* shared,
              int64_t block, int64_t row, int64_t rows, int64_t first, int64_t last, int64_t k0, int64_t k1) {
  const Panels& panels = blocking.panels;
  const int64_t width = panels.begin(last) - panels.begin(first);
  const int64_t row_space = round_up(rows, kTileRows), most_words = blocking.words(blocking.depth);
  Scratch<float> packed_b(shared ? 1 : most_words * width);
  Scratch<float> packed_a(blocking.packed_a ? row_space * most_words : 1);
  const int64_t blocks = p.interleave ? p.batch : 1, result_row = blocks * width;
  Scratch<float> results(blocking.held ? row_space * result_row : 1);
  Scratch<float> line(p.interleave ? p.batch * width : 1);
  // Short products read row-contiguous b in place: packing would cost as much as the product.
  const bool in_place = !shared && p.b.dtype == DType::f32 && p.b_col == 1 && p.shuffle == 1 && rows <= 2 * kTileRows;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t b = p.interleave ? i : block;
    for (int64_t k = k0; k < k1 || k == k0; k += blocking.depth) {
      const int64_t depth = std::min(blocking.depth, k1 - k);
      if (blocking.packed_a)
        pack_rows<Arithmetic>(p.a + (b * p.a_batch + row * p.a_row + k * p.a_col), p.a_row, p.a_col, rows, depth,
                              packed_a.get());
      const bool all_in_place = in_place && panels.begin(last) <= p.n;
      if (!shared && !all_in_place) pack_panels<Arithmetic>(p, panels, b, first, last, k, depth, packed_b.get());
      for (int64_t panel = first; panel < last; ++panel) {
        Pass pass;
        pass.block = b, pass.row = row, pass.rows = rows, pass.panel = panel;
        pass.k0 = k, pass.depth = depth;
        pass.a = blocking.packed_a ? packed_a.get() : nullptr;
        pass.b_row = panels.width(panel);
        if (shared) {
          pass.b = shared->at(panels, b, k, depth, panel);
        } else if (all_in_place) {
          pass.b = p.b.as<float>() + b * p.b_batch + k * p.b_row + panels.begin(panel);
          pass.b_row = p.b_row;
        } else {
          pass.b = packed_b.get() + blocking.words(depth) * (panels.begin(panel) - panels.begin(first));
        }
        pass.first = k == 0;
        pass.last = k + depth >= p.k;
        float* result = blocking.held ? results.get() + i * width + panels.begin(panel) - panels.begin(first) : nullptr;
        run_pass<Arithmetic>(p, panels, pass, result, result_row);
      }
    }
  }
  if (!blocking.held) return;
  const int64_t begin = panels.begin(first), end = std::min(panels.begin(last), p.n);
  if (p.interleave)
    store_interleaved(p, row, rows, begin, end - begin, results.get(), width, result_row, line.get());
  else
    for (int64_t panel = first; panel < last; ++panel)
      store_tile(p, block, row, rows, panels.begin(panel), std::min(panels.begin(panel + 1), p.n),
                 results.get() + panels.begin(panel) - begin, result_row, p.accumulate, true);
}

// Few rows: each task packs its own strip of b into its core's cache and uses it at once.
template <class Arithmetic>
void gemm_own_strips(const Product& p, const Blocking<Arithmetic>& blocking) {
  const int64_t blocks = p.interleave ? 1 : p.batch;
  const int64_t panels = blocking.panels.count;
  int64_t strip = 1;
  if (!p.interleave && p.b_col == 1)
    strip = std::clamp<int64_t>(blocks * panels / (4 * num_threads()), 1, std::min(panels, kStrip));
  const int64_t strips = ceil_div(panels, strip);
  // Rows are divided only when there are more threads than strips.
  const int64_t parts =
      std::clamp<int64_t>(num_threads() / (blocks * strips), 1, std::max<int64_t>(1, p.m / (4 * kTileRows)));
  const int64_t rows = round_up(ceil_div(p.m, parts), kTileRows);
  parallel_for(blocks * strips * parts, [&](int64_t task) {
    const int64_t part = task % parts, s = task / parts % strips, block = task / parts / strips;
    if (part * rows >= p.m) return;
    run_task<Arithmetic>(p, blocking, nullptr, block, part * rows, std::min(rows, p.m - part * rows), s * strip,
                         std::min(panels, s * strip + strip), 0, p.k);
  });
}

// Many rows: b is packed once, in parallel, then tasks of row chunks and strips share it.
template <class Arithmetic>
void gemm_shared_pack(const Product& p, const Blocking<Arithmetic>& blocking) {
  const Panels& panels = blocking.panels;
  const int64_t blocks = p.interleave ? 1 : p.batch;
  // A very deep product is divided along k, a very wide one along its panels.
  const int64_t k_step = blocking.held ? p.k : std::min(p.k, blocking.depth * 8);
  const int64_t panel_step = std::clamp<int64_t>(
      kSharedPack / std::max<int64_t>(1, blocking.words(k_step) * kPanel * p.batch), 1, panels.count);
  Scratch<float> packed(p.batch * blocking.words(k_step) * panel_step * kPanel + 16);
  for (int64_t first = 0; first < panels.count; first += panel_step) {
    const int64_t last = std::min(panels.count, first + panel_step);
    for (int64_t k0 = 0; k0 < p.k || k0 == 0; k0 += k_step) {
      const int64_t k1 = std::min(p.k, k0 + k_step), passes = ceil_div(k1 - k0, blocking.depth);
      const SharedPack<Arithmetic> shared{packed.get(), first, last, k0, k1 - k0};
      const int64_t pack_strip = p.b_col == 1 ? std::min(kStrip, last - first) : 1;
      const int64_t pack_strips = ceil_div(last - first, pack_strip);
      parallel_for(p.batch * passes * pack_strips, [&](int64_t task) {
        const int64_t s = first + task % pack_strips * pack_strip;
        const int64_t k = k0 + task / pack_strips % passes * blocking.depth;
        const int64_t block = task / pack_strips / passes, depth = std::min(blocking.depth, k1 - k);
        pack_panels<Arithmetic>(p, panels, block, s, std::min(last, s + pack_strip), k, depth,
                                shared.at(panels, block, k, depth, s));
      });
      int64_t strip = p.interleave ? 1 : kStrip;
      // Packing a's rows pays when many panels use them.
      if (blocking.packed_a) strip = last - first;
      while (strip > 1 && blocks * blocking.row_chunks * ceil_div(last - first, strip) < 4 * num_threads())
        strip = (strip + 1) / 2;
      const int64_t strips = ceil_div(last - first, strip);
      parallel_for(blocks * strips * blocking.row_chunks, [&](int64_t task) {
        const int64_t row = task % blocking.row_chunks * blocking.rows;
        const int64_t s = first + task / blocking.row_chunks % strips * strip;
        run_task(p, blocking, &shared, task / blocking.row_chunks / strips, row, std::min(blocking.rows, p.m - row), s,
                 std::min(last, s + strip), k0, k1);
      });
    }
  }
}

template <class Arithmetic>
void gemm_by(const Product& p) {
  const Blocking<Arithmetic> blocking(p);
  if (blocking.row_chunks == 1)
    gemm_own_strips(p, blocking);
  else
    gemm_shared_pack(p, blocking);
}

inline void gemm(const Product& p) {
  if (p.m == 0 || p.n == 0 || p.batch == 0) return;
  count_flops(2 * p.batch * p.m * p.n * p.k);
  if (is_skinny(p)) return skinny_product(p);
#ifdef SFFN_PAIRS
  if (p.a.dtype == DType::bf16 && p.b.dtype == DType::bf16) return gemm_by<PairProduct>(p);
#endif
  gemm_by<FloatProduct>(p);
}
