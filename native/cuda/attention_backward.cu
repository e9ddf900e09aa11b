// The gradient of causal attention. With P = exp(S − lse) computed anew tile by tile and delta = Σ dy·y of each row:
//   dV = Pᵀ dY,  dP = dY Vᵀ,  dS = P ∘ (dP − delta),  dQ = dS K,  dK = dSᵀ Q.
// One kernel has blocks of queries and gives dQ. Another has blocks of keys and gives dK and dV over all query heads of
// the group. So every sum has one owner and one order.
#include "attention_heads.cuh"

namespace sffn::cuda {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;

// Floats from row to row of the gradients on their way to memory. Four lanes have 4 · kRun neighbouring columns of a
// row. Rows are longer by that many, so that the next row's columns lie in the next banks.
template <class T, int D>
constexpr int kStagedStride = D + 4 * Products<T, D>::kRun;
constexpr int kStoredPack = 4;  // of them to an access: 16 bytes

struct Gradient {
  AttentionSizes sizes;
  float scale;
  const float *lse, *delta;  // [batch, heads, seq]
  void* dqkv;
  Rotary rotary;
  bool whole_packs;
};

// delta [batch, heads, seq] of dy and y [batch, seq, heads, head_size]: a warp for each row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    delta_kernel(const T* dy, const T* y, float* delta, int64_t rows, AttentionSizes sizes) {
  const int64_t step = gridDim.x * int64_t{kThreads / kWarp};
  for (int64_t row = blockIdx.x * int64_t{kThreads / kWarp} + warp(); row < rows; row += step) {
    float own = 0.f;
    for (int64_t i = row * sizes.head_size + lane(); i < (row + 1) * sizes.head_size; i += kWarp)
      own += to_float(dy[i]) * to_float(y[i]);
    own = warp_sum(own);
    const int64_t head = row % sizes.heads, position = row / sizes.heads % sizes.seq;
    const int64_t b = row / sizes.heads / sizes.seq;
    if (lane() == 0) delta[(b * sizes.heads + head) * sizes.seq + position] = own;
  }
}

// Writes a warp's 16 rows of gradients, rotated back from their positions, into column `slot` · head_size of dqkv. They
// pass through the warp's own f32 rows [16, kStagedStride] of shared memory.
template <class T, int D>
__device__ void store_gradient(const float (&o)[D / 8][4], float factor, float* staging, const Gradient& to, int64_t b,
                               int64_t slot, int warp_first, Rotary rotary) {
  constexpr int kStride = kStagedStride<T, D>;
  float* rows = staging + warp() * 16 * kStride;
  __syncwarp();
  store_rows<T, D, kStride>(rows, o, {factor, factor});
  __syncwarp();
  const int head_size = static_cast<int>(to.sizes.head_size),
            inside = min(16, static_cast<int>(to.sizes.seq) - warp_first);
  const int64_t width = to.sizes.width();
  T* out = static_cast<T*>(to.dqkv) + (b * to.sizes.seq + warp_first) * width + slot * head_size;
  const auto store = [&](auto pack) {
    constexpr int N = decltype(pack)::value, kPacks = D / N;
    auto* packs = reinterpret_cast<Pack<T, N>*>(out);
    for (int c = lane(); c < inside * kPacks; c += kWarp) {
      const int r = c / kPacks, column = c % kPacks * N;
      if (column >= head_size) continue;
      const float* row = rows + r * kStride;
      float value[N];
      load_pack<N>(row + column, value);
      if (rotary.half > 0) {
        const bool second = column >= rotary.half;
        const int pair = second ? column - rotary.half : column;
        float other[N], cosine[N], sine[N];
        load_pack<N>(row + (second ? pair : column + rotary.half), other);
        load_turns(rotary, warp_first + r, pair, cosine, sine);
#pragma unroll
        for (int i = 0; i < N; ++i) value[i] = value[i] * cosine[i] + (second ? -other[i] : other[i]) * sine[i];
      }
      store_pack<N>(packs[r * (width / N) + column / N].value, value);
    }
  };
  if (to.whole_packs)
    store(std::integral_constant<int, kStoredPack>{});
  else
    store(std::integral_constant<int, 1>{});
}

