// Causal attention of new tokens over the keys and values in a sequence's pages.

struct DecodeShape {
  int64_t vocabulary, width, layers, heads, kv_heads, head_size, norm, activation, page_tokens;
  int64_t qkv() const { return (heads + 2 * kv_heads) * head_size; }
  int64_t attention() const { return heads * head_size; }
};

// A new token: its place in its sequence, and the sequence's pages.
struct DecodeToken {
  int64_t position;
  const int32_t* pages;
};

// One layer's keys, or values, of one head in a page.
inline float* page_of(const DecodeShape& s, Views pages, int64_t page, int64_t layer, int64_t head, int64_t values) {
  return pages[static_cast<size_t>(page)].f32() +
         ((layer * s.kv_heads + head) * 2 + values) * s.page_tokens * s.head_size;
}

// Turns queries in place, with the scale of the scores in them, and puts keys and values into their pages.
inline void cache_tokens(const DecodeShape& s, const std::vector<DecodeToken>& tokens, Views pages, int64_t layer,
                         const Rotary& rotary, float* qkv) {
  const float scale = 1.f / std::sqrt(static_cast<float>(s.head_size));
  for_rows(static_cast<int64_t>(tokens.size()), s.qkv(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const DecodeToken& token = tokens[static_cast<size_t>(t)];
      const int64_t page = token.pages[token.position / s.page_tokens];
      const int64_t at = token.position % s.page_tokens * s.head_size;
      float* row = qkv + t * s.qkv();
      for (int64_t head = 0; head < s.heads; ++head)
        rotate(row + head * s.head_size, row + head * s.head_size, s.head_size, rotary, t, scale);
      for (int64_t head = 0; head < s.kv_heads; ++head) {
        const float* key = row + (s.heads + head) * s.head_size;
        rotate(key, page_of(s, pages, page, layer, head, 0) + at, s.head_size, rotary, t, 1);
        std::copy_n(key + s.kv_heads * s.head_size, s.head_size, page_of(s, pages, page, layer, head, 1) + at);
      }
    }
  });
}

// scores[i] = q · keys[i]; a page is whole vectors of tokens, so that the last ones may be computed too many.
inline void page_scores(const float* q, const float* keys, int64_t count, int64_t head_size, float* scores) {
  for (int64_t t = 0; t < count; t += kLanes) {
    Vec sums[kLanes] = {};
    for_vectors(
        0, head_size, [&](int64_t i, auto part) __attribute__((always_inline)) {
          const Vec x = load(q + i, part);
          SFFN_UNROLL for (int j = 0; j < kLanes; ++j) sums[j] += x * load(keys + (t + j) * head_size + i, part);
        });
    store(scores + t, sums_of<kLanes>(sums));
  }
}

// y += Σ weights[t] · values[t].
inline void add_page_values(const float* weights, const float* values, int64_t count, int64_t head_size, float* y) {
  for_vectors(
      0, head_size, [&](int64_t i, auto part) __attribute__((always_inline)) {
        Vec sums[4] = {};  // as many as an FMA takes cycles
        int64_t t = 0;
        for (; t + 4 <= count; t += 4) {
          SFFN_UNROLL for (int j = 0; j < 4; ++j) sums[j] +=
              load(values + (t + j) * head_size + i, part) * weights[t + j];
        }
        for (; t < count; ++t) sums[0] += load(values + t * head_size + i, part) * weights[t];
        store(y + i, load(y + i, part) + ((sums[0] + sums[1]) + (sums[2] + sums[3])), part);
      });
}

// y [head_size] of one query over the tokens 0 .. position.
inline void attend(const DecodeShape& s, const DecodeToken& token, Views pages, int64_t layer, int64_t head,
                   const float* q, float* y, float* scores) {
  const int64_t count = token.position + 1;
  const auto for_pages = [&](auto body) {
    for (int64_t t = 0; t < count; t += s.page_tokens)
      body(t, token.pages[t / s.page_tokens], std::min(s.page_tokens, count - t));
  };
  for_pages([&](int64_t t, int64_t page, int64_t tokens) {
    page_scores(q, page_of(s, pages, page, layer, head, 0), tokens, s.head_size, scores + t);
  });
  float most = scores[0];
  for (int64_t t = 1; t < count; ++t) most = std::max(most, scores[t]);
  Vec total{};
  for_vectors(0, count, [&](int64_t t, auto part) {
    store(scores + t, exp(load(scores + t, part) - most), part);
    total += load(scores + t, part);
  });
  std::fill(y, y + s.head_size, 0.f);
  for_pages([&](int64_t t, int64_t page, int64_t tokens) {
    add_page_values(scores + t, page_of(s, pages, page, layer, head, 1), tokens, s.head_size, y);
  });
  const float inverse = 1 / sum(total);
  for_vectors(0, s.head_size, [&](int64_t i, auto part) { store(y + i, load(y + i, part) * inverse, part); });
}

// y [tokens, heads·head_size] from qkv after cache_tokens.
inline void decode_attention(const DecodeShape& s, const std::vector<DecodeToken>& tokens, Views pages, int64_t layer,
                             const float* qkv, float* y) {
  int64_t longest = 0;
  for (const DecodeToken& token : tokens) longest = std::max(longest, token.position + 1);
  const int64_t group = s.heads / s.kv_heads;
  for_tasks(static_cast<int64_t>(tokens.size()) * s.kv_heads, longest * s.head_size * 2, [&](int64_t task) {
    const int64_t t = task / s.kv_heads, kv_head = task % s.kv_heads;
    const DecodeToken& token = tokens[static_cast<size_t>(t)];
    Scratch<float> scores(round_up(token.position + 1, s.page_tokens));
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
      attend(s, token, pages, layer, kv_head, qkv + t * s.qkv() + head * s.head_size,
             y + t * s.attention() + head * s.head_size, scores.get());
  });
}
