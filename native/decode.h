// The operands of decode_step, as native/kernels.def lays them out, for every backend.
#pragma once

#include <vector>

#include "tensor.h"

namespace sffn {

struct DecodeShape {
  int64_t vocabulary, width, layers, heads, kv_heads, head_size, norm, activation, page_tokens;

  int64_t qkv() const { return (heads + 2 * kv_heads) * head_size; }
  int64_t attention() const { return heads * head_size; }
  int64_t pages_of(int64_t tokens) const { return (tokens + page_tokens - 1) / page_tokens; }
};

// [blocks, rows, k] of one factor; `scales` [blocks·rows] for i8.
struct DecodeMatrix {
  View weights;
  const float* scales;
  int64_t blocks, rows, k;

  int64_t features() const { return blocks * rows; }
};

struct DecodeLayer {
  View v, v_scales, u, u_scales, bias;
  Ints dims;  // {K, q, p, L, s, r, inner activation}

  DecodeMatrix first() const { return {v, v_scales.f32(), dims[0], dims[1], dims[2]}; }
  DecodeMatrix second() const { return {u, u_scales.f32(), dims[3], dims[4], dims[5]}; }
  int64_t in() const { return v ? int64_t{dims[0]} * dims[2] : dims[5]; }
  int64_t hidden() const { return v ? int64_t{dims[0]} * dims[1] : 0; }
  int64_t out() const { return int64_t{dims[3]} * dims[4]; }
  int64_t inner() const { return dims[6]; }
};

struct DecodeNorm {
  View weight, bias;
};

class DecodeModel {
 public:
  // The linear layers of a layer of the model.
  enum Place { kQkv, kOut, kFc1, kFc2 };

  DecodeModel(Views weights, Ints sizes, double eps)
      : shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7], sizes[8]},
        eps(eps),
        weights_(weights),
        sizes_(sizes) {}

  View embedding() const { return weights_[0]; }
  View embedding_scales() const { return weights_[1]; }
  DecodeNorm final_norm() const { return {weights_[2], weights_[3]}; }
  View head() const { return weights_[4]; }
  View head_scales() const { return weights_[5]; }
  View positions() const { return weights_[6]; }  // [context, width], or empty
  DecodeNorm norm1(int64_t layer) const { return {of(layer, 0), of(layer, 1)}; }
  DecodeNorm norm2(int64_t layer) const { return {of(layer, 12), of(layer, 13)}; }
  // Of each head [head_size], both or neither.
  View query_norm(int64_t layer) const { return of(layer, 24); }
  View key_norm(int64_t layer) const { return of(layer, 25); }

  DecodeLayer linear(int64_t layer, Place place) const {
    constexpr int64_t kFirst[] = {2, 7, 14, 19}, kDims = 7;
    const int64_t at = kFirst[place];
    return {of(layer, at),     of(layer, at + 1),
            of(layer, at + 2), of(layer, at + 3),
            of(layer, at + 4), sizes_.subspan(static_cast<size_t>(kShape + (layer * 4 + place) * kDims), kDims)};
  }
  // Columns between the two layers of a feedforward network, after the activation.
  int64_t ffn_width(int64_t layer) const {
    constexpr int64_t kSwiglu = 4;
    const int64_t out = linear(layer, kFc1).out();
    return shape.activation == kSwiglu ? out / 2 : out;
  }

  const DecodeShape shape;
  const double eps;

 private:
  static constexpr int64_t kShape = 9, kShared = 7, kOfLayer = 26;  // entries of `shape` and `weights`

  const View& of(int64_t layer, int64_t index) const {
    return weights_[static_cast<size_t>(kShared + layer * kOfLayer + index)];
  }

  Views weights_;
  Ints sizes_;
};

// A new token: its place in its sequence, and the sequence's pages.
struct DecodeToken {
  int64_t position;
  const int32_t* pages;
};

struct DecodeBatch {
  std::vector<DecodeToken> tokens;
  std::vector<int32_t> wanted;  // rows of the tokens whose logits are asked for

  DecodeBatch(Ints sequences, const DecodeShape& shape) {
    for (size_t at = 0; at < sequences.size();) {
      const int64_t cached = sequences[at], count = sequences[at + 1], logits = sequences[at + 2];
      const int32_t* pages = sequences.data() + at + 3;
      for (int64_t i = 0; i < count; ++i) {
        if (i >= count - logits) wanted.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back({cached + i, pages});
      }
      at += static_cast<size_t>(3 + shape.pages_of(cached + count));
    }
  }
};

// Throws Error("ERR_RANGE") for an id outside the vocabulary.
inline void check_decode_ids(Ints ids, const DecodeShape& shape) {
  for (const int32_t id : ids)
    if (id < 0 || id >= shape.vocabulary)
      throw Error("ERR_RANGE", "decode_step: id " + std::to_string(id) + " is not in the vocabulary of " +
                                   std::to_string(shape.vocabulary));
}

}  // namespace sffn
