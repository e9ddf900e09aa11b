// The gradient of causal attention. With P = exp(S − lse) computed anew block by block and delta = Σ dy·y of each row:
//   dV = Pᵀ dY,  dP = dY Vᵀ,  dS = P ∘ (dP − delta),  dQ = dS K,  dK = dSᵀ Q.
// A task has one key head and all query heads of its group, so that every sum has one owner and one order.

// One head's packed operands and gradients, [padded seq, padded_head] each; kt and vt [blocks, padded_head,
// kScoreBlock].
struct HeadBuffers {
  Scratch<float> q, dy, dq, k, dk, dv, kt, vt, lse, delta;

  explicit HeadBuffers(const AttentionShape& shape) {
    const int64_t positions = shape.blocks() * kScoreBlock;
    for (Scratch<float>* rows : {&q, &dy, &dq, &k, &dk, &dv}) *rows = Scratch<float>(positions * shape.padded_head());
    for (Scratch<float>* transposed : {&kt, &vt}) *transposed = Scratch<float>(positions * shape.padded_head());
    for (Scratch<float>* column : {&lse, &delta}) *column = Scratch<float>(positions);
  }
};

// s becomes P and dp becomes dS, for kScoreRows rows of `columns` columns; the mask is that of online_softmax.
inline void softmax_gradient(float* s, float* dp, int64_t columns, bool mask, int64_t mask_from, const float* lse,
                             const float* delta) {
  for (int64_t r = 0; r < kScoreRows; ++r, s += kScoreBlock, dp += kScoreBlock) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vec p = exp(load(s + c) - lse[r]);
      if (mask) p = column_numbers(c) > static_cast<int32_t>(mask_from + r) ? Vec{} : p;
      store(s + c, p);
      store(dp + c, p * (load(dp + c) - delta[r]));
    }
  }
}

// Adds what queries of block i and keys of block j (j <= i) give to dq, dk and dv.
inline void backward_block(const AttentionShape& shape, const HeadBuffers& at, int64_t i, int64_t j) {
  const int64_t padded = shape.padded_head(), head_size = shape.head_size;
  const int64_t query = i * kScoreBlock * padded, key = j * kScoreBlock * padded;
  const int64_t rows = round_up(shape.block_rows(i), kScoreRows), keys = round_up(shape.block_rows(j), kScoreRows);
  const float *kt = at.kt.get() + j * padded * kScoreBlock, *vt = at.vt.get() + j * padded * kScoreBlock;
  const bool diagonal = i == j;
  alignas(64) float p[kScoreBlock * kScoreBlock], ds[kScoreBlock * kScoreBlock];
  for (int64_t r = 0; r < rows; r += kScoreRows) {
    const int64_t visible = diagonal ? r + kScoreRows : kScoreBlock, columns = round_up(visible, kLanes);
    const int64_t row = query + r * padded;
    float *p_at = p + r * kScoreBlock, *ds_at = ds + r * kScoreBlock;
    multiply(at.q.get() + row, padded, 1, kt, kScoreBlock, head_size, p_at, kScoreBlock, columns, false);
    multiply(at.dy.get() + row, padded, 1, vt, kScoreBlock, head_size, ds_at, kScoreBlock, columns, false);
    softmax_gradient(p_at, ds_at, columns, diagonal, r, at.lse.get() + i * kScoreBlock + r,
                     at.delta.get() + i * kScoreBlock + r);
    multiply(ds_at, kScoreBlock, 1, at.k.get() + key, padded, visible, at.dq.get() + row, padded, padded, true);
  }
  for (int64_t c = 0; c < keys; c += kScoreRows) {
    const int64_t from = diagonal ? c : 0;  // rows above do not see these columns
    const int64_t row = query + from * padded, column = key + c * padded;
    multiply(p + from * kScoreBlock + c, 1, kScoreBlock, at.dy.get() + row, padded, rows - from, at.dv.get() + column,
             padded, padded, true);
    multiply(ds + from * kScoreBlock + c, 1, kScoreBlock, at.q.get() + row, padded, rows - from, at.dk.get() + column,
             padded, padded, true);
  }
}

