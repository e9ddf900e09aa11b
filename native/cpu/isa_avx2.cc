#include "prelude.h"

#if defined(__x86_64__)
SFFN_TARGET_BEGIN("avx2,fma,f16c,bmi2")
namespace sffn::avx2 {
#define SFFN_LANES 8
#include "kernels.inl"
}  // namespace sffn::avx2
SFFN_TARGET_END
#endif
