// Linear layers on the rows of a decoding step: weights of any element type, activations and sums in f32.
#pragma once

#include "../../decode.h"
#include "../activation.cuh"

namespace sffn::cuda {

constexpr int kDecodeRows = 16;  // up to this many rows, the weights are read once and nothing is widened in memory

// Scratch of apply_decoded: for n rows, the hidden features, and the features before swiglu.
struct DecodeSpace {
  float* hidden = nullptr;
  float* pre = nullptr;
};

// y [n, out] = activation(layer(x)), or y += layer(x).
void apply_decoded(const DecodeLayer& layer, const float* x, float* y, int64_t n, Activation activation, bool add,
                   const DecodeSpace& space);

}  // namespace sffn::cuda
