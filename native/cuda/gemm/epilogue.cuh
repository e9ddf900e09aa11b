// What happens to a finished piece of C on its way to memory.
#pragma once

#include "product.cuh"

namespace sffn::cuda {

constexpr int kRun = 4;  // consecutive columns that a thread of a tile stores at once

template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Run {
  T values[kCount];
};

// `column` and the results after it, in a row of C or of anything with the same layout. Runs longer than kRun are
// whole.
template <int kCount>
class Columns {
 public:
  __device__ Columns(const Product& p, int outer, int column)
      : p_(p),
        first_(outer * p.n + column),
        column_(column),
        count_(min(kCount, p.results() - column)),
        whole_(kCount > kRun || (p.vector_c && count_ == kCount)) {}

  __device__ bool whole() const { return whole_; }

  template <class T>
  __device__ Run<T, kCount> load(const T* row) const {
    if (whole_) return *reinterpret_cast<const Run<T, kCount>*>(row + column_);
    Run<T, kCount> run = {};
#pragma unroll
    for (int j = 0; j < kCount; ++j)
      if (j < count_) run.values[j] = row[place_of(j)];
    return run;
  }
  template <class T>
  __device__ void store(T* row, const Run<T, kCount>& run) const {
    if (whole_) {
      *reinterpret_cast<Run<T, kCount>*>(row + column_) = run;
      return;
    }
#pragma unroll
    for (int j = 0; j < kCount; ++j)
      if (j < count_) row[place_of(j)] = run.values[j];
  }

 private:
  // A division is expensive: only shuffled products do it, once for each stored element.
  __device__ int64_t place_of(int j) const {
    if (p_.shuffle_blocks == 0) return (column_ + j) * p_.c_column;
    return shuffled(first_ + j, p_.shuffle_blocks, p_.shuffle_rank);
  }

  const Product& p_;
  const int first_, column_, count_;
  const bool whole_;
};

// The term to add to a column of a batch.
template <class T>
__device__ float bias_of(const Product& p, int outer, int inner, int column) {
  if (!p.bias || column >= p.n) return 0;
  return to_float(
      static_cast<const T*>(p.bias)[outer * p.bias_batch[0] + inner * p.bias_batch[1] + column * p.bias_column]);
}
// Sums and their bias. whole: all columns exist and can be read at once.
template <class T, int kCount>
__device__ void add_bias(const Product& p, int outer, int inner, int column, bool whole, float (&values)[kCount]) {
  if (!p.bias) return;
  Run<T, kCount> bias;
  if (whole && p.bias_column == 1) {
    const int64_t at = outer * p.bias_batch[0] + inner * p.bias_batch[1] + column;
    bias = *reinterpret_cast<const Run<T, kCount>*>(static_cast<const T*>(p.bias) + at);
#pragma unroll
    for (int j = 0; j < kCount; ++j) values[j] += to_float(bias.values[j]);
    return;
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) values[j] += bias_of<T>(p, outer, inner, column + j);
}

// The pre-activation value that forward uses. It is the stored one, which backward will read, so that both agree on the
// derivative.
template <class T>
__device__ float before_activation(const Product& p, float value) {
  return p.pre ? to_float(from_float<T>(value)) : value;
}

template <class T, int kCount>
__device__ Run<T, kCount> rounded(const float (&values)[kCount]) {
  Run<T, kCount> run;
#pragma unroll
  for (int j = 0; j < kCount; ++j) run.values[j] = from_float<T>(values[j]);
  return run;
}

// row: where it begins in C.
template <class T, int kCount>
__device__ void store_results(const Product& p, const Columns<kCount>& columns, int64_t row, float (&values)[kCount]) {
  if (p.added) {
    const auto added = columns.load(static_cast<const T*>(p.added) + row);
#pragma unroll
    for (int j = 0; j < kCount; ++j) values[j] += to_float(added.values[j]);
  }
  columns.store(static_cast<T*>(p.c) + row, rounded<T>(values));
}

__device__ inline int64_t row_of_c(const Product& p, int outer, int inner, int row) {
  return outer * p.c_batch[0] + inner * p.c_batch[1] + row * p.ldc;
}
__device__ inline int64_t row_of_pre(const Product& p, int outer, int inner, int row) {
  return outer * p.pre_batch[0] + inner * p.pre_batch[1] + row * p.pre_ld;
}

// values: gradients with respect to the activation's result; those with respect to the pre-activation are stored.
template <class T, int kCount>
__device__ void store_gradients(const Product& p, int outer, int inner, int row, const Columns<kCount>& columns,
                                const float (&values)[kCount]) {
  const Through& through = p.through;
  const int64_t at = row_of_c(p, outer, inner, row);
  const T* pre = static_cast<const T*>(through.pre) + at;
  T* c = static_cast<T*>(p.c) + at;
  const auto gates = columns.load(pre);
  Run<T, kCount> ups = {}, activated, gate_gradients, up_gradients;
  if (through.up) ups = columns.load(pre + through.up);
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const Gradient g = gradient_of(p.activation, values[j], to_float(gates.values[j]), to_float(ups.values[j]));
    activated.values[j] = from_float<T>(g.activated);
    gate_gradients.values[j] = from_float<T>(g.gate);
    up_gradients.values[j] = from_float<T>(g.up);
  }
  columns.store(c, gate_gradients);
  if (through.up) columns.store(c + through.up, up_gradients);
  if (!through.activated) return;
  const int64_t kept_at = outer * through.batch[0] + inner * through.batch[1] + row * through.ld;
  columns.store(static_cast<T*>(through.activated) + kept_at, activated);
}

