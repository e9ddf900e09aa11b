// One call for a whole model: the layers one after the other on the new tokens of all sequences.

inline View f32_view(float* data, int64_t size) { return {data, size, DType::f32, Device{}}; }

inline void decode_norm(const DecodeModel& model, const DecodeNorm& norm, float* x, float* y, int64_t n) {
  Scratch<float> mean(n), rstd(n);
  const int64_t width = model.shape.width;
  const View from = f32_view(x, n * width), to = f32_view(y, n * width);
  if (model.shape.norm == 1)
    rms_norm_forward(from, norm.weight, to, f32_view(rstd.get(), n), n, width, model.eps);
  else
    layer_norm_forward(from, norm.weight, norm.bias, to, f32_view(mean.get(), n), f32_view(rstd.get(), n), n, width,
                       model.eps);
}

// cos and sin of the angles of each token's position: as make_rotary, for these few positions.
inline Rotary rotary_of(const std::vector<DecodeToken>& tokens, int64_t head_size, double base) {
  if (base == 0) return {};
  const int64_t n = static_cast<int64_t>(tokens.size()), half = head_size / 2;
  Rotary rotary{half, Scratch<float>(n * half), Scratch<float>(n * half)};
  for (int64_t i = 0; i < half; ++i) {
    const double step = std::pow(base, -static_cast<double>(i) / static_cast<double>(half));
    for (int64_t t = 0; t < n; ++t) {
      const double angle = static_cast<double>(tokens[static_cast<size_t>(t)].position) * step;
      rotary.cos[t * half + i] = static_cast<float>(std::cos(angle));
      rotary.sin[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return rotary;
}

inline void embed(const DecodeModel& model, const std::vector<DecodeToken>& tokens, Ints ids, float* x) {
  const View table = model.embedding, positions = model.positions;
  const int64_t width = model.shape.width;
  for (size_t t = 0; t < ids.size(); ++t) {
    const int64_t id = ids[t];
    float* to = x + static_cast<int64_t>(t) * width;
    if (table.dtype == DType::f32)
      std::copy_n(table.f32() + id * width, width, to);
    else if (table.dtype == DType::bf16)
      widen_rows(table.bf16() + id * width, nullptr, to, 1, width);
    else
      widen_rows(table.i8() + id * width, model.embedding_scales.f32() + id, to, 1, width);
    if (!positions) continue;
    const float* position = positions.f32() + tokens[t].position * width;
    for_vectors(0, width,
                [&](int64_t i, auto part) { store(to + i, load(to + i, part) + load(position + i, part), part); });
  }
}

// Normalises each head of the queries and keys of n tokens, in place.
inline void normalize_heads(const DecodeModel& model, const DecodeBlock& block, float* qkv, int64_t n) {
  const DecodeShape& s = model.shape;
  const View queries = block.query_norm, keys = block.key_norm;
  if (!queries) return;
  const int64_t heads = s.heads + s.kv_heads;
  for_tasks(n * heads, s.head_size, [&](int64_t task) {
    const int64_t head = task % heads;
    float* at = qkv + task / heads * s.qkv() + head * s.head_size;
    rms_norm_row(at, (head < s.heads ? queries : keys).f32(), at, s.head_size, model.eps);
  });
}

inline void decode_layer(const DecodeModel& model, const DecodeBatch& batch, Views pages, const Rotary& rotary,
                         int64_t layer, float* x, float* normed, float* qkv, float* attended) {
  const int64_t n = static_cast<int64_t>(batch.tokens.size());
  const DecodeBlock& block = model.blocks[static_cast<size_t>(layer)];
  decode_norm(model, block.norm1, x, normed, n);
  apply_decoded(block.qkv, normed, qkv, n, Activation::none, false);
  normalize_heads(model, block, qkv, n);
  with_float(pages.front().dtype, [&]<class T>(T) {
    cache_tokens<T>(model.shape, batch.tokens, pages, layer, rotary, qkv);
    decode_attention<T>(model.shape, batch.tokens, pages, layer, qkv, attended);
  });
  apply_decoded(block.out, attended, x, n, Activation::none, true);
  decode_norm(model, block.norm2, x, normed, n);
  Scratch<float> hidden(n * model.ffn_width(block));
  apply_decoded(block.fc1, normed, hidden.get(), n, model.shape.activation, false);
  apply_decoded(block.fc2, hidden.get(), x, n, Activation::none, true);
}

inline void decode_logits(const DecodeModel& model, const DecodeBatch& batch, float* x, float* logits) {
  const int64_t n = static_cast<int64_t>(batch.wanted.size()), width = model.shape.width;
  if (n == 0) return;
  Scratch<float> last(n * width), normed(n * width);
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(x + int64_t{batch.wanted[static_cast<size_t>(i)]} * width, width, last.get() + i * width);
  decode_norm(model, model.final_norm, last.get(), normed.get(), n);
  apply_decoded(model.head, normed.get(), logits, n, Activation::none, false);
}

void decode_step(const DecodeModel& model, Views pages, Ints ids, Ints sequences, View logits) {
  const DecodeBatch batch(model, pages, ids, sequences, logits);
  if (ids.empty()) return;
  const Rotary rotary = rotary_of(batch.tokens, model.shape.head_size, model.rotary_base);
  const int64_t n = static_cast<int64_t>(ids.size()), width = model.shape.width;
  Scratch<float> x(n * width), normed(n * width), qkv(n * model.shape.qkv()), attended(n * model.shape.attention());
  embed(model, batch.tokens, ids, x.get());
  for (int64_t layer = 0; layer < model.shape.layers; ++layer)
    decode_layer(model, batch, pages, rotary, layer, x.get(), normed.get(), qkv.get(), attended.get());
  decode_logits(model, batch, x.get(), logits.f32());
}
