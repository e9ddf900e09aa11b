#include "skinny.cuh"

namespace sffn::cuda {

template ProductKernel* skinny_kernel<bf16>(const Product& p);

}  // namespace sffn::cuda
