#include "kernels.h"

namespace sffn {

std::string cuda_status() { return "not built: this version has no CUDA kernels yet"; }
const Kernels& cuda_kernels() { throw Error("ERR_DEVICE", "device 'cuda' is " + cuda_status()); }

}  // namespace sffn
