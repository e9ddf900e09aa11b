// Matrix decompositions behind the initialisation and compression of layers: float32 in and out, float64 inside. The
// same on every instruction set.
#pragma once

#include "tensor.h"

namespace sffn {

// See kernels.def. Both throw Error("ERR_RANGE") for values that are not finite. u and vt are orthonormal for an a of
// any rank.
void svd(View a, View u, View s, View vt, int64_t batch, int64_t m, int64_t n, int64_t rank);
void polar(View a, View y, int64_t batch, int64_t m, int64_t n);

}  // namespace sffn
