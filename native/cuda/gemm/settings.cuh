// What the choice of kernels goes by beside sizes: the same for the whole process.
#pragma once

#include "costs.cuh"

namespace sffn::cuda {

// automatic: by the model. on: wherever it can be. off: nowhere.
enum class Wish { automatic, on, off };

// At first what STRUCTURED_FFN_CUDA_CHAINS, STRUCTURED_FFN_CUDA_WGMMA and STRUCTURED_FFN_CUDA_TILE say.
struct Switches {
  Wish chains = Wish::automatic;  // both factors in one launch
  Wish wgmma = Wish::automatic;
  int tile = 0;  // rows and columns of the tiles on tensor cores, 64 or 128; 0: by the product
};

// Throws Error where the environment has another value.
const Switches& switches();
const Costs& costs();

}  // namespace sffn::cuda
