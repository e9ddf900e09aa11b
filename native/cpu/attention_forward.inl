// Causal attention without the seq x seq matrix. Each task has one block of queries of one head and walks over the
// blocks of keys up to its own. It keeps the running maximum, sum and output of each row (online softmax, Milakov and
// Gimelshein 2018; in blocks, Dao et al. 2022).

// The keys of one key head, transposed in blocks, and its values.
struct PackedKeys {
  const float *kt, *v;
};

// Adds the scores s of kScoreRows rows (stride kScoreBlock) to the running maxima and sums, turns them into weights,
// and rescales the sums of the rows so far. With `mask`, row r sees the columns up to mask_from + r.
inline void online_softmax(float* s, int64_t columns, bool mask, int64_t mask_from, float* top, float* total, float* o,
                           int64_t padded) {
  for (int64_t r = 0; r < kScoreRows; ++r, s += kScoreBlock, o += padded) {
    Vec best = splat(top[r]);
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vec score = load(s + c);
      if (mask) {
        const IntVec hidden = column_numbers(c) > static_cast<int32_t>(mask_from + r);
        score = hidden ? splat(-std::numeric_limits<float>::infinity()) : score;
        store(s + c, score);
      }
      best = max(score, best);
    }
    const float new_top = max_lane(best);
    const float shrink = exp(splat(top[r] - new_top))[0];
    Vec weights{};
    for (int64_t c = 0; c < columns; c += kLanes) {
      const Vec weight = exp(load(s + c) - new_top);
      weights += weight;
      store(s + c, weight);
    }
    top[r] = new_top;
    total[r] = total[r] * shrink + sum(weights);
    for (int64_t i = 0; i < padded; i += kLanes) store(o + i, load(o + i) * shrink);
  }
}

// q and o [kScoreBlock, padded_head]: packed queries, and their outputs (set here, not yet divided by total).
inline void attend_block(const AttentionShape& shape, const float* q, PackedKeys keys, int64_t block, float* o,
                         float* top, float* total) {
  const int64_t padded = shape.padded_head(), rows = round_up(shape.block_rows(block), kScoreRows);
  alignas(64) float scores[kScoreRows * kScoreBlock];
  std::fill(o, o + rows * padded, 0.f);
  std::fill(top, top + rows, -std::numeric_limits<float>::infinity());
  std::fill(total, total + rows, 0.f);
  for (int64_t j = 0; j <= block; ++j) {
    const float *kt = keys.kt + j * padded * kScoreBlock, *v = keys.v + j * kScoreBlock * padded;
    for (int64_t r = 0; r < rows; r += kScoreRows) {
      const bool diagonal = j == block;
      const int64_t visible = diagonal ? r + kScoreRows : kScoreBlock, columns = round_up(visible, kLanes);
      multiply(q + r * padded, padded, 1, kt, kScoreBlock, shape.head_size, scores, kScoreBlock, columns, false);
      online_softmax(scores, columns, diagonal, r, top + r, total + r, o + r * padded, padded);
      multiply(scores, kScoreBlock, 1, v, padded, visible, o + r * padded, padded, padded, true);
    }
  }
}

template <class T>
void attention_forward_of(const T* qkv, T* y, float* lse, int64_t batch, int64_t seq, int64_t heads, int64_t kv_heads,
                          int64_t head_size, double rotary_base) {
  const AttentionShape shape{batch, seq, heads, kv_heads, head_size};
  const int64_t padded = shape.padded_head(), blocks = shape.blocks();
  const Rotary rotary = make_rotary(seq, head_size, rotary_base), none;
  const int64_t packed_size = blocks * kScoreBlock * padded;  // kt [blocks, padded, kScoreBlock]
  Scratch<float> kt(batch * kv_heads * packed_size), v(batch * kv_heads * packed_size);
  const auto pack_keys = [&](int64_t task) {
    const int64_t block = task % blocks, pair = task / blocks, rows = shape.block_rows(block);
    const T* tokens = qkv + (pair / kv_heads * seq + block * kScoreBlock) * shape.width();
    const T* k_at = tokens + (heads + pair % kv_heads) * head_size;
    float* v_rows = v.get() + pair * packed_size + block * kScoreBlock * padded;
    pack_rows(k_at, shape.width(), v_rows, shape, rotary, block * kScoreBlock, rows, 1.f);
    transpose_block(v_rows, kt.get() + pair * packed_size + block * padded * kScoreBlock, shape, rows);
    pack_rows(k_at + kv_heads * head_size, shape.width(), v_rows, shape, none, block * kScoreBlock, rows, 1.f);
  };
  const auto attend = [&](int64_t task) {
    const int64_t block = blocks - 1 - task / (batch * heads);  // the longest rows first
    const int64_t b = task / heads % batch, head = task % heads;
    const int64_t first = block * kScoreBlock, rows = shape.block_rows(block),
                  pair = b * kv_heads + head / shape.group();
    Scratch<float> buffer(2 * kScoreBlock * padded);
    float *q = buffer.get(), *o = q + kScoreBlock * padded;
    float top[kScoreBlock], total[kScoreBlock];
    const T* q_at = qkv + (b * seq + first) * shape.width() + head * head_size;
    pack_rows(q_at, shape.width(), q, shape, rotary, first, rows, shape.scale());
    attend_block(shape, q, {kt.get() + pair * packed_size, v.get() + pair * packed_size}, block, o, top, total);
    for (int64_t r = 0; r < rows; ++r) {
      T* to = y + ((b * seq + first + r) * heads + head) * head_size;
      const float factor = 1.f / total[r];
      for_vectors(0, head_size,
                  [&](int64_t i, auto part) { store(to + i, load(o + r * padded + i, part) * factor, part); });
      lse[(b * heads + head) * seq + first + r] = top[r] + std::log(total[r]);
    }
  };
  // Short sequences give many small tasks: a thread takes several at once, or all run here.
  const int64_t pack_work = shape.block_rows(0) * padded, attend_work = shape.block_rows(0) * seq * padded / 32;
  for_tasks(batch * kv_heads * blocks, pack_work, pack_keys);
  for_tasks(batch * heads * blocks, attend_work, attend);
}

void attention_forward(View qkv, View y, View lse, int64_t batch, int64_t seq, int64_t heads, int64_t kv_heads,
                       int64_t head_size, double rotary_base) {
  with_float(qkv.dtype, [&]<class T>(T) {
    attention_forward_of(qkv.as<const T>(), y.as<T>(), lse.f32(), batch, seq, heads, kv_heads, head_size, rotary_base);
  });
}
