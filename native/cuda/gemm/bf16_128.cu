#include "bf16.cuh"

namespace sffn::cuda {

template ProductKernel* bf16_kernel<128>(const Product& p, bool group);

}  // namespace sffn::cuda
