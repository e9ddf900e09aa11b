// Causal attention of new tokens over the keys and values in their sequences' pages.
#pragma once

#include "../../decode.h"
#include "../rotary.cuh"

namespace sffn::cuda {

// The inputs that change with every step, on the device: one array, filled by one copy.
struct DecodeInputs {
  const int64_t* ids;        // [n]
  const int64_t* positions;  // [n]
  const int64_t* tables;     // [n]: where the token's sequence begins in `pages`
  const int64_t* wanted;     // [m]: rows whose logits are asked for
  float* const* pages;
};

// A head's context is cut into parts that are summed side by side. Their number must not depend on the positions of a
// step, or its graph could not be used again.
constexpr int kContextPart = 256;
inline int context_parts(int64_t tokens) { return static_cast<int>(ceil_div(tokens, kContextPart)); }
// Floats of scratch for the sums of the parts.
int64_t attention_space(const DecodeShape& shape, int64_t n, int parts);

// Rotates queries in place, scaled for the scores, and puts keys and values into their pages.
void cache_tokens(const DecodeShape& shape, const DecodeInputs& inputs, int64_t n, int64_t layer, const Rotary& rotary,
                  float* qkv);
// y [n, heads·head_size] from qkv after cache_tokens.
void decode_attention(const DecodeShape& shape, const DecodeInputs& inputs, int64_t n, int64_t layer, int parts,
                      const float* qkv, float* space, float* y);

}  // namespace sffn::cuda
