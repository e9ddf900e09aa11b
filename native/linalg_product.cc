#include "linalg_product.h"

#include <algorithm>

#include "allocator.h"
#include "thread_pool.h"

namespace sffn {
namespace {

typedef double Pair __attribute__((vector_size(16)));  // what every 64-bit processor has

constexpr int64_t kTile = 4;       // rows and columns held in registers
constexpr int64_t kDepth = 256;    // of one pass
constexpr int64_t kColumns = 256;  // of b packed at a time: 512 KiB, in the second-level cache

// Panels of kTile rows, element (i, k) at [i / kTile][k][i % kTile]; rows past the end are 0.
void pack(Matrix64 a, int64_t rows, int64_t depth, double* packed) {
  for (int64_t panel = 0; panel < rows; panel += kTile)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t i = panel; i < panel + kTile; ++i) *packed++ = i < rows ? a.data[i * a.row + k * a.column] : 0;
}

// The sums of one tile, added to c; `rows` and `columns` of it are wanted.
void add_tile(const double* a, const double* b, int64_t depth, double* c, int64_t c_row, int64_t rows,
              int64_t columns) {
  Pair acc[kTile][2] = {};
  for (int64_t k = 0; k < depth; ++k, a += kTile, b += kTile) {
    const Pair b0 = {b[0], b[1]}, b1 = {b[2], b[3]};
    for (int64_t i = 0; i < kTile; ++i) {
      const Pair left = {a[i], a[i]};
      acc[i][0] += left * b0;
      acc[i][1] += left * b1;
    }
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) c[i * c_row + j] += acc[i][j / 2][j % 2];
}

}  // namespace

void product64(Matrix64 a, Matrix64 b, double* c, int64_t m, int64_t n, int64_t k) {
  std::fill(c, c + m * n, 0.0);
  constexpr int64_t kTaskRows = 32;
  Scratch<double> packed_b(kColumns * kDepth);
  for (int64_t j0 = 0; j0 < n; j0 += kColumns) {
    const int64_t columns = std::min(kColumns, n - j0);
    for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
      const int64_t depth = std::min(kDepth, k - k0);
      pack({b.data + k0 * b.row + j0 * b.column, b.column, b.row}, columns, depth, packed_b.get());
      parallel_for((m + kTaskRows - 1) / kTaskRows, [&](int64_t task) {
        const int64_t i0 = task * kTaskRows, rows = std::min(kTaskRows, m - i0);
        alignas(64) double packed_a[kTaskRows * kDepth];
        pack({a.data + i0 * a.row + k0 * a.column, a.row, a.column}, rows, depth, packed_a);
        for (int64_t j = 0; j < columns; j += kTile)
          for (int64_t i = 0; i < rows; i += kTile)
            add_tile(packed_a + i * depth, packed_b.get() + j * depth, depth, c + (i0 + i) * n + j0 + j, n,
                     std::min(kTile, rows - i), std::min(kTile, columns - j));
      });
    }
  }
}

}  // namespace sffn
