// Householder tridiagonalisation, implicit QL iteration with Wilkinson's shift, and the reflections applied to the
// wanted vectors (Golub and Van Loan, "Matrix Computations", 8.3).
#include "linalg_eigen.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "allocator.h"
#include "thread_pool.h"

namespace sffn {
namespace {

constexpr int64_t kTaskRows = 64;

double dot(const double* a, const double* b, int64_t n) {
  double acc[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) acc[k] += a[i + k] * b[i + k];
  double total = ((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7]));
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// Q T Qᵀ = a with T tridiagonal (diagonal d, off-diagonal e[k]) and Q the product of I − beta[k]·v_k·v_kᵀ.
struct Tridiagonal {
  Scratch<double> d, e, beta, v;  // v [n, n]: row k is v_k, 0 up to k

  explicit Tridiagonal(int64_t n) : d(n), e(n), beta(n), v(n * n) {}
};

// Stores in v and beta the reflection that maps x (from index k+1 on) to a multiple of the first axis; returns the
// multiple.
double make_reflection(const double* x, int64_t k, int64_t n, double* v, double& beta) {
  std::fill(v, v + k + 1, 0.0);
  std::copy(x + k + 1, x + n, v + k + 1);
  beta = 0;
  const double tail = dot(v + k + 2, v + k + 2, n - k - 2);
  if (tail == 0) return v[k + 1];
  const double length = -std::copysign(std::sqrt(v[k + 1] * v[k + 1] + tail), v[k + 1]);
  v[k + 1] -= length;
  beta = 2 / (v[k + 1] * v[k + 1] + tail);
  return length;
}

// The matrix is read and written once for each reflection: the update a −= v wᵀ + w vᵀ of the previous one is combined
// with the product a·v of this one.
void tridiagonalise(double* a, int64_t n, const Tridiagonal& t) {
  Scratch<double> product(n), w(n);
  std::fill(w.get(), w.get() + n, 0.0);
  const double* last = nullptr;  // v of the update that is still to be done
  for (int64_t k = 0; k < n; ++k) {
    const auto update_row = [&](int64_t i) {
      if (!last) return;
      double* row = a + i * n;
      const double vi = last[i], wi = w[i];
      for (int64_t j = k; j < n; ++j) row[j] -= vi * w[j] + wi * last[j];
    };
    update_row(k);
    t.d[k] = a[k * n + k];
    t.e[k] = t.beta[k] = 0;
    double* v = t.v.get() + k * n;
    if (k + 1 == n) {
      std::fill(v, v + n, 0.0);
      break;
    }
    t.e[k] = make_reflection(a + k * n, k, n, v, t.beta[k]);
    parallel_for((n - k - 1 + kTaskRows - 1) / kTaskRows, [&](int64_t task) {
      const int64_t begin = k + 1 + task * kTaskRows;
      for (int64_t i = begin; i < std::min(n, begin + kTaskRows); ++i) {
        update_row(i);
        product[i] = t.beta[k] * dot(a + i * n + k + 1, v + k + 1, n - k - 1);
      }
    });
    const double shift = t.beta[k] / 2 * dot(product.get() + k + 1, v + k + 1, n - k - 1);
    for (int64_t i = k + 1; i < n; ++i) w[i] = product[i] - shift * v[i];
    last = v;
  }
}

// Rotates rows i and i+1 of the vectors: (x, y) becomes (c·x − s·y, s·x + c·y).
struct Rotation {
  int64_t i;
  double c, s;
};

// Strips of columns do not depend on each other and stay in cache for all rotations of a batch.
void apply_rotations(const std::vector<Rotation>& rotations, double* vectors, int64_t n) {
  constexpr int64_t kStrip = 32;
  parallel_for((n + kStrip - 1) / kStrip, [&](int64_t task) {
    const int64_t first = task * kStrip, width = std::min(kStrip, n - first);
    Scratch<double> strip(n * kStrip);
    std::fill(strip.get(), strip.get() + n * kStrip, 0.0);
    for (int64_t r = 0; r < n; ++r) std::copy_n(vectors + r * n + first, width, strip.get() + r * kStrip);
    for (const Rotation& rotation : rotations) {
      double *x = strip.get() + rotation.i * kStrip, *y = x + kStrip;
      for (int64_t j = 0; j < kStrip; ++j) {
        const double old = x[j];
        x[j] = rotation.c * old - rotation.s * y[j];
        y[j] = rotation.s * old + rotation.c * y[j];
      }
    }
    for (int64_t r = 0; r < n; ++r) std::copy_n(strip.get() + r * kStrip, width, vectors + r * n + first);
  });
}

// Turns d into the eigenvalues (in no order) and the rows of vectors [n, n] into the eigenvectors of T.
void ql_iteration(double* d, double* e, int64_t n, double* vectors) {
  constexpr int kMaxIterations = 100;
  constexpr size_t kBatch = 1 << 17;
  std::vector<Rotation> rotations;
  rotations.reserve(kBatch + static_cast<size_t>(n));
  // The largest rounding error that counts as zero, relative to the whole matrix. The eigenvalues of a null space are
  // rounding errors themselves, and e between two of them would never be small relative to these neighbours.
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(d[i]) + std::abs(e[i]));
  const double negligible = std::numeric_limits<double>::epsilon() * largest;
  for (int64_t l = 0; l < n; ++l) {
    for (int iteration = 0;; ++iteration) {
      int64_t m = l;
      while (m + 1 < n && std::abs(e[m]) > negligible) ++m;
      if (m == l) break;
      if (iteration == kMaxIterations) throw Error("ERR_NUMERIC", "the eigenvalue iteration did not converge");
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      g = d[m] - d[l] + e[l] / (g + std::copysign(std::sqrt(g * g + 1), g));
      double s = 1, c = 1, p = 0;
      int64_t i = m - 1;
      for (; i >= l; --i) {
        const double f = s * e[i], b = c * e[i];
        const double r = std::sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0) break;
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        const double turn = (d[i] - g) * s + 2 * c * b;
        p = s * turn;
        d[i + 1] = g + p;
        g = c * turn - b;
        rotations.push_back({i, c, s});
      }
      if (i >= l) {  // split in the middle
        d[i + 1] -= p;
      } else {
        d[l] -= p;
        e[l] = g;
      }
      e[m] = 0;
      if (rotations.size() >= kBatch) {
        apply_rotations(rotations, vectors, n);
        rotations.clear();
      }
    }
  }
  apply_rotations(rotations, vectors, n);
}

}  // namespace

