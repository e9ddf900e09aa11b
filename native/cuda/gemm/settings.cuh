// What the choice of kernels goes by beside sizes, of each device.
#pragma once

#include "../../backend.h"
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

struct GemmSettings {
  // Throws Error where the environment has another value.
  GemmSettings();

  Switches switches;
  Costs costs;
};

// Of the thread's device.
const Switches& switches();
const Costs& costs();

// Of any device, which need not be open.
const GemmSettings& gemm_settings_of(int index);
// All of them by name, as Backend has them.
Settings gemm_settings(int index);
void set_gemm_settings(int index, const Settings& values);

// How C [m, n] = A [m, k] · Bᵀ would be launched, of contiguous matrices and m > 16: kernel, blocks (of threads), steps
// (of a block), resident (blocks that a multiprocessor holds at once), multiprocessors.
Settings plan_product(int64_t m, int64_t n, int64_t k, DType dtype);
// Of LowRank in bfloat16, C [m, n] from m rows of k over `rank` hidden values, in one launch: its kernel, and the
// model's times of it (together) and of two launches (alone). Throws Error where there is none.
Settings plan_chain(int64_t m, int64_t n, int64_t k, int64_t rank);

}  // namespace sffn::cuda
