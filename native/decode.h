// The operands of decode_step, for every backend.
#pragma once

#include <string>
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
  int64_t page_elements() const { return layers * kv_heads * 2 * page_tokens * head_size; }
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

  // `sequences` as in kernels.def. Throws Error("ERR_RANGE") for an id outside the vocabulary, and for numbers that do
  // not fit the other operands: all of them become addresses.
  DecodeBatch(const DecodeModel& model, Views pages, Ints ids, Ints sequences, View logits) {
    const DecodeShape& shape = model.shape;
    check(sequences.size() <= INT32_MAX, "too many numbers");
    const int64_t most = model.positions ? model.positions.size / shape.width : INT32_MAX;
    const int64_t new_tokens = static_cast<int64_t>(ids.size()), numbers = static_cast<int64_t>(sequences.size());
    for (int64_t at = 0; at < numbers;) {
      check(numbers - at >= 3, "a sequence without its three numbers");
      const int32_t* const of = sequences.data() + at;
      const int64_t cached = of[0], count = of[1], rows = of[2];
      check(cached >= 0 && count >= 0 && cached + count <= most, "a sequence longer than the context");
      check(count <= new_tokens - static_cast<int64_t>(tokens.size()), "more new tokens than ids");
      check(rows >= 0 && rows <= count, "more rows of logits than new tokens");
      const int64_t places = shape.pages_of(cached + count);
      check(places <= numbers - at - 3, "a sequence without its pages");
      for (int64_t place = 0; place < places; ++place) check_page(shape, pages, of[3 + place]);
      for (int64_t i = 0; i < count; ++i) {
        if (i >= count - rows) wanted.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back({cached + i, of + 3});
      }
      at += 3 + places;
    }
    check(static_cast<int64_t>(tokens.size()) == new_tokens, "more ids than new tokens");
    check(static_cast<int64_t>(wanted.size()) * shape.vocabulary <= logits.size,
          "more rows of logits than there is room for");
    for (const int32_t id : ids)
      if (id < 0 || id >= shape.vocabulary)
        throw Error("ERR_RANGE", "decode_step: id " + std::to_string(id) + " is not in the vocabulary of " +
                                     std::to_string(shape.vocabulary));
  }

 private:
  static void check(bool fits, const char* otherwise) {
    if (!fits) throw Error("ERR_RANGE", std::string("decode_step: ") + otherwise);
  }

  static void check_page(const DecodeShape& shape, Views pages, int64_t page) {
    check(page >= 0 && page < static_cast<int64_t>(pages.size()), "a page that is not there");
    check(pages[static_cast<size_t>(page)].size >= shape.page_elements(), "a page that is too small");
  }
};

// For kinds of devices without products of int8 rows.
[[noreturn]] inline void refuse_int8_rows(const std::string& where) {
  throw Error("ERR_DEVICE", where + ": rows are rounded to int8 only on the CPU");
}

}  // namespace sffn
