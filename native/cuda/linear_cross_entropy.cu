// The head of a language model: logits = x Wᵀ in f32, their cross entropy and its gradients. The logits exist for one
// chunk of rows at a time. The gradients of a group of chunks exist until the products that need them.
#include <algorithm>

#include "head_rows.h"
#include "layer.cuh"
#include "rows.cuh"

namespace sffn::cuda {
namespace {

// count[0]: targets that are not ignored.
__global__ void __launch_bounds__(kRowThreads)
    count_kernel(const int* targets, float* count, int64_t n, int64_t ignore) {
  int own = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) own += targets[i] != ignore;
  own = block_join(own, 0, [](int x, int y) { return x + y; });
  if (threadIdx.x == 0) count[0] = static_cast<float>(own);
}

// One block a row: its loss, and (softmax − onehot) / count, which overwrites the logits or goes to other memory.
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

// Adds in order within each thread, then over the threads in order: the same sum each time.
__global__ void __launch_bounds__(kRowThreads)
    mean_kernel(const float* losses, const float* count, float* loss, int64_t n) {
  double total = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) total += losses[i];
  total = block_join(total, 0.0, [](double x, double y) { return x + y; });
  if (threadIdx.x == 0) loss[0] = *count > 0 ? static_cast<float>(total / *count) : 0.f;
}

struct HeadMemory {
  HeadMemory(const HeadSizes& sizes, const HeadRows& rows)
      : rows(rows),
        logits(rows.chunk * sizes.classes),
        beside(sizes.beside() ? rows.group * sizes.classes : 0),
        sums(head_sums(sizes, rows)) {}

  HeadRows rows;
  Workspace<float> logits;
  Workspace<bf16> beside;
  Workspace<float> sums;
};

// Fewer rows where the device has less memory than the limit allows.
HeadMemory head_memory(const HeadSizes& sizes) {
  for (int64_t available = memory_of(here()).stats().available();;) {
    const HeadRows rows = head_rows(sizes, available);
    try {
      return {sizes, rows};
    } catch (const Error&) {
      if (rows.chunk <= kTileRows && rows.group == rows.chunk) throw;
      available = head_bytes(sizes, rows);
    }
  }
}

}  // namespace

void linear_cross_entropy(View x, View weight, View targets, View loss, View dx, View dweight, int64_t n,
                          int64_t features, int64_t classes, int64_t ignore_index) {
  const DType dtype = x.dtype;
  const int in = dimension(features), out = dimension(classes);
  const HeadSizes sizes{n, features, classes, dx || dweight, bool(dweight), dtype == DType::f32};
  const HeadMemory memory = head_memory(sizes);
  const HeadRows& rows = memory.rows;
  float* logits = memory.logits.get();
  void* dlogits = sizes.in_place ? static_cast<void*>(logits) : memory.beside.get();
  const Workspace<float> losses(n), count(1);
  count_kernel<<<1, kRowThreads, 0, stream()>>>(targets.i32(), count.get(), n, ignore_index);
  if (n == 0 && dweight) fill(dweight, 0);
  for (int64_t first = 0; first < n; first += rows.group) {
    const int group = dimension(std::min(rows.group, n - first));
    const void* x_rows = at(x.data, first * features, dtype);
    for (int64_t begin = 0; begin < group; begin += rows.chunk) {
      const int chunk = dimension(std::min(rows.chunk, group - begin));
      Product product;
      product.m = chunk;
      product.n = out;
      product.factors[0] = {
          .a = at(x_rows, begin * features, dtype), .b = weight.data, .lda = features, .ldb = features, .k = in};
      product.c = logits;
      product.ldc = classes;
      product.c_is_f32 = true;
      launch_gemm(product, dtype);
      dispatch_float(dtype, [&](auto zero) {
        using T = decltype(zero);
        T* gradient = sizes.gradient ? static_cast<T*>(dlogits) + begin * classes : nullptr;
        dispatch_width<T>(classes, {logits, gradient}, [&](auto width) {
          constexpr int N = decltype(width)::value;
          row_kernel<T, N><<<static_cast<unsigned>(chunk), row_threads(classes / N), 0, stream()>>>(
              logits, gradient, targets.i32() + first + begin, count.get(), losses.get() + first + begin, classes,
              ignore_index, fault_flags());
        });
      });
      check_launch("linear_cross_entropy");
    }
    if (dx) {
      Product input;
      input.m = group;
      input.n = in;
      input.b_k_contiguous = false;
      input.factors[0] = {.a = dlogits, .b = weight.data, .lda = classes, .ldb = features, .k = out};
      input.c = at(dx.data, first * features, dtype);
      input.ldc = features;
      launch_gemm(input, dtype);
    }
    if (dweight) {
      // A single group is the whole sum. Several are added in f32, for which dweight may have the wrong type.
      const bool beside = sizes.beside() && rows.group < n;
      Product sum;
      sum.m = out;
      sum.n = in;
      sum.a_k_contiguous = sum.b_k_contiguous = false;
      sum.factors[0] = {.a = dlogits, .b = x_rows, .lda = classes, .ldb = features, .k = group};
      sum.c = beside ? memory.sums.get() : dweight.data;
      sum.c_is_f32 = beside;
      sum.ldc = features;
      if (first > 0) sum.added = sum.c;
      launch_gemm(sum, dtype);
      if (beside && first + group == n) cast({sum.c, dweight.size, DType::f32, here()}, dweight);
    }
  }
  mean_kernel<<<1, kRowThreads, 0, stream()>>>(losses.get(), count.get(), loss.f32(), n);
  check_launch("linear_cross_entropy");
}

}  // namespace sffn::cuda
