// The passes around a layer's products: the gradient through the activation, the bias gradient if the weights are
// frozen, and swiglu.
#include "layer.cuh"
#include "reduce.cuh"
#include "rows.cuh"

namespace sffn::cuda {
namespace {

constexpr int kFeatures = 2048;  // of one row, which a block rearranges in shared memory

struct PrologueArguments {
  const void *dy, *pre;
  void *g, *activated;
  int out, L, s, chunk;
  Activation activation;
};

// dL/dpre of feature j of a row, and the activation's result for it, or for the pair that it gates.
template <class T>
__device__ float gradient_at(const PrologueArguments& a, int64_t row, int j) {
  const bool gated = a.activation == Activation::swiglu;
  const int features = gated ? a.out / 2 : a.out, feature = j < features ? j : j - features;
  const T* pre = static_cast<const T*>(a.pre) + row * a.out;
  const float dy = to_float(static_cast<const T*>(a.dy)[row * features + feature]);
  if (a.activation == Activation::none) return dy;
  const Gradient g =
      gradient_of(a.activation, dy, to_float(pre[feature]), gated ? to_float(pre[feature + features]) : 0.f);
  if (a.activated && j < features) static_cast<T*>(a.activated)[row * features + j] = from_float<T>(g.activated);
  return j < features ? g.gate : g.up;
}

// Where element j of an array in shared memory lies. Neither neighbours nor every 2nd, 4th, ... element share banks.
__host__ __device__ constexpr int bank_free(int j) { return j + j / kWarp; }

// Reads a row in its order and writes it with the columns of each block together; blockIdx.y counts chunks of the row.
template <class T>
__global__ void __launch_bounds__(kThreads) prologue_kernel(const __grid_constant__ PrologueArguments a) {
  __shared__ float features[bank_free(kFeatures)];
  const int64_t row = blockIdx.x;
  const int begin = blockIdx.y * a.chunk, count = min(a.chunk, a.out - begin);
  T* g = static_cast<T*>(a.g) + row * a.out;
  if (a.L == 1 || a.L > kFeatures) {
    for (int j = begin + threadIdx.x; j < begin + count; j += kThreads)
      g[j % a.L * a.s + j / a.L] = from_float<T>(gradient_at<T>(a, row, j));
    return;
  }
  for (int j = threadIdx.x; j < count; j += kThreads) features[bank_free(j)] = gradient_at<T>(a, row, begin + j);
  __syncthreads();
  const int each = count / a.L;
  for (int j = threadIdx.x; j < count; j += kThreads) {
    const int l = j / each, i = j % each;
    g[l * a.s + begin / a.L + i] = from_float<T>(features[bank_free(i * a.L + l)]);
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    swiglu_kernel(const T* pre, T* y, const T* residual, int64_t n, int half) {
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
    const T *gates = pre + row * 2 * half, *ups = gates + half;
    for (int j = threadIdx.x; j < half; j += blockDim.x) {
      const float value = silu(to_float(gates[j])) * to_float(ups[j]);
      y[row * half + j] = from_float<T>(residual ? value + to_float(residual[row * half + j]) : value);
    }
  }
}

}  // namespace

void bias_gradient(const Layer& f, const void* g, void* dbias, int n) {
  if (f.L == 1) return reduce_sum(g, f.dtype, dbias, f.dtype, 1, n, f.out());
  const Workspace<char> sums = elements(f.out(), f.dtype);
  reduce_sum(g, f.dtype, sums.get(), f.dtype, 1, n, f.out());
  // Column l·s + i of the blocked order is feature i·L + l.
  const int32_t dims[] = {f.s, f.L}, strides[] = {1, f.s};
  const auto view = [&](void* data) { return View{data, f.out(), f.dtype, here()}; };
  strided_copy(view(sums.get()), view(dbias), 0, dims, strides);
}

const void* prologue(const Layer& f, const void* dy, const void* pre, void* space, void* activated, int n,
                     Activation activation) {
  if ((f.L == 1 && activation == Activation::none) || n == 0) return dy;
  // Chunks hold whole groups of L features, unless a single group is too large.
  const int chunk = std::min(f.out(), f.L > kFeatures ? kFeatures : kFeatures / f.L * f.L);
  const PrologueArguments arguments{dy, pre, space, activated, f.out(), f.L, f.s, chunk, activation};
  const dim3 grid(static_cast<unsigned>(n), static_cast<unsigned>(ceil_div(f.out(), chunk)));
  dispatch_float(f.dtype,
                 [&](auto zero) { prologue_kernel<decltype(zero)><<<grid, kThreads, 0, stream()>>>(arguments); });
  check_launch("the gradient through the activation");
  return space;
}

void swiglu(const void* pre, void* y, const void* residual, int64_t n, int out, DType dtype) {
  const int half = out / 2;
  if (n == 0 || half == 0) return;
  dispatch_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    swiglu_kernel<T><<<row_blocks(n), row_threads(half), 0, stream()>>>(static_cast<const T*>(pre), static_cast<T*>(y),
                                                                        static_cast<const T*>(residual), n, half);
  });
  check_launch("swiglu");
}

}  // namespace sffn::cuda
