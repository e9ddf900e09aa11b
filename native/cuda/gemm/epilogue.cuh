// What happens to a finished piece of C on its way to memory.
#pragma once

#include "product.cuh"

namespace sffn::cuda {

constexpr int kRun = 4;  // consecutive columns that a thread of a tile stores at once

template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Run {
  T values[kCount];
};

// A division is expensive; only shuffled products do it, once a stored element.
__device__ inline int64_t column_offset(const Product& p, int outer, int column) {
  if (p.shuffle_blocks == 0) return column * p.c_column;
  const int g = outer * p.n + column;
  return static_cast<int64_t>(g % p.shuffle_blocks) * p.shuffle_rank + g / p.shuffle_blocks;
}

__device__ inline float activated(Activation activation, float value) {
  switch (activation) {
    case Activation::gelu:
      return gelu(value);
    case Activation::silu:
      return silu(value);
    case Activation::relu:
      return relu(value);
    default:
      return value;
  }
}

// Neighbouring columns: all at once, or the first `count` one by one.
template <class T, int kCount>
__device__ Run<T, kCount> load_columns(const T* from, bool whole, int count) {
  if (whole) return *reinterpret_cast<const Run<T, kCount>*>(from);
  Run<T, kCount> run = {};
#pragma unroll
  for (int j = 0; j < kCount; ++j)
    if (j < count) run.values[j] = from[j];
  return run;
}
template <class T, int kCount>
__device__ void store_columns(T* to, const Run<T, kCount>& run, bool whole, int count) {
  if (whole) {
    *reinterpret_cast<Run<T, kCount>*>(to) = run;
    return;
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j)
    if (j < count) to[j] = run.values[j];
}

// values: gradients by what the activation made, of `count` columns; stored are those by its pre-activation.
template <class T, int kCount>
__device__ void store_gradients(const Product& p, int outer, int inner, int row, int column,
                                const float (&values)[kCount], bool whole, int count) {
  const Through& through = p.through;
  const int64_t at = outer * p.c_batch[0] + inner * p.c_batch[1] + row * p.ldc + column;
  const T* pre = static_cast<const T*>(through.pre) + at;
  T* c = static_cast<T*>(p.c) + at;
  const auto gates = load_columns<T, kCount>(pre, whole, count);
  Run<T, kCount> ups = {}, activated, gate_gradients, up_gradients;
  if (through.up) ups = load_columns<T, kCount>(pre + through.up, whole, count);
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const Gradient g = gradient_of(p.activation, values[j], to_float(gates.values[j]), to_float(ups.values[j]));
    activated.values[j] = from_float<T>(g.activated);
    gate_gradients.values[j] = from_float<T>(g.gate);
    up_gradients.values[j] = from_float<T>(g.up);
  }
  store_columns(c, gate_gradients, whole, count);
  if (through.up) store_columns(c + through.up, up_gradients, whole, count);
  if (!through.activated) return;
  const int64_t kept_at = outer * through.batch[0] + inner * through.batch[1] + row * through.ld + column;
  store_columns(static_cast<T*>(through.activated) + kept_at, activated, whole, count);
}

// values: columns column, column + 1, ... of a row of the batch; those beyond n are dropped. kThrough: whether the
// product may be one backward through an activation.
template <class T, bool kThrough, int kCount>
__device__ void store_run(const Product& p, int batch, int row, int column, const float (&values)[kCount]) {
  if (row >= p.m || column >= p.n) return;
  const int count = min(kCount, p.n - column);
  if (p.splits > 1) {
    const int64_t matrix = static_cast<int64_t>(blockIdx.z) * (p.batches[0] * p.batches[1]) + batch;
    float* to = p.partial + (matrix * p.m + row) * p.n + column;
    if (kCount == kRun && p.n % kRun == 0)
      *reinterpret_cast<float4*>(to) =
          make_float4(values[0], values[1 % kCount], values[2 % kCount], values[3 % kCount]);
    else
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        if (j < count) to[j] = values[j];
    return;
  }
  const int outer = batch / p.batches[1], inner = batch % p.batches[1];
  if (kThrough && p.through.pre)
    return store_gradients<T>(p, outer, inner, row, column, values, p.vector_c && count == kCount, count);
  const int64_t base = outer * p.c_batch[0] + inner * p.c_batch[1] + row * p.ldc;
  if (p.c_is_f32) {
    float* c = static_cast<float*>(p.c) + base;
    if (kCount == kRun && p.vector_c && count == kCount) {
      float4& to = *reinterpret_cast<float4*>(c + column);
      const float4 before = p.accumulate ? to : make_float4(0.f, 0.f, 0.f, 0.f);
      to = make_float4(before.x + values[0], before.y + values[1 % kCount], before.z + values[2 % kCount],
                       before.w + values[3 % kCount]);
      return;
    }
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      if (j >= count) continue;
      float& to = c[column_offset(p, outer, column + j)];
      to = p.accumulate ? to + values[j] : values[j];
    }
    return;
  }
  T* c = static_cast<T*>(p.c) + base;
  T* pre = p.pre ? static_cast<T*>(p.pre) + base : nullptr;
  const T* bias = p.bias ? static_cast<const T*>(p.bias) + outer * p.bias_batch[0] + inner * p.bias_batch[1] : nullptr;

  Run<T, kCount> kept, result;
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    if (j >= count) continue;
    float value = values[j];
    if (bias) value += to_float(bias[(column + j) * p.bias_column]);
    kept.values[j] = from_float<T>(value);
    // What backward will see again, so that both agree on the derivative.
    if (pre) value = to_float(kept.values[j]);
    value = activated(p.activation, value);
    if (p.accumulate) value += to_float(c[column_offset(p, outer, column + j)]);
    result.values[j] = from_float<T>(value);
  }
  if (p.vector_c && count == kCount) {
    *reinterpret_cast<Run<T, kCount>*>(c + column) = result;
    if (pre) *reinterpret_cast<Run<T, kCount>*>(pre + column) = kept;
    return;
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    if (j >= count) continue;
    const int64_t at = column_offset(p, outer, column + j);
    c[at] = result.values[j];
    if (pre) pre[at] = kept.values[j];
  }
}

// Whether four columns lie side by side and can be stored at once.
__device__ inline bool stores_runs(const Product& p) { return p.vector_c || p.splits > 1; }

// A finished tile in shared memory, `ld` floats to a row, by runs of four columns.
template <class T, bool kThrough, int kSize>
__device__ void store_runs(const Product& p, int batch, const float* staged, int ld, int row0, int column0) {
  for (int i = threadIdx.x; i < kSize * kSize / kRun; i += blockDim.x) {
    const int row = i / (kSize / kRun), column = i % (kSize / kRun) * kRun;
    const float4 piece = *reinterpret_cast<const float4*>(staged + row * ld + column);
    const float values[kRun] = {piece.x, piece.y, piece.z, piece.w};
    store_run<T, kThrough>(p, batch, row0 + row, column0 + column, values);
  }
}

// The same by single columns: neighbouring threads take neighbouring ones, so that interleaved columns share sectors.
template <class T, bool kThrough, int kSize>
__device__ void store_single(const Product& p, int batch, const float* staged, int ld, int row0, int column0) {
  for (int i = threadIdx.x; i < kSize * kSize; i += blockDim.x) {
    const int row = i / kSize, column = i % kSize;
    const float value[1] = {staged[row * ld + column]};
    store_run<T, kThrough>(p, batch, row0 + row, column0 + column, value);
  }
}

}  // namespace sffn::cuda