template <class T>
void attention_backward_of(const T* dy, const T* qkv, const T* y, const float* lse, T* dqkv, int64_t batch, int64_t seq,
                           int64_t heads, int64_t kv_heads, int64_t head_size, double rotary_base) {
  const AttentionShape shape{batch, seq, heads, kv_heads, head_size};
  const int64_t padded = shape.padded_head(), width = shape.width(), blocks = shape.blocks();
  const Rotary rotary = make_rotary(seq, head_size, rotary_base), none;
  parallel_for(batch * kv_heads, [&](int64_t task) {
    const int64_t b = task / kv_heads, kv = task % kv_heads;
    const HeadBuffers at(shape);
    const T* k_from = qkv + b * seq * width + (heads + kv) * head_size;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = block * kScoreBlock, rows = shape.block_rows(block);
      float *k = at.k.get() + first * padded, *v = at.dv.get() + first * padded;  // dv is written only later
      pack_rows(k_from + first * width, width, k, shape, rotary, first, rows, 1.f);
      transpose_block(k, at.kt.get() + first * padded, shape, rows);
      pack_rows(k_from + first * width + kv_heads * head_size, width, v, shape, none, first, rows, 1.f);
      transpose_block(v, at.vt.get() + first * padded, shape, rows);
    }
    std::fill(at.dk.get(), at.dk.get() + blocks * kScoreBlock * padded, 0.f);
    std::fill(at.dv.get(), at.dv.get() + blocks * kScoreBlock * padded, 0.f);
    for (int64_t head = kv * shape.group(); head < (kv + 1) * shape.group(); ++head) {
      const T* q_from = qkv + b * seq * width + head * head_size;
      const int64_t y_row = heads * head_size, y_from = b * seq * y_row + head * head_size;
      pack_rows(q_from, width, at.q.get(), shape, rotary, 0, seq, shape.scale());
      pack_rows(dy + y_from, y_row, at.dy.get(), shape, none, 0, seq, 1.f);
      std::fill(at.dq.get(), at.dq.get() + blocks * kScoreBlock * padded, 0.f);
      std::fill(at.lse.get() + seq, at.lse.get() + blocks * kScoreBlock, 0.f);
      std::fill(at.delta.get() + seq, at.delta.get() + blocks * kScoreBlock, 0.f);
      std::memcpy(at.lse.get(), lse + (b * heads + head) * seq, static_cast<size_t>(seq) * sizeof(float));
      for (int64_t t = 0; t < seq; ++t) {
        Vec product{};
        for_vectors(0, head_size, [&](int64_t i, auto part) {
          product += load(at.dy.get() + t * padded + i, part) * load(y + y_from + t * y_row + i, part);
        });
        at.delta[t] = sum(product);
      }
      for (int64_t j = 0; j < blocks; ++j)
        for (int64_t i = j; i < blocks; ++i) backward_block(shape, at, i, j);
      T* dq_to = dqkv + b * seq * width + head * head_size;
      for (int64_t t = 0; t < seq; ++t)
        rotate(at.dq.get() + t * padded, dq_to + t * width, head_size, rotary, t, shape.scale(), -1.f);
    }
    T* dk_to = dqkv + b * seq * width + (heads + kv) * head_size;
    for (int64_t t = 0; t < seq; ++t) {
      rotate(at.dk.get() + t * padded, dk_to + t * width, head_size, rotary, t, 1.f, -1.f);
      rotate(at.dv.get() + t * padded, dk_to + t * width + kv_heads * head_size, head_size, none, t, 1.f);
    }
  });
}

void attention_backward(View dy, View qkv, View y, View lse, View dqkv, int64_t batch, int64_t seq, int64_t heads,
                        int64_t kv_heads, int64_t head_size, double rotary_base) {
  with_float(qkv.dtype, [&]<class T>(T) {
    attention_backward_of(dy.as<const T>(), qkv.as<const T>(), y.as<const T>(), lse.f32(), dqkv.as<T>(), batch, seq,
                          heads, kv_heads, head_size, rotary_base);
  });
}
