#include "skinny.cuh"

namespace sffn::cuda {

template ProductKernel* skinny_kernel<float>(const Product& p);

}  // namespace sffn::cuda
