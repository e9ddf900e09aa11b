#include "bf16.cuh"

namespace sffn::cuda {

template ProductKernel* bf16_kernel<64>(const Product& p, bool group);

}  // namespace sffn::cuda
