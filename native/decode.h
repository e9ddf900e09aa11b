// The operands of decode_step, for every backend.
#pragma once

#include <vector>

#include "tensor.h"

namespace sffn {

struct DecodeShape {
  int64_t vocabulary, width, layers, heads, kv_heads, head_size, norm;
  Activation activation;
  int64_t page_tokens;
  bool int8_rows;

  int64_t qkv() const { return (heads + 2 * kv_heads) * head_size; }
  int64_t attention() const { return heads * head_size; }
  int64_t pages_of(int64_t tokens) const { return (tokens + page_tokens - 1) / page_tokens; }
};

// [blocks, rows, k] of one factor; `scales` [blocks·rows] for i8.
struct DecodeMatrix {
  View weights;
  const float* scales;
  int64_t blocks, rows, k;
  bool int8_rows;  // rows that meet int8 weights are rounded to int8

  int64_t features() const { return blocks * rows; }
};

struct DecodeLayer {
  View v, v_scales, u, u_scales, bias;
  Ints dims;  // {K, q, p, L, s, r, inner activation}
  bool int8_rows;

  DecodeMatrix first() const { return {v, v_scales.f32(), dims[0], dims[1], dims[2], int8_rows}; }
  DecodeMatrix second() const { return {u, u_scales.f32(), dims[3], dims[4], dims[5], int8_rows}; }
  int64_t hidden() const { return v ? int64_t{dims[0]} * dims[1] : 0; }
  int64_t out() const { return int64_t{dims[3]} * dims[4]; }
  Activation inner() const { return static_cast<Activation>(dims[6]); }
};

struct DecodeNorm {
  View weight, bias;
};

struct DecodeBlock {
  DecodeNorm norm1;
  DecodeLayer qkv, out;
  DecodeNorm norm2;
  DecodeLayer fc1, fc2;
  View query_norm, key_norm;  // of each head [head_size], both or neither
};

// A bound model: its weights and `shape`, laid out as in kernels.def, checked and split into layers once.
class DecodeModel {
 public:
  // Throws Error for weights that are missing, too many, of a wrong element type or size, or on several devices, and
  // for sizes that do not fit together.
  DecodeModel(Views weights, Ints sizes, double eps, double rotary_base);
  DecodeModel(const DecodeModel&) = delete;  // layers point into dims_

  // Columns between the two layers of a feedforward network, after the activation.
  int64_t ffn_width(const DecodeBlock& block) const {
    return shape.activation == Activation::swiglu ? block.fc1.out() / 2 : block.fc1.out();
  }

  const DecodeShape shape;
  const double eps, rotary_base;
  View embedding, embedding_scales;
  DecodeNorm final_norm;
  DecodeLayer head;
  View positions;  // [context, width], or empty
  std::vector<DecodeBlock> blocks;
  // Models with the same numbers here compute the same from the same memory.
  std::vector<int64_t> identity;

 private:
  std::vector<int32_t> dims_;
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

// For kinds of devices without products of int8 rows.
[[noreturn]] inline void refuse_int8_rows(const std::string& where) {
  throw Error("ERR_DEVICE", where + ": rows are rounded to int8 only on the CPU");
}

// Throws Error("ERR_RANGE") for an id outside the vocabulary.
inline void check_decode_ids(Ints ids, const DecodeShape& shape) {
  for (const int32_t id : ids)
    if (id < 0 || id >= shape.vocabulary)
      throw Error("ERR_RANGE", "decode_step: id " + std::to_string(id) + " is not in the vocabulary of " +
                                   std::to_string(shape.vocabulary));
}

}  // namespace sffn