template <class T, int D>
__global__ void __launch_bounds__(Tile<T, D>::kThreads, 1)
    query_gradient_kernel(Heads<T> q, Heads<T> k, Heads<T> v, Heads<T> dy, Gradient to) {
  using Shape = Tile<T, D>;
  constexpr int kPart = Shape::kBackwardPart < Shape::kStream ? Shape::kBackwardPart : Shape::kStream;
  constexpr int kBlocks = kPart / 8;
  extern __shared__ float4 shared[];
  T* queries = reinterpret_cast<T*>(shared);
  T* gradients = queries + Shape::kRows * Shape::kStride;
  T* passing = gradients + Shape::kRows * Shape::kStride;
  const AttentionSizes& sizes = to.sizes;
  const int seq = static_cast<int>(sizes.seq);
  const int64_t pairs = sizes.batch * sizes.heads, pair = blockIdx.x % pairs;
  const int blocks = (seq + Shape::kRows - 1) / Shape::kRows;
  const int first = (blocks - 1 - static_cast<int>(blockIdx.x / pairs)) * Shape::kRows;
  const int64_t b = pair / sizes.heads, head = pair % sizes.heads, kv = head / sizes.group();
  const T *k_head = k.at(b, kv), *v_head = v.at(b, kv);
  const int warp_first = first + warp() * 16, row = warp_first + lane() / 4;
  const int warp_offset = warp() * 16 * Shape::kStride;
  float lse[2], delta[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const bool inside = row + r * 8 < seq;
    lse[r] = inside ? to.lse[pair * seq + row + r * 8] * kLog2E : 0.f;
    delta[r] = inside ? to.delta[pair * seq + row + r * 8] : 0.f;
  }

  float dq[D / 8][4] = {};
  load_tile<T, D, Shape::kRows>(queries, q.at(b, head), q.row_step, first, seq);
  load_tile<T, D, Shape::kRows>(gradients, dy.at(b, head), dy.row_step, first, seq);
  const int count = (min(first + Shape::kRows, seq) + Shape::kStream - 1) / Shape::kStream;
  for_passing<Shape>(
      passing, count,
      [&](int i, T* keys, T* values) {
        load_tile<T, D, Shape::kStream>(keys, k_head, k.row_step, i * Shape::kStream, seq);
        load_tile<T, D, Shape::kStream>(values, v_head, v.row_step, i * Shape::kStream, seq);
      },
      [&](int i, const T* keys, const T* values) {
#pragma unroll 1
        for (int part = 0; part < Shape::kStream; part += kPart) {
          const int key = i * Shape::kStream + part;
          if (key > warp_first + 15) return;  // hidden from these rows, as are all that follow
          float s[kBlocks][4], dp[kBlocks][4];
          Products<T, D>::rows_by_rows(s, queries + warp_offset, keys + part * Shape::kStride);
          Products<T, D>::rows_by_rows(dp, gradients + warp_offset, values + part * Shape::kStride);
#pragma unroll
          for (int n = 0; n < kBlocks; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const bool hidden = key + n * 8 + lane() % 4 * 2 + e % 2 > row + e / 2 * 8;
              const float p = hidden ? 0.f : exp2f(s[n][e] * (to.scale * kLog2E) - lse[e / 2]);
              s[n][e] = p * (dp[n][e] - delta[e / 2]);
            }
          Products<T, D>::add_weighted(dq, s, keys + part * Shape::kStride);
        }
      });
  store_gradient<T, D>(dq, to.scale, reinterpret_cast<float*>(shared), to, b, head, warp_first, to.rotary);
}

// kKeys, kValues: whether to compute dK, dV. Both in one pass where a thread's registers can hold both.
template <class T, int D, bool kKeys, bool kValues>
__global__ void __launch_bounds__(Tile<T, D>::kThreads, 1)
    key_gradient_kernel(Heads<T> q, Heads<T> k, Heads<T> v, Heads<T> dy, Gradient to) {
  using Shape = Tile<T, D>;
  constexpr int kPart = Shape::kBackwardPart < Shape::kStream ? Shape::kBackwardPart : Shape::kStream;
  constexpr int kBlocks = kPart / 8;
  extern __shared__ float4 shared[];
  T* keys = reinterpret_cast<T*>(shared);
  T* values = keys + Shape::kRows * Shape::kStride;
  T* passing = values + Shape::kRows * Shape::kStride;
  const AttentionSizes& sizes = to.sizes;
  const int seq = static_cast<int>(sizes.seq);
  const int64_t pairs = sizes.batch * sizes.kv_heads, pair = blockIdx.x % pairs;
  const int first = static_cast<int>(blockIdx.x / pairs) * Shape::kRows;  // most queries see the first keys
  const int64_t b = pair / sizes.kv_heads, kv = pair % sizes.kv_heads, first_head = kv * sizes.group();
  const int warp_first = first + warp() * 16, row = warp_first + lane() / 4;
  const int warp_offset = warp() * 16 * Shape::kStride;
  // Queries from the first that sees any of these keys, for one head of the group after the other.
  const int start = first / Shape::kStream;
  const int per_head = (seq + Shape::kStream - 1) / Shape::kStream - start;

  float dk[kKeys ? D / 8 : 1][4] = {}, dv[kValues ? D / 8 : 1][4] = {};
  load_tile<T, D, Shape::kRows>(keys, k.at(b, kv), k.row_step, first, seq);
  load_tile<T, D, Shape::kRows>(values, v.at(b, kv), v.row_step, first, seq);
  for_passing<Shape>(
      passing, per_head * static_cast<int>(sizes.group()),
      [&](int i, T* queries, T* gradients) {
        const int64_t head = first_head + i / per_head;
        const int query = (start + i % per_head) * Shape::kStream;
        load_tile<T, D, Shape::kStream>(queries, q.at(b, head), q.row_step, query, seq);
        load_tile<T, D, Shape::kStream>(gradients, dy.at(b, head), dy.row_step, query, seq);
      },
      [&](int i, const T* queries, const T* gradients) {
#pragma unroll 1
        for (int part = 0; part < Shape::kStream; part += kPart) {
          const int query = (start + i % per_head) * Shape::kStream + part;
          if (query + kPart <= warp_first) continue;  // none of them sees these keys
          const int64_t column_base = (b * sizes.heads + first_head + i / per_head) * seq;
          float s[kBlocks][4], dp[kBlocks][4];
          Products<T, D>::rows_by_rows(s, keys + warp_offset, queries + part * Shape::kStride);
          if constexpr (kKeys)
            Products<T, D>::rows_by_rows(dp, values + warp_offset, gradients + part * Shape::kStride);
#pragma unroll
          for (int n = 0; n < kBlocks; ++n)
#pragma unroll
            for (int c = 0; c < 2; ++c) {
              const int column = query + n * 8 + lane() % 4 * 2 + c;
              const bool inside = column < seq;
              const float lse = inside ? to.lse[column_base + column] * kLog2E : 0.f;
              const float delta = kKeys && inside ? to.delta[column_base + column] : 0.f;
#pragma unroll
              for (int e = c; e < 4; e += 2) {
                const bool hidden = !inside || row + e / 2 * 8 > column;
                s[n][e] = hidden ? 0.f : exp2f(s[n][e] * (to.scale * kLog2E) - lse);
                if constexpr (kKeys) dp[n][e] = s[n][e] * (dp[n][e] - delta);
              }
            }
          if constexpr (kValues) Products<T, D>::add_weighted(dv, s, gradients + part * Shape::kStride);
          if constexpr (kKeys) Products<T, D>::add_weighted(dk, dp, queries + part * Shape::kStride);
        }
      });
  float* staging = reinterpret_cast<float*>(shared);
  if constexpr (kKeys) store_gradient<T, D>(dk, to.scale, staging, to, b, sizes.heads + kv, warp_first, to.rotary);
  if constexpr (kValues)
    store_gradient<T, D>(dv, 1.f, staging, to, b, sizes.heads + sizes.kv_heads + kv, warp_first, Rotary{nullptr, 0});
}

