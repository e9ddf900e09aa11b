// The head of a language model: logits = x Wᵀ in f32, their cross entropy and its gradients, one chunk of rows at a
// time.
#include <algorithm>

#include "gemm/product.cuh"
#include "rows.cuh"

namespace sffn::cuda {
namespace {

constexpr int64_t kLogits = int64_t{32} << 20;  // of a chunk: 128 MiB, rows enough for products at full speed

// count[0]: targets that are not ignored.
__global__ void __launch_bounds__(kRowThreads)
    count_kernel(const int* targets, float* count, int64_t n, int64_t ignore) {
  int own = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) own += targets[i] != ignore;
  own = block_join(own, 0, [](int x, int y) { return x + y; });
  if (threadIdx.x == 0) count[0] = static_cast<float>(own);
}

// One block a row: its loss, and, over the logits or beside them, (softmax − onehot) / count.
template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    row_kernel(const float* logits, T* gradient, const int* targets, const float* count, float* losses, int64_t classes,
               int64_t ignore, int* faults) {
  const int64_t row = blockIdx.x;
  const float* from = logits + row * classes;
  T* to = gradient ? gradient + row * classes : nullptr;
  const int64_t target = targets[row];
  const bool is_class = target >= 0 && target < classes;
  if (!is_class && target != ignore && threadIdx.x == 0) atomicOr(faults, kTargetOutOfRange);
  const MaxSum sums = row_max_sum<N>(from, classes);
  if (threadIdx.x == 0) losses[row] = is_class ? sums.top - from[target] + logf(sums.total) : 0.f;
  if (!to) return;
  __syncthreads();  // the target's logit is read before it is overwritten
  const float scale = is_class ? 1.f / *count : 0.f;
  for_packs<N>(classes, [&](int64_t c) {
    float value[N];
    load_pack<N>(from + c, value);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float probability = expf(value[k] - sums.top) / sums.total;
      value[k] = is_class ? (c + k == target ? probability - 1.f : probability) * scale : 0.f;
    }
    store_pack<N>(to + c, value);
  });
}

// In order within each thread, then the threads in order: the same sum each time.
__global__ void __launch_bounds__(kRowThreads)
    mean_kernel(const float* losses, const float* count, float* loss, int64_t n) {
  double total = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) total += losses[i];
  total = block_join(total, 0.0, [](double x, double y) { return x + y; });
  if (threadIdx.x == 0) loss[0] = *count > 0 ? static_cast<float>(total / *count) : 0.f;
}

}  // namespace

void linear_cross_entropy(View x, View weight, View targets, View loss, View dx, View dweight, int64_t n,
                          int64_t features, int64_t classes, int64_t ignore_index) {
  const DType dtype = x.dtype;
  const int64_t chunk = std::max<int64_t>(1, std::min(n, std::max<int64_t>(128, kLogits / classes)));
  const bool gradient = dx || dweight, in_place = dtype == DType::f32;
  const Workspace<float> logits(chunk * classes), losses(n), count(1);
  const size_t bytes = size_of(dtype);
  const Workspace<char> beside(gradient && !in_place ? chunk * classes * static_cast<int64_t>(bytes) : 0);
  void* dlogits = in_place ? static_cast<void*>(logits.get()) : beside.get();
  // Chunks add up in f32.
  const Workspace<float> sums(dweight && !in_place ? classes * features : 0);
  count_kernel<<<1, kRowThreads, 0, stream()>>>(targets.i32(), count.get(), n, ignore_index);
  if (n == 0 && dweight) fill(dweight, 0);
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int rows = static_cast<int>(std::min(chunk, n - begin));
    const void* x_rows = static_cast<const char*>(x.data) + static_cast<size_t>(begin * features) * bytes;
    Product product;
    product.m = rows;
    product.n = dimension(classes);
    product.factors[0] = {.a = x_rows, .b = weight.data, .lda = features, .ldb = features, .k = dimension(features)};
    product.c = logits.get();
    product.ldc = classes;
    product.c_is_f32 = true;
    launch_gemm(product, dtype);
    dispatch_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      dispatch_width<T>(classes, {logits.get(), dlogits}, [&](auto width) {
        constexpr int N = decltype(width)::value;
        row_kernel<T, N><<<static_cast<unsigned>(rows), row_threads(classes / N), 0, stream()>>>(
            logits.get(), gradient ? static_cast<T*>(dlogits) : nullptr, targets.i32() + begin, count.get(),
            losses.get() + begin, classes, ignore_index, fault_flags());
      });
    });
    check_launch("linear_cross_entropy");
    if (dx) {
      Product input;
      input.m = rows;
      input.n = dimension(features);
      input.b_k_contiguous = false;
      input.factors[0] = {.a = dlogits, .b = weight.data, .lda = classes, .ldb = features, .k = dimension(classes)};
      input.c = static_cast<char*>(dx.data) + static_cast<size_t>(begin * features) * bytes;
      input.ldc = features;
      launch_gemm(input, dtype);
    }
    if (dweight) {
      Product sum;
      sum.m = dimension(classes);
      sum.n = dimension(features);
      sum.a_k_contiguous = sum.b_k_contiguous = false;
      sum.factors[0] = {.a = dlogits, .b = x_rows, .lda = classes, .ldb = features, .k = rows};
      sum.c = in_place ? dweight.data : sums.get();
      sum.ldc = features;
      sum.c_is_f32 = true;
      if (begin > 0) sum.added = sum.c;
      launch_gemm(sum, dtype);
    }
  }
  if (dweight && !in_place && n > 0) cast({sums.get(), dweight.size, DType::f32, Device::cuda}, dweight);
  mean_kernel<<<1, kRowThreads, 0, stream()>>>(losses.get(), count.get(), loss.f32(), n);
  check_launch("linear_cross_entropy");
}

}  // namespace sffn::cuda
