// The memory of each device, and the CUDA backend as the rest of the addon sees it: plain C++, implemented in
// native/cuda/, and by native/no_cuda.cc in a build without it.
#pragma once

#include <map>
#include <string>

#include "allocator.h"

namespace sffn {

bool cuda_available();
// One sentence: the device in use, or what is missing (build, driver, device).
std::string cuda_status();
// Which device to use, counted from 0; the default is STRUCTURED_FFN_CUDA_DEVICE or 0. Throws Error once one is in use.
void set_cuda_device(int64_t index);
// Whether float32 products may round their operands to TF32; at first STRUCTURED_FFN_TF32=1.
bool cuda_tf32();
void set_cuda_tf32(bool allowed);
// How matrix products choose their kernels there (native/cuda/gemm/settings.cuh, costs.cuh): what to try, and what the
// model of their time says, by name. Both throw Error at an unknown name or a value that cannot be, and change nothing
// then.
std::map<std::string, std::string> gemm_switches();
void set_gemm_switches(const std::map<std::string, std::string>& switches);
std::map<std::string, double> gemm_costs();
void set_gemm_costs(const std::map<std::string, double>& costs);
// How C [m, n] = A [m, k] · Bᵀ would be launched, of contiguous matrices and m > 16. steps: of a block of threads.
// resident: blocks that a multiprocessor holds at once.
struct GemmPlan {
  std::string kernel;
  int64_t blocks, steps;
  int resident, multiprocessors;
};
GemmPlan plan_gemm(int64_t m, int64_t n, int64_t k, DType dtype);
// Of LowRank in bfloat16, C [m, n] from m rows of k over `rank` hidden values, in one launch: its kernel, and the
// model's times of it and of two launches. Throws Error where there is none.
struct ChainPlan {
  std::string kernel;
  double together, alone;
};
ChainPlan plan_chain(int64_t m, int64_t n, int64_t k, int64_t rank);
CachingAllocator& cuda_memory();
// Copies all elements; at least one of the two is on the device. Copies to the device return before they are done.
void cuda_copy(View from, View to);
// Waits for everything launched so far. Throws what went wrong in it, which is the only moment at which that is known.
void cuda_synchronize();

inline CachingAllocator& memory_of(Device device) { return device == Device::cuda ? cuda_memory() : host_memory(); }

}  // namespace sffn