// The sums of a part of a split product, which add_parts joins.
template <int kCount>
__device__ void store_part(const Product& p, int batch, int row, int column, const float (&values)[kCount]) {
  const int64_t matrix = static_cast<int64_t>(blockIdx.z) * (p.batches[0] * p.batches[1]) + batch;
  float* to = p.partial + (matrix * p.m + row) * p.n + column;
  if (kCount == kRun && p.whole_parts()) {
    *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1 % kCount], values[2 % kCount], values[3 % kCount]);
    return;
  }
  const int end = column < p.half() ? p.half() : p.n;
#pragma unroll
  for (int j = 0; j < kCount; ++j)
    if (column + j < end) to[j] = values[j];
}

// values: columns column, column + 1, ... of a row of the batch; columns beyond the end are dropped. kThrough: whether
// the product may be one backward through an activation. Not for gated products, unless they are split; runs longer
// than kRun are neither split nor f32.
template <class T, bool kThrough, int kCount>
__device__ void store_run(const Product& p, int batch, int row, int column, float (&values)[kCount]) {
  if (row >= p.m || column >= p.n) return;
  if (kCount <= kRun && p.splits > 1) return store_part(p, batch, row, column, values);
  const int outer = batch / p.batches[1], inner = batch % p.batches[1];
  const Columns<kCount> columns(p, outer, column);
  if (kThrough && p.through.pre) return store_gradients<T>(p, outer, inner, row, columns, values);
  const int64_t at = row_of_c(p, outer, inner, row);
  if constexpr (kCount <= kRun)
    if (p.c_is_f32) return store_results<float>(p, columns, at, values);
  add_bias<T>(p, outer, inner, column, columns.whole(), values);
  if (p.pre) columns.store(static_cast<T*>(p.pre) + row_of_pre(p, outer, inner, row), rounded<T>(values));
#pragma unroll
  for (float& value : values) value = activated(p.activation, before_activation<T>(p, value));
  store_results<T>(p, columns, at, values);
}

// Forward of swiglu: the sums of the columns column, column + 1, ... and of the columns n/2 further on.
template <class T, int kCount>
__device__ void store_gated(const Product& p, int batch, int row, int column, float (&gates)[kCount],
                            float (&ups)[kCount]) {
  if (row >= p.m || column >= p.results()) return;
  const int outer = batch / p.batches[1], inner = batch % p.batches[1];
  const Columns<kCount> columns(p, outer, column);
  add_bias<T>(p, outer, inner, column, columns.whole(), gates);
  add_bias<T>(p, outer, inner, column + p.half(), columns.whole(), ups);
  if (p.pre) {
    T* pre = static_cast<T*>(p.pre) + row_of_pre(p, outer, inner, row);
    columns.store(pre, rounded<T>(gates));
    columns.store(pre + p.half() * p.c_column, rounded<T>(ups));
  }
#pragma unroll
  for (int j = 0; j < kCount; ++j) gates[j] = silu(before_activation<T>(p, gates[j])) * before_activation<T>(p, ups[j]);
  store_results<T>(p, columns, row_of_c(p, outer, inner, row), gates);
}

template <int kCount>
__device__ void load_staged(const float* from, float (&values)[kCount]) {
  const auto run = *reinterpret_cast<const Run<float, kCount>*>(from);
#pragma unroll
  for (int j = 0; j < kCount; ++j) values[j] = run.values[j];
}

template <class T, bool kAK, bool kBK, int kSize, int kCount>
__device__ void store_tile_by(const Product& p, int batch, const float* staged, int ld, int row0, int column0) {
  constexpr int kRuns = kSize / kCount;
  if constexpr (kAK && kBK)
    if (p.gated() && p.splits == 1) {
      for (int i = threadIdx.x; i < kSize * kRuns / 2; i += blockDim.x) {
        const int row = i / (kRuns / 2), gate = i % (kRuns / 2) * kCount;
        float gates[kCount], ups[kCount];
        const float* from = staged + row * ld + gate_column(gate);
        load_staged(from, gates);
        load_staged(from + kGates, ups);
        store_gated<T>(p, batch, row0 + row, column0 / 2 + gate, gates, ups);
      }
      return;
    }
  for (int i = threadIdx.x; i < kSize * kRuns; i += blockDim.x) {
    const int row = i / kRuns, column = i % kRuns * kCount;
    float values[kCount];
    load_staged(staged + row * ld + column, values);
    store_run<T, kAK && !kBK>(p, batch, row0 + row, tile_column(column0 + column, kAK && kBK ? p.half() : 0), values);
  }
}

// Whether four columns lie side by side and can be stored at once.
__device__ inline bool stores_runs(const Product& p) { return p.vector_c || p.splits > 1; }

// Stores a finished tile in shared memory, `ld` floats to a row: by runs of columns, or by single ones. Then
// neighbouring threads store neighbouring columns, so that interleaved columns share sectors.
template <class T, bool kAK, bool kBK, int kSize>
__device__ void store_tile(const Product& p, int batch, const float* staged, int ld, int row0, int column0) {
  if (stores_runs(p))
    store_tile_by<T, kAK, kBK, kSize, kRun>(p, batch, staged, ld, row0, column0);
  else
    store_tile_by<T, kAK, kBK, kSize, 1>(p, batch, staged, ld, row0, column0);
}

}  // namespace sffn::cuda
