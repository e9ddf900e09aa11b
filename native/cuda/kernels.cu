// The kernel table of the CUDA backend.
#include "common.cuh"

namespace sffn {
namespace {

const Kernels table = {
#define KERNEL(name, ...) cuda::name,
#include "../kernels.def"
#undef KERNEL
};

}  // namespace

const Kernels& cuda_kernels() {
  if (!cuda_available()) throw Error("ERR_DEVICE", "device 'cuda' is " + cuda_status());
  return table;
}

}  // namespace sffn
