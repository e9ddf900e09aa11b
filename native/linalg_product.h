// Products of float64 matrices, for the decompositions.
#pragma once

#include <cstdint>

namespace sffn {

// Element (i, j) is data[i·row + j·column]: a transpose is a change of strides.
struct Matrix64 {
  const double* data;
  int64_t row, column;
};

inline Matrix64 rows_of(const double* data, int64_t columns) { return {data, columns, 1}; }
inline Matrix64 transposed(Matrix64 a) { return {a.data, a.column, a.row}; }

// c [m, n], contiguous = a [m, k] · b [k, n]. Parallel; the same bits on any number of threads.
void product64(Matrix64 a, Matrix64 b, double* c, int64_t m, int64_t n, int64_t k);

}  // namespace sffn
