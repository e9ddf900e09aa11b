// Singular values and polar factors in f64, one block to a matrix: one-sided Jacobi (Hestenes 1958). Rows of the wide
// matrix x are turned in pairs until all are orthogonal, J·x = W; then x = Σ Jᵢᵀ·|Wᵢ|·(Wᵢ/|Wᵢ|). It serves the
// initialisation and compression of layers, where being right counts, and not the time.
#include "rows.cuh"

namespace sffn::cuda {
namespace {

constexpr double kSmallAngle = 1e-15;  // cosine between two rows that counts as a right angle
constexpr double kNull = 1e-9;         // relative to the largest singular value: taken as 0, as on the CPU
constexpr int kMaxSweeps = 40;         // ten are usual

__device__ double warp_total(double x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ double block_total(double x) {
  return block_join(x, 0.0, [](double a, double b) { return a + b; });
}
__device__ int lane_of() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ int warp_of() { return static_cast<int>(threadIdx.x) / kWarp; }
constexpr int kWarps = kRowThreads / kWarp;

// One matrix's memory: w [rows, columns], rows <= columns, j [rows, rows], and a few numbers to a row or column.
struct Decomposition {
  double *w, *j, *s, *parts, *covered;
  int* order;  // places of the rows by falling singular value
  int rows, columns;

  static __host__ __device__ int64_t doubles(int64_t rows, int64_t columns) {
    return rows * columns + rows * rows + 2 * rows + columns + (rows + 1) / 2;
  }
  __device__ Decomposition(double* memory, int rows, int columns)
      : w(memory),
        j(w + int64_t{rows} * columns),
        s(j + int64_t{rows} * rows),
        parts(s + rows),
        covered(parts + rows),
        order(reinterpret_cast<int*>(covered + columns)),
        rows(rows),
        columns(columns) {}
  __device__ double* w_row(int r) const { return w + int64_t{r} * columns; }
  __device__ double* j_row(int r) const { return j + int64_t{r} * rows; }
};

// A warp turns (p, q) by the angle whose cosine and sine are given.
__device__ void turn(double* p, double* q, int length, double cosine, double sine) {
  for (int i = lane_of(); i < length; i += kWarp) {
    const double a = p[i], b = q[i];
    p[i] = cosine * a - sine * b;
    q[i] = sine * a + cosine * b;
  }
}

// Whether rows p and q had to be turned; afterwards they are orthogonal.
__device__ bool orthogonalize(const Decomposition& of, int p, int q) {
  double *a = of.w_row(p), *b = of.w_row(q);
  double aa = 0, bb = 0, ab = 0;
  for (int i = lane_of(); i < of.columns; i += kWarp) {
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    ab += a[i] * b[i];
  }
  aa = warp_total(aa);
  bb = warp_total(bb);
  ab = warp_total(ab);
  if (fabs(ab) <= kSmallAngle * sqrt(aa) * sqrt(bb)) return false;
  const double zeta = (bb - aa) / (2 * ab);
  const double tangent = copysign(1.0, zeta) / (fabs(zeta) + sqrt(1 + zeta * zeta));
  const double cosine = 1 / sqrt(1 + tangent * tangent), sine = cosine * tangent;
  turn(a, b, of.columns, cosine, sine);
  turn(of.j_row(p), of.j_row(q), of.rows, cosine, sine);
  return true;
}

// Every pair of rows once, in rounds of disjoint pairs: a tournament, in which the last player keeps its seat.
__device__ bool sweep(const Decomposition& of) {
  __shared__ int turned;
  if (threadIdx.x == 0) turned = 0;
  __syncthreads();
  const int players = of.rows + of.rows % 2, others = players - 1;
  for (int round = 0; round < others; ++round) {
    for (int pair = warp_of(); pair < players / 2; pair += kWarps) {
      const int p = pair == 0 ? others : (round + pair) % others, q = (round - pair + others) % others;
      if (p < of.rows && q < of.rows && orthogonalize(of, min(p, q), max(p, q)) && lane_of() == 0) atomicOr(&turned, 1);
    }
    __syncthreads();
  }
  const bool again = turned != 0;
  __syncthreads();
  return again;
}

// Gives rows of w whose singular value is 0 unit length, orthogonal to all rows before them in order: each starts from
// the axis that those cover least.
__device__ void complete_basis(const Decomposition& of, int found, int rank) {
  for (int c = threadIdx.x; c < of.columns; c += kRowThreads) {
    double covered = 0;
    for (int r = 0; r < found; ++r) covered += of.w_row(of.order[r])[c] * of.w_row(of.order[r])[c];
    of.covered[c] = covered;
  }
  __syncthreads();
  for (int r = found; r < rank; ++r) {
    double* row = of.w_row(of.order[r]);
    double least = INFINITY;
    for (int c = threadIdx.x; c < of.columns; c += kRowThreads) least = fmin(least, of.covered[c]);
    least = block_join(least, double{INFINITY}, [](double a, double b) { return fmin(a, b); });
    int axis = of.columns;
    for (int c = threadIdx.x; c < of.columns; c += kRowThreads)
      if (of.covered[c] == least) axis = min(axis, c);
    axis = block_join(axis, of.columns, [](int a, int b) { return a < b ? a : b; });
    for (int c = threadIdx.x; c < of.columns; c += kRowThreads) row[c] = c == axis ? 1 : 0;
    for (int pass = 0; pass < 2; ++pass) {  // the second one removes what rounding left of the first
      __syncthreads();
      for (int i = warp_of(); i < r; i += kWarps) {
        const double* other = of.w_row(of.order[i]);
        double part = 0;
        for (int c = lane_of(); c < of.columns; c += kWarp) part += other[c] * row[c];
        part = warp_total(part);
        if (lane_of() == 0) of.parts[i] = part;
      }
      __syncthreads();
      for (int c = threadIdx.x; c < of.columns; c += kRowThreads) {
        double value = row[c];
        for (int i = 0; i < r; ++i) value -= of.parts[i] * of.w_row(of.order[i])[c];
        row[c] = value;
      }
    }
    double own = 0;
    for (int c = threadIdx.x; c < of.columns; c += kRowThreads) own += row[c] * row[c];
    const double scale = 1 / sqrt(block_total(own));
    for (int c = threadIdx.x; c < of.columns; c += kRowThreads) {
      row[c] *= scale;
      of.covered[c] += row[c] * row[c];
    }
    __syncthreads();
  }
}

// Leaves unit rows in w and j, singular values in s, for the `rank` first in order. A value that is not finite sets a
// fault and counts as 0.
__device__ void decompose(const Decomposition& of, const float* a, bool tall, int rank, int* faults) {
  const int64_t size = int64_t{of.rows} * of.columns;
  for (int64_t i = threadIdx.x; i < size; i += kRowThreads) {
    const int64_t row = i / of.columns, column = i % of.columns;
    const float value = a[tall ? column * of.rows + row : i];
    if (!isfinite(value)) atomicOr(faults, kNotFinite);
    of.w[i] = isfinite(value) ? value : 0.0;
  }
  for (int64_t i = threadIdx.x; i < int64_t{of.rows} * of.rows; i += kRowThreads)
    of.j[i] = i / of.rows == i % of.rows ? 1 : 0;
  __syncthreads();
  for (int i = 0; i < kMaxSweeps && sweep(of); ++i) {
  }
  for (int r = warp_of(); r < of.rows; r += kWarps) {
    double own = 0;
    for (int c = lane_of(); c < of.columns; c += kWarp) own += of.w_row(r)[c] * of.w_row(r)[c];
    own = sqrt(warp_total(own));
    if (lane_of() == 0) of.s[r] = own;
  }
  __syncthreads();
  double largest = 0;
  for (int r = threadIdx.x; r < of.rows; r += kRowThreads) {
    int place = 0;
    for (int i = 0; i < of.rows; ++i) place += of.s[i] > of.s[r] || (of.s[i] == of.s[r] && i < r);
    of.order[place] = r;
    largest = fmax(largest, of.s[r]);
  }
  largest = block_join(largest, 0.0, [](double a, double b) { return fmax(a, b); });
  int found = 0;
  for (int r = threadIdx.x; r < of.rows; r += kRowThreads) {
    const bool null = of.s[r] <= kNull * largest;
    if (null) of.s[r] = 0;
    found += !null;
  }
  found = block_join(found, 0, [](int a, int b) { return a + b; });
  __syncthreads();
  for (int r = warp_of(); r < of.rows; r += kWarps)
    if (of.s[r] > 0)
      for (int c = lane_of(); c < of.columns; c += kWarp) of.w_row(r)[c] /= of.s[r];
  __syncthreads();
  complete_basis(of, min(found, rank), rank);
}

__global__ void __launch_bounds__(kRowThreads) svd_kernel(const float* a, float* u, float* s, float* vt, double* memory,
                                                          int64_t batch, int m, int n, int rank, int* faults) {
  const bool tall = m > n;
  const Decomposition of(memory + blockIdx.x * Decomposition::doubles(min(m, n), max(m, n)), min(m, n), max(m, n));
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    decompose(of, a + b * m * n, tall, rank, faults);
    for (int r = threadIdx.x; r < rank; r += kRowThreads) s[b * rank + r] = static_cast<float>(of.s[of.order[r]]);
    for (int64_t i = threadIdx.x; i < int64_t{m} * rank; i += kRowThreads) {
      const int r = of.order[i % rank];
      u[b * m * rank + i] = static_cast<float>((tall ? of.w_row(r) : of.j_row(r))[i / rank]);
    }
    for (int64_t i = threadIdx.x; i < int64_t{n} * rank; i += kRowThreads) {
      const int r = of.order[i / n];
      vt[b * n * rank + i] = static_cast<float>((tall ? of.j_row(r) : of.w_row(r))[i % n]);
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kRowThreads)
    polar_kernel(const float* a, float* y, double* memory, int64_t batch, int m, int n, int* faults) {
  const bool tall = m > n;
  const Decomposition of(memory + blockIdx.x * Decomposition::doubles(min(m, n), max(m, n)), min(m, n), max(m, n));
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    decompose(of, a + b * m * n, tall, of.rows, faults);
    for (int64_t i = threadIdx.x; i < int64_t{m} * n; i += kRowThreads) {
      const int row = static_cast<int>(i / n), column = static_cast<int>(i % n);
      const int left = tall ? column : row, right = tall ? row : column;
      double value = 0;
      for (int r = 0; r < of.rows; ++r) value += of.j_row(r)[left] * of.w_row(r)[right];
      y[b * m * n + i] = static_cast<float>(value);
    }
    __syncthreads();
  }
}

// Blocks at a time, so that the memory does not grow with the batch beyond need.
unsigned blocks_of(int64_t batch) { return static_cast<unsigned>(std::min<int64_t>(batch, 256)); }

}  // namespace

void svd(View a, View u, View s, View vt, int64_t batch, int64_t m, int64_t n, int64_t rank) {
  if (batch * m * n * rank == 0) return;
  const Workspace<double> memory(blocks_of(batch) * Decomposition::doubles(std::min(m, n), std::max(m, n)));
  svd_kernel<<<blocks_of(batch), kRowThreads, 0, stream()>>>(
      data_of<float>(a), data_of<float>(u), data_of<float>(s), data_of<float>(vt), memory.get(), batch,
      static_cast<int>(m), static_cast<int>(n), static_cast<int>(rank), fault_flags());
  check_launch("svd");
}

void polar(View a, View y, int64_t batch, int64_t m, int64_t n) {
  if (y.size == 0) return;
  const Workspace<double> memory(blocks_of(batch) * Decomposition::doubles(std::min(m, n), std::max(m, n)));
  polar_kernel<<<blocks_of(batch), kRowThreads, 0, stream()>>>(data_of<float>(a), data_of<float>(y), memory.get(),
                                                               batch, static_cast<int>(m), static_cast<int>(n),
                                                               fault_flags());
  check_launch("polar");
}

}  // namespace sffn::cuda
