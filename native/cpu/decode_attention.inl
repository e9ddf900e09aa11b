// Causal attention of new tokens over the keys and values in a sequence's pages. T: the type of their elements, float
// or uint16_t (bfloat16), which is rounded as it is stored and widened in registers. All arithmetic is in float.

// One layer's keys, or values, of one head in a page.
template <class T>
T* page_of(const DecodeShape& s, Views pages, int64_t page, int64_t layer, int64_t head, int64_t values) {
  return pages[static_cast<size_t>(page)].as<T>() +
         ((layer * s.kv_heads + head) * 2 + values) * s.page_tokens * s.head_size;
}

// Rotates queries in place, scaled for the scores, and puts keys and values into their pages.
template <class T>
void cache_tokens(const DecodeShape& s, const std::vector<DecodeToken>& tokens, Views pages, int64_t layer,
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
        rotate(key, page_of<T>(s, pages, page, layer, head, 0) + at, s.head_size, rotary, t, 1);
        const float* value = key + s.kv_heads * s.head_size;
        T* to = page_of<T>(s, pages, page, layer, head, 1) + at;
        for_vectors(0, s.head_size, [&](int64_t i, auto part) { store(to + i, load(value + i, part), part); });
      }
    }
  });
}

// A page has a few kilobytes of each head. That is too short a run for the processor to fetch ahead by itself. So both
// passes read memory in order and prefetch the `next` run into the second-level cache, which can wait for more lines at
// once than the first: 22 GB/s on two cores, 12 without.

// scores[i] = q · keys[i]; a page is whole vectors of tokens, so a few scores past the last key may be computed too.
template <class T>
void page_scores(const float* q, const T* keys, const T* next, int64_t count, int64_t head_size, float* scores) {
  for (int64_t t = 0; t < count; t += kLanes) {
    Vec sums[kLanes];
    SFFN_UNROLL for (int j = 0; j < kLanes; ++j) {
      const int64_t at = (t + j) * head_size;
      Vec total{};
      for_vectors(
          0, head_size, [&](int64_t i, auto part) __attribute__((always_inline)) {
            __builtin_prefetch(next + at + i, 0, 2);
            total += load(q + i, part) * load(keys + at + i, part);
          });
      sums[j] = total;
    }
    store(scores + t, sums_of<kLanes>(sums));
  }
}

// y[i] += Σ weights[t] · values[t][i] for kVectors vectors, the last one `part` of a vector.
template <int kVectors, class T, class Last>
void add_values(const float* weights, const T* values, const T* next, int64_t count, int64_t head_size, float* y,
                Last part) {
  const auto load_at = [&](const auto* p, int i) __attribute__((always_inline)) {
    return i + 1 < kVectors ? load(p + i * kLanes, Full{}) : load(p + i * kLanes, part);
  };
  Vec sums[kVectors];
  SFFN_UNROLL for (int i = 0; i < kVectors; ++i) sums[i] = load_at(y, i);
  for (int64_t t = 0; t < count; ++t) {
    SFFN_UNROLL for (int i = 0; i < kVectors; ++i) {
      __builtin_prefetch(next + t * head_size + i * kLanes, 0, 2);
      sums[i] += load_at(values + t * head_size, i) * weights[t];
    }
  }
  SFFN_UNROLL for (int i = 0; i + 1 < kVectors; ++i) store(y + i * kLanes, sums[i]);
  store(y + (kVectors - 1) * kLanes, sums[kVectors - 1], part);
}

template <class T>
void add_page_values(const float* weights, const T* values, const T* next, int64_t count, int64_t head_size, float* y) {
  constexpr int kAtOnce = 4;  // independent sums: an FMA takes as many cycles
  int64_t i = 0;
  for (; i + kAtOnce * kLanes <= head_size; i += kAtOnce * kLanes)
    add_values<kAtOnce>(weights, values + i, next + i, count, head_size, y + i, Full{});
  for (; i + kLanes <= head_size; i += kLanes)
    add_values<1>(weights, values + i, next + i, count, head_size, y + i, Full{});
  if (i < head_size) add_values<1>(weights, values + i, next + i, count, head_size, y + i, Part{head_size - i});
}

// y [head_size] of one query over the tokens 0 .. position.
template <class T>
void attend(const DecodeShape& s, const DecodeToken& token, Views pages, int64_t layer, int64_t head, const float* q,
            float* y, float* scores) {
  const int64_t count = token.position + 1;
  const int64_t last = token.position / s.page_tokens;
  // Keys (0) or values (1) of a page, from its place in the sequence; after the last keys come the first values.
  const auto at = [&](int64_t place, int64_t values) {
    if (place > last) place = 0, values = 1;
    return page_of<T>(s, pages, token.pages[place], layer, head, values);
  };
  const auto for_pages = [&](auto body) {
    for (int64_t place = 0; place <= last; ++place)
      body(place, place * s.page_tokens, std::min(s.page_tokens, count - place * s.page_tokens));
  };
  for_pages([&](int64_t place, int64_t t, int64_t tokens) {
    page_scores(q, at(place, 0), at(place + 1, 0), tokens, s.head_size, scores + t);
  });
  float most = scores[0];
  for (int64_t t = 1; t < count; ++t) most = std::max(most, scores[t]);
  Vec total{};
  for_vectors(0, count, [&](int64_t t, auto part) {
    store(scores + t, exp(load(scores + t, part) - most), part);
    total += load(scores + t, part);
  });
  std::fill(y, y + s.head_size, 0.f);
  for_pages([&](int64_t place, int64_t t, int64_t tokens) {
    add_page_values(scores + t, at(place, 1), at(place + 1, 1), tokens, s.head_size, y);
  });
  const float inverse = 1 / sum(total);
  for_vectors(0, s.head_size, [&](int64_t i, auto part) { store(y + i, load(y + i, part) * inverse, part); });
}

// y [tokens, heads·head_size] from qkv after cache_tokens.
template <class T>
void decode_attention(const DecodeShape& s, const std::vector<DecodeToken>& tokens, Views pages, int64_t layer,
                      const float* qkv, float* y) {
  int64_t longest = 0;
  for (const DecodeToken& token : tokens) longest = std::max(longest, token.position + 1);
  const int64_t group = s.heads / s.kv_heads;
  for_tasks(static_cast<int64_t>(tokens.size()) * s.kv_heads, longest * s.head_size * 2, [&](int64_t task) {
    const int64_t t = task / s.kv_heads, kv_head = task % s.kv_heads;
    const DecodeToken& token = tokens[static_cast<size_t>(t)];
    Scratch<float> scores(round_up(token.position + 1, s.page_tokens));
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
      attend<T>(s, token, pages, layer, kv_head, qkv + t * s.qkv() + head * s.head_size,
                y + t * s.attention() + head * s.head_size, scores.get());
  });
}
