#include "prelude.h"

#if defined(__x86_64__)
SFFN_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")
namespace sffn::avx512 {
#define SFFN_LANES 16
#include "kernels.inl"
}  // namespace sffn::avx512
SFFN_TARGET_END
#endif
