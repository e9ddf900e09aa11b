// AVX-512 with products of bfloat16 pairs.
#include "prelude.h"

#if defined(__x86_64__)
SFFN_TARGET_BEGIN(SFFN_AVX512_BF16)
namespace sffn::avx512bf16 {
#define SFFN_LANES 16
#define SFFN_PAIRS
#include "kernels.inl"
}  // namespace sffn::avx512bf16
SFFN_TARGET_END
#endif
