// x86-64 without AVX (SSE2), and every other 64-bit processor (NEON on ARM): four lanes.
#include "prelude.h"

namespace sffn::baseline {
#define SFFN_LANES 4
#include "kernels.inl"
}  // namespace sffn::baseline
