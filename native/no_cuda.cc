#include "kernels.h"

namespace sffn {

std::string cuda_status() { return "not built (build with nvcc: npm run build:cmake)"; }
const Kernels& cuda_kernels() { throw Error("ERR_DEVICE", "device 'cuda' is " + cuda_status()); }

}  // namespace sffn
