// One call for a whole model: the layers one after the other on the new tokens of all sequences.

constexpr int64_t kDecodeShape = 9, kDecodeShared = 4, kDecodeOfLayer = 24;  // entries of `shape` and `weights`

struct DecodeModel {
  DecodeShape shape;
  Views weights;
  Ints sizes;
  double eps;

  DecodeModel(Views weights, Ints sizes, double eps)
      : shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7], sizes[8]},
        weights(weights),
        sizes(sizes),
        eps(eps) {}

  const View& of(int64_t layer, int64_t index) const {
    return weights[static_cast<size_t>(kDecodeShared + layer * kDecodeOfLayer + index)];
  }
  // `index`: of v in the layer; `place`: which of the layer's four.
  DecodeLayer linear(int64_t layer, int64_t index, int64_t place) const {
    return {of(layer, index),     of(layer, index + 1),
            of(layer, index + 2), of(layer, index + 3),
            of(layer, index + 4), sizes.subspan(static_cast<size_t>(kDecodeShape + (layer * 4 + place) * 6), 6)};
  }
  void norm(const View& weight, const View& bias, float* x, float* y, int64_t n) const {
    Scratch<float> mean(n), rstd(n);
    const View from = f32_view(x, n * shape.width), to = f32_view(y, n * shape.width);
    if (shape.norm == 1)
      rms_norm_forward(from, weight, to, f32_view(rstd.get(), n), n, shape.width, eps);
    else
      layer_norm_forward(from, weight, bias, to, f32_view(mean.get(), n), f32_view(rstd.get(), n), n, shape.width, eps);
  }
};

struct DecodeBatch {
  std::vector<DecodeToken> tokens;
  std::vector<int64_t> wanted;  // rows of the tokens whose logits are asked for
};

inline DecodeBatch decode_batch(Ints sequences, int64_t page_tokens) {
  DecodeBatch batch;
  for (size_t at = 0; at < sequences.size();) {
    const int64_t cached = sequences[at], count = sequences[at + 1], wanted = sequences[at + 2];
    const int32_t* pages = sequences.data() + at + 3;
    for (int64_t i = 0; i < count; ++i) {
      if (i >= count - wanted) batch.wanted.push_back(static_cast<int64_t>(batch.tokens.size()));
      batch.tokens.push_back({cached + i, pages});
    }
    at += static_cast<size_t>(3 + ceil_div(cached + count, page_tokens));
  }
  return batch;
}

// cos and sin of the angles of each token's position: as make_rotary, for the few positions there are.
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

inline void embed(const DecodeModel& model, Ints ids, float* x) {
  const View& table = model.weights[0];
  const int64_t width = model.shape.width;
  for (size_t t = 0; t < ids.size(); ++t) {
    const int64_t id = ids[t];
    if (id < 0 || id >= model.shape.vocabulary)
      throw Error("ERR_RANGE", "decode_step: id " + std::to_string(id) + " is not in the vocabulary of " +
                                   std::to_string(model.shape.vocabulary));
    float* to = x + static_cast<int64_t>(t) * width;
    if (table.dtype == DType::f32)
      std::copy_n(table.f32() + id * width, width, to);
    else if (table.dtype == DType::bf16)
      widen_rows(table.bf16() + id * width, nullptr, to, 1, width);
    else
      widen_rows(table.i8() + id * width, model.weights[1].f32() + id, to, 1, width);
  }
}

inline int64_t ffn_width(const DecodeModel& model, int64_t layer) {
  const int64_t out = model.linear(layer, 14, 2).out();
  return model.shape.activation == kSwiglu ? out / 2 : out;
}

inline void decode_layer(const DecodeModel& model, const DecodeBatch& batch, Views pages, const Rotary& rotary,
                         int64_t layer, float* x, float* normed, float* qkv, float* attended) {
  const int64_t n = static_cast<int64_t>(batch.tokens.size());
  model.norm(model.of(layer, 0), model.of(layer, 1), x, normed, n);
  apply_decoded(model.linear(layer, 2, 0), normed, qkv, n, kNoActivation, false);
  cache_tokens(model.shape, batch.tokens, pages, layer, rotary, qkv);
  decode_attention(model.shape, batch.tokens, pages, layer, qkv, attended);
  apply_decoded(model.linear(layer, 7, 1), attended, x, n, kNoActivation, true);
  model.norm(model.of(layer, 12), model.of(layer, 13), x, normed, n);
  Scratch<float> hidden(n * ffn_width(model, layer));
  apply_decoded(model.linear(layer, 14, 2), normed, hidden.get(), n, model.shape.activation, false);
  apply_decoded(model.linear(layer, 19, 3), hidden.get(), x, n, kNoActivation, true);
}

inline void decode_logits(const DecodeModel& model, const DecodeBatch& batch, float* x, float* logits) {
  const int64_t n = static_cast<int64_t>(batch.wanted.size()), width = model.shape.width;
  if (n == 0) return;
  Scratch<float> last(n * width), normed(n * width);
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(x + batch.wanted[static_cast<size_t>(i)] * width, width, last.get() + i * width);
  model.norm(model.weights[2], model.weights[3], last.get(), normed.get(), n);
  const int32_t d = static_cast<int32_t>(width);
  const std::array<int32_t, 6> dims = {1, d, d, 1, static_cast<int32_t>(model.shape.vocabulary), d};
  const DecodeLayer head{View{}, View{}, model.weights[0], model.weights[1], View{}, dims};
  apply_decoded(head, normed.get(), logits, n, kNoActivation, false);
}

void decode_step(Views weights, Views pages, Ints ids, Ints sequences, Ints shape, View logits, double eps,
                 double rotary_base) {
  const DecodeModel model(weights, shape, eps);
  const DecodeBatch batch = decode_batch(sequences, model.shape.page_tokens);
  const Rotary rotary = rotary_of(batch.tokens, model.shape.head_size, rotary_base);
  const int64_t n = static_cast<int64_t>(ids.size()), width = model.shape.width;
  Scratch<float> x(n * width), normed(n * width), qkv(n * model.shape.qkv()), attended(n * model.shape.attention());
  embed(model, ids, x.get());
  for (int64_t layer = 0; layer < model.shape.layers; ++layer)
    decode_layer(model, batch, pages, rotary, layer, x.get(), normed.get(), qkv.get(), attended.get());
  decode_logits(model, batch, x.get(), logits.f32());
}
