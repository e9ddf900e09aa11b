// Eigenvectors of symmetric matrices, in float64.
#pragma once

#include <cstdint>

namespace sffn {

// The `count` largest eigenvalues of the symmetric a [n, n], descending, and their orthonormal eigenvectors as the rows
// of vectors [count, n]. a is destroyed. Throws Error("ERR_NUMERIC") when the iteration does not converge.
void symmetric_eigen(double* a, int64_t n, int64_t count, double* values, double* vectors);

}  // namespace sffn
