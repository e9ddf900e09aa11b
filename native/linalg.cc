// The singular value decomposition from eigenvectors of x·xᵀ, the smaller Gram matrix. Squaring loses singular values
// below 1e-8 of the largest, and loses orthogonality long before that. So one decomposition gives only the values
// within 1e-4 of the largest. They are removed from the matrix, and the rest is decomposed again: three rounds reach
// 1e-12.
#include "linalg.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "allocator.h"
#include "linalg_eigen.h"
#include "linalg_product.h"
#include "thread_pool.h"

namespace sffn {
namespace {

constexpr double kRound = 1e-4;  // taken in one round, relative to its largest
constexpr double kNull = 1e-9;   // relative to the largest of all: counts as 0, a hundredth of float32's own rounding

double length(const double* x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i] * x[i];
  return std::sqrt(total);
}

// For x [rows, columns], rows <= columns: x = Σ sᵢ·leftᵢ·rightᵢᵀ with orthonormal rows of left [rank, rows] and right
// [rank, columns].
struct Factors {
  Scratch<double> left, s, right;
};

// Fills right's rows from `found` on with unit vectors, orthogonal to all before them: each starts from the axis that
// those cover least.
void complete_basis(double* right, int64_t found, int64_t rank, int64_t columns) {
  std::vector<double> covered(static_cast<size_t>(columns));
  const auto cover = [&](const double* row) {
    for (size_t j = 0; j < covered.size(); ++j) covered[j] += row[j] * row[j];
  };
  for (int64_t r = 0; r < found; ++r) cover(right + r * columns);
  for (int64_t r = found; r < rank; ++r) {
    double* row = right + r * columns;
    std::fill(row, row + columns, 0.0);
    row[std::min_element(covered.begin(), covered.end()) - covered.begin()] = 1;
    for (int pass = 0; pass < 2; ++pass)  // the second pass removes what rounding left of the first
      for (int64_t i = 0; i < r; ++i) {
        const double* other = right + i * columns;
        const double factor = std::inner_product(other, other + columns, row, 0.0);
        for (int64_t j = 0; j < columns; ++j) row[j] -= factor * other[j];
      }
    const double scale = 1 / length(row, columns);
    for (int64_t j = 0; j < columns; ++j) row[j] *= scale;
    cover(row);
  }
}

// rows of w [count, columns] −= their parts along the orthonormal rows of basis [known, columns].
void clear_known(double* w, int64_t count, const double* basis, int64_t known, int64_t columns) {
  Scratch<double> parts(count * known), along(count * columns);
  product64(rows_of(w, columns), transposed(rows_of(basis, columns)), parts.get(), count, known, columns);
  product64(rows_of(parts.get(), known), rows_of(basis, columns), along.get(), count, columns, known);
  for (int64_t i = 0; i < count * columns; ++i) w[i] -= along[i];
}

Factors decompose(const double* x, int64_t rows, int64_t columns, int64_t rank) {
  Factors f{Scratch<double>(rank * rows), Scratch<double>(rank), Scratch<double>(rank * columns)};
  double *left = f.left.get(), *right = f.right.get();
  const double* source = x;  // what is left to decompose, [sources, columns]
  int64_t sources = rows, found = 0;
  Scratch<double> rest;
  double largest = 0;
  while (found < rank) {
    // Here source = left[found..]·x, except for what has been found; in the first round left stands for the identity.
    const int64_t wanted = rank - found;
    Scratch<double> gram(sources * sources), values(wanted), vectors(wanted * sources), w(wanted * columns);
    product64(rows_of(source, columns), transposed(rows_of(source, columns)), gram.get(), sources, sources, columns);
    symmetric_eigen(gram.get(), sources, wanted, values.get(), vectors.get());
    product64(rows_of(vectors.get(), sources), rows_of(source, columns), w.get(), wanted, columns, sources);
    if (found == 0) {
      std::copy_n(vectors.get(), wanted * rows, left);
    } else {
      Scratch<double> turned(wanted * rows);
      product64(rows_of(vectors.get(), sources), rows_of(left + found * rows, rows), turned.get(), wanted, rows,
                sources);
      std::copy_n(turned.get(), wanted * rows, left + found * rows);
    }
    const double top = length(w.get(), columns);
    largest = std::max(largest, top);
    if (top <= kNull * largest) break;  // also all of a zero matrix
    int64_t taken = 0;
    for (; taken < wanted; ++taken) {
      const double* row = w.get() + taken * columns;
      const double value = length(row, columns);
      if (value <= std::max(kRound * top, kNull * largest)) break;
      f.s[found + taken] = value;
      for (int64_t j = 0; j < columns; ++j) right[(found + taken) * columns + j] = row[j] / value;
    }
    found += taken;
    if (found == rank) break;
    sources = rank - found;
    rest = Scratch<double>(sources * columns);
    std::copy_n(w.get() + taken * columns, sources * columns, rest.get());
    clear_known(rest.get(), sources, right, found, columns);
    source = rest.get();
  }
  std::fill(f.s.get() + found, f.s.get() + rank, 0.0);
  complete_basis(right, found, rank, columns);
  return f;
}

// a [m, n] as the wide or square matrix that decompose takes: itself, or its transpose when it is tall.
Scratch<double> widen(const float* a, int64_t m, int64_t n) {
  Scratch<double> x(m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      if (!std::isfinite(a[i * n + j])) throw Error("ERR_RANGE", "the matrix has a value that is not finite");
      x[m > n ? j * m + i : i * n + j] = double{a[i * n + j]};
    }
  return x;
}

}  // namespace

void svd(View a, View u, View s, View vt, int64_t batch, int64_t m, int64_t n, int64_t rank) {
  parallel_for(batch, [&](int64_t b) {
    const bool tall = m > n;
    const Scratch<double> x = widen(a.f32() + b * m * n, m, n);
    const Factors f = decompose(x.get(), std::min(m, n), std::max(m, n), rank);
    const double *of_u = tall ? f.right.get() : f.left.get(), *of_vt = tall ? f.left.get() : f.right.get();
    std::vector<int64_t> order(static_cast<size_t>(rank));  // neighbours from two rounds may be in the wrong order
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return f.s[i] > f.s[j]; });
    for (int64_t r = 0; r < rank; ++r) {
      const int64_t from = order[static_cast<size_t>(r)];
      s.f32()[b * rank + r] = static_cast<float>(f.s[from]);
      for (int64_t i = 0; i < m; ++i) u.f32()[(b * m + i) * rank + r] = static_cast<float>(of_u[from * m + i]);
      for (int64_t j = 0; j < n; ++j) vt.f32()[(b * rank + r) * n + j] = static_cast<float>(of_vt[from * n + j]);
    }
  });
}

void polar(View a, View y, int64_t batch, int64_t m, int64_t n) {
  parallel_for(batch, [&](int64_t b) {
    const int64_t rows = std::min(m, n), columns = std::max(m, n);
    const Scratch<double> x = widen(a.f32() + b * m * n, m, n);
    const Factors f = decompose(x.get(), rows, columns, rows);
    Scratch<double> result(m * n);
    const Matrix64 left = transposed(rows_of(f.left.get(), rows)), right = rows_of(f.right.get(), columns);
    if (m > n)
      product64(transposed(right), transposed(left), result.get(), m, n, rows);
    else
      product64(left, right, result.get(), m, n, rows);
    for (int64_t i = 0; i < m * n; ++i) y.f32()[b * m * n + i] = static_cast<float>(result[i]);
  });
}

}  // namespace sffn