template <class T, int D>
void launch_backward(const T* dy, const T* qkv, const T* y, const float* lse, T* dqkv, const AttentionSizes& sizes,
                     double rotary_base) {
  using Shape = Tile<T, D>;
  const RotaryTable table(sizes.seq, sizes.head_size, rotary_base);
  const Rotary& rotary = table.rotary();
  const int64_t first_key = sizes.heads, first_value = first_key + sizes.kv_heads;
  const PackedHeads<T> packed(qkv, sizes.slots(), 0, first_value, D, rotary, sizes);
  const PackedHeads<T> packed_dy(dy, sizes.heads, 0, 0, D, Rotary{nullptr, 0}, sizes);
  const int64_t rows = sizes.batch * sizes.seq * sizes.heads;
  const Workspace<float> delta(rows);
  delta_kernel<<<blocks_for(rows * kWarp), kThreads, 0, stream()>>>(dy, y, delta.get(), rows, sizes);
  check_launch("attention_backward: delta");

  const bool whole_packs =
      sizes.head_size % kStoredPack == 0 && rotary.half % kStoredPack == 0 && aligned(dqkv, kStoredPack * sizeof(T));
  const Gradient to{
      sizes, static_cast<float>(1 / std::sqrt(double(sizes.head_size))), lse, delta.get(), dqkv, rotary, whole_packs};
  constexpr int kBytes = Shape::bytes(2, 2);
  static_assert(Shape::kRows * kStagedStride<T, D> * int{sizeof(float)} <= kBytes);
  const auto launch = [&](auto kernel, int64_t heads) {
    allow_shared_memory(kernel, kBytes);
    const int64_t tasks = ceil_div(sizes.seq, Shape::kRows) * sizes.batch * heads;
    kernel<<<static_cast<unsigned>(tasks), Shape::kThreads, kBytes, stream()>>>(
        packed.from(0), packed.from(first_key), packed.from(first_value), packed_dy.from(0), to);
    check_launch("attention_backward");
  };
  launch(query_gradient_kernel<T, D>, sizes.heads);
  if constexpr (D <= 128) {
    launch(key_gradient_kernel<T, D, true, true>, sizes.kv_heads);
  } else {
    launch(key_gradient_kernel<T, D, true, false>, sizes.kv_heads);
    launch(key_gradient_kernel<T, D, false, true>, sizes.kv_heads);
  }
}

}  // namespace

void attention_backward(View dy, View qkv, View y, View lse, View dqkv, int64_t batch, int64_t seq, int64_t heads,
                        int64_t kv_heads, int64_t head_size, double rotary_base) {
  if (dqkv.size == 0) return;
  const AttentionSizes sizes{batch, seq, heads, kv_heads, head_size};
  dispatch_float(dqkv.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_head(head_size, [&](auto padded) {
      launch_backward<T, decltype(padded)::value>(data_of<T>(dy), data_of<T>(qkv), data_of<T>(y), data_of<float>(lse),
                                                  data_of<T>(dqkv), sizes, rotary_base);
    });
  });
}

}  // namespace sffn::cuda
