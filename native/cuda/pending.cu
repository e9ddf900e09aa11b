// Kernels not written yet: a definition elsewhere takes the place of the weak one here.
#include "common.cuh"

namespace sffn::cuda {

template <class... A>
[[noreturn]] void pending(const char* name) {
  throw Error("ERR_DEVICE", std::string(name) + " is not on device 'cuda' yet");
}

#pragma GCC diagnostic ignored "-Wunused-parameter"
#define KERNEL(name, ...) \
  __attribute__((weak)) void name(__VA_ARGS__) { pending<>(#name); }
#include "../kernels.def"
#undef KERNEL

}  // namespace sffn::cuda
