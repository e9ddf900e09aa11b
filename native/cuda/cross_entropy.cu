// Cross entropy of logits [n, classes]: the formulas of native/cpu/cross_entropy.inl. Rows whose target is ignore_index
// count nowhere. A target that is not a class sets a fault and counts as ignored.
#include "rows.cuh"

namespace sffn::cuda {
namespace {

__device__ bool counts(int target, int64_t classes, int64_t ignore_index, int* faults) {
  if (target == ignore_index) return false;
  if (target >= 0 && target < classes) return true;
  if (threadIdx.x == 0) atomicOr(faults, kTargetOutOfRange);
  return false;
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    row_losses_kernel(const T* logits, const int* targets, float* losses, float* lse, int64_t n, int64_t classes,
                      int64_t ignore_index, int* faults) {
  for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
    const int target = targets[r];
    float loss = 0.f, log_sum = 0.f;
    if (counts(target, classes, ignore_index, faults)) {
      const T* row = logits + r * classes;
      const MaxSum sums = row_max_sum<N>(row, classes);
      const float log_total = logf(sums.total);
      log_sum = sums.top + log_total;
      loss = log_total + (sums.top - to_float(row[target]));
    }
    if (threadIdx.x == 0) {
      losses[r] = loss;
      lse[r] = log_sum;
    }
  }
}

// One block: the mean over the rows that count, and their number.
__global__ void __launch_bounds__(kRowThreads)
    mean_loss_kernel(const float* losses, const int* targets, float* loss, float* count, int64_t n, int64_t classes,
                     int64_t ignore_index) {
  double total = 0;
  int counted = 0;
  for (int64_t r = threadIdx.x; r < n; r += blockDim.x) {
    total += losses[r];
    counted += targets[r] != ignore_index && targets[r] >= 0 && targets[r] < classes;
  }
  total = block_join(total, 0.0, [](double a, double b) { return a + b; });
  counted = block_join(counted, 0, [](int a, int b) { return a + b; });
  if (threadIdx.x != 0) return;
  loss[0] = counted > 0 ? static_cast<float>(total / counted) : 0.f;
  count[0] = static_cast<float>(counted);
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    cross_entropy_backward_kernel(const float* dloss, const T* logits, const int* targets, const float* lse,
                                  const float* count, T* dlogits, int64_t n, int64_t classes, int64_t ignore_index,
                                  int* faults) {
  const float scale = dloss[0] / fmaxf(count[0], 1.f);
  for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
    const int target = targets[r];
    const bool counted = counts(target, classes, ignore_index, faults);
    const float shift = lse[r];
    for_packs<N>(classes, [&](int64_t c) {
      float value[N];
      load_pack<N>(logits + r * classes + c, value);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float probability = expf(value[k] - shift);
        value[k] = counted ? scale * (c + k == target ? probability - 1.f : probability) : 0.f;
      }
      store_pack<N>(dlogits + r * classes + c, value);
    });
  }
}

}  // namespace

void cross_entropy_forward(View logits, View targets, View loss, View lse, View count, int64_t n, int64_t classes,
                           int64_t ignore_index) {
  const Workspace<float> losses(n);
  if (n > 0)
    dispatch_float(logits.dtype, [&](auto zero) {
      using T = decltype(zero);
      dispatch_width<T>(classes, {logits.data}, [&](auto width) {
        constexpr int N = decltype(width)::value;
        row_losses_kernel<T, N><<<row_blocks(n), row_threads(classes / N), 0, stream()>>>(
            data_of<T>(logits), data_of<int>(targets), losses.get(), data_of<float>(lse), n, classes, ignore_index,
            fault_flags());
      });
    });
  check_launch("cross_entropy_forward");
  mean_loss_kernel<<<1, row_threads(n), 0, stream()>>>(losses.get(), data_of<int>(targets), data_of<float>(loss),
                                                       data_of<float>(count), n, classes, ignore_index);
  check_launch("cross_entropy_forward: mean");
}

void cross_entropy_backward(View dloss, View logits, View targets, View lse, View count, View dlogits, int64_t n,
                            int64_t classes, int64_t ignore_index) {
  if (n * classes == 0) return;
  dispatch_float(dlogits.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>(classes, {logits.data, dlogits.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      cross_entropy_backward_kernel<T, N><<<row_blocks(n), row_threads(classes / N), 0, stream()>>>(
          data_of<float>(dloss), data_of<T>(logits), data_of<int>(targets), data_of<float>(lse), data_of<float>(count),
          data_of<T>(dlogits), n, classes, ignore_index, fault_flags());
    });
  });
  check_launch("cross_entropy_backward");
}

}  // namespace sffn::cuda
