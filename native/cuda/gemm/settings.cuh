// What the choice of kernels depends on besides sizes, for each device.
#pragma once

#include "../../backend.h"
#include "costs.cuh"

namespace sffn::cuda {

// automatic: as the model says. on: wherever possible. off: nowhere.
enum class Wish { automatic, on, off };

// The initial values come from STRUCTURED_FFN_CUDA_CHAINS, STRUCTURED_FFN_CUDA_WGMMA and STRUCTURED_FFN_CUDA_TILE.
struct Switches {
  Wish chains = Wish::automatic;  // both factors in one launch
  Wish wgmma = Wish::automatic;
  int tile = 0;  // rows and columns of the tiles on tensor cores, 64 or 128; 0: chosen for each product
};

struct GemmSettings {
  // Throws Error for another value in the environment.
  GemmSettings();

  Switches switches;
  Costs costs;
};

// The settings of the thread's device.
const Switches& switches();
const Costs& costs();

// The settings of any device, which need not be open.
const GemmSettings& gemm_settings_of(int index);
// All of them by name, for Backend.
Settings gemm_settings(int index);
void set_gemm_settings(int index, const Settings& values);

// How C [m, n] = A [m, k] · Bᵀ would be launched, for contiguous matrices and m > 16: kernel, blocks (of threads),
// steps (of a block), resident (blocks that a multiprocessor holds at once), multiprocessors.
Settings plan_product(int64_t m, int64_t n, int64_t k, DType dtype);
// How LowRank in bfloat16 would be launched, C [m, n] from m rows of k over `rank` hidden values: the kernel for one
// launch, and the model's times of one launch (together) and of two (alone). Throws Error where there is no such
// kernel.
Settings plan_chain(int64_t m, int64_t n, int64_t k, int64_t rank);

}  // namespace sffn::cuda
