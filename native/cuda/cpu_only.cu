// Kernels that there are for the CPU alone: decoding with reduced weights, which lib/decode asks of models on the CPU.
#include "common.cuh"

namespace sffn::cuda {
namespace {

[[noreturn]] void refuse(const char* kernel) {
  throw Error("ERR_DEVICE", std::string(kernel) + " runs on device 'cpu' only");
}

}  // namespace

void decode_step(Views, Views, Ints, Ints, Ints, View, double, double) { refuse("decode_step"); }
void decode_linear(View, View, View, View, View, View, View, int64_t, Ints, int64_t) { refuse("decode_linear"); }
void quantize(View, View, View, int64_t, int64_t) { refuse("quantize"); }
void dequantize(View, View, View, int64_t, int64_t) { refuse("dequantize"); }

}  // namespace sffn::cuda