void symmetric_eigen(double* a, int64_t n, int64_t count, double* values, double* vectors) {
  const Tridiagonal t(n);
  tridiagonalise(a, n, t);
  double* all = a;  // its memory is free now
  std::fill(all, all + n * n, 0.0);
  for (int64_t i = 0; i < n; ++i) all[i * n + i] = 1;
  ql_iteration(t.d.get(), t.e.get(), n, all);

  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return t.d[i] > t.d[j]; });
  constexpr int64_t kGroup = 8;  // vectors that share one pass over the reflections
  parallel_for((count + kGroup - 1) / kGroup, [&](int64_t task) {
    const int64_t begin = task * kGroup, end = std::min(count, begin + kGroup);
    for (int64_t r = begin; r < end; ++r) {
      values[r] = t.d[order[static_cast<size_t>(r)]];
      std::copy_n(all + order[static_cast<size_t>(r)] * n, n, vectors + r * n);
    }
    for (int64_t k = n - 2; k >= 0; --k) {
      const double* v = t.v.get() + k * n + k + 1;
      for (int64_t r = begin; r < end; ++r) {
        double* z = vectors + r * n + k + 1;
        const double factor = t.beta[k] * dot(v, z, n - k - 1);
        for (int64_t j = 0; j < n - k - 1; ++j) z[j] -= factor * v[j];
      }
    }
  });
}

}  // namespace sffn
