#include "prelude.h"

#if defined(__x86_64__)
SFFN_TARGET_BEGIN(SFFN_AVX512)
namespace sffn::avx512 {
#define SFFN_LANES 16
#include "kernels.inl"
}  // namespace sffn::avx512
SFFN_TARGET_END
#endif
