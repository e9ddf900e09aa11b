// Causal attention without the seq x seq matrix. Each block has a block of queries of one head and walks over the
// blocks of keys up to its own. It keeps the running maximum, sum and output of each row in registers (online softmax,
// Milakov and Gimelshein 2018; in tiles, Dao et al. 2022).
#include "attention_heads.cuh"

namespace sffn::cuda {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;

__device__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ float quad_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

// The rows of a lane: running maximum of the scores, Σ of the weights of the lane's columns, and outputs.
template <class T, int D>
struct RunningRows {
  float top[2] = {-INFINITY, -INFINITY}, total[2] = {};
  float o[D / 8][4] = {};

  // Adds the scores s and turns them into weights; exponent = log2(e) · the scale of the scores.
  template <int B>
  __device__ void take(float (&s)[B][4], float exponent) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float best = top[r];
#pragma unroll
      for (const auto& block : s) best = fmaxf(best, fmaxf(block[2 * r], block[2 * r + 1]));
      best = quad_max(best);
      const float shrink = exp2f((top[r] - best) * exponent);
      top[r] = best;
      total[r] *= shrink;
#pragma unroll
      for (auto& block : s)
#pragma unroll
        for (int e = 2 * r; e < 2 * r + 2; ++e) {
          block[e] = exp2f((block[e] - best) * exponent);
          total[r] += block[e];
        }
#pragma unroll
      for (auto& block : o) {
        block[2 * r] *= shrink;
        block[2 * r + 1] *= shrink;
      }
    }
  }
};

template <class T, int D>
__global__ void __launch_bounds__(Tile<T, D>::kThreads, 1)
    attention_forward_kernel(Heads<T> q, Heads<T> k, Heads<T> v, T* y, float* lse, AttentionSizes sizes, float scale,
                             Rotary rotary, bool whole_queries, bool whole_results) {
  using Shape = Tile<T, D>;
  constexpr int kBlocks = Shape::kForwardPart / 8;
  extern __shared__ float4 shared[];
  T* queries = reinterpret_cast<T*>(shared);
  T* passing = queries + Shape::kRows * Shape::kStride;
  const int seq = static_cast<int>(sizes.seq);
  // The longest rows first: those of the last block of queries.
  const int64_t pairs = sizes.batch * sizes.heads, pair = blockIdx.x % pairs;
  const int blocks = (seq + Shape::kRows - 1) / Shape::kRows;
  const int first = (blocks - 1 - static_cast<int>(blockIdx.x / pairs)) * Shape::kRows;
  const int64_t b = pair / sizes.heads, head = pair % sizes.heads, kv = head / sizes.group();
  const T *k_head = k.at(b, kv), *v_head = v.at(b, kv);
  const int warp_first = first + warp() * 16, row = warp_first + lane() / 4;
  const int head_size = static_cast<int>(sizes.head_size);
  T* warp_rows = queries + warp() * 16 * Shape::kStride;

  RunningRows<T, D> rows;
  const int count = (min(first + Shape::kRows, seq) + Shape::kStream - 1) / Shape::kStream;
  for_passing<Shape>(
      passing, count,
      [&](int i, T* keys, T* values) {
        load_tile<T, D, Shape::kStream>(keys, k_head, k.row_step, i * Shape::kStream, seq);
        load_tile<T, D, Shape::kStream>(values, v_head, v.row_step, i * Shape::kStream, seq);
      },
      [&](int i, const T* keys, const T* values) {
        const int key = i * Shape::kStream;
        if (key > warp_first + 15) return;  // all of it is hidden from these rows
        float s[kBlocks][4];
        Products<T, D>::rows_by_rows(s, warp_rows, keys);
        if (key + Shape::kStream > warp_first) {
#pragma unroll
          for (int n = 0; n < kBlocks; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e)
              if (key + n * 8 + lane() % 4 * 2 + e % 2 > row + e / 2 * 8) s[n][e] = -INFINITY;
        }
        rows.take(s, scale * kLog2E);
        Products<T, D>::add_weighted(rows.o, s, values);
      },
      [&] {
        const auto load = [&](auto pack) {
          load_turned<T, D, Shape::kRows, decltype(pack)::value>(queries, q.at(b, head), q.row_step, first, seq,
                                                                 head_size, rotary);
        };
        if (whole_queries)
          load(std::integral_constant<int, kTurnedPack>{});
        else
          load(std::integral_constant<int, 1>{});
      });

  // Passes through the warp's rows of the query tile, which no other warp reads, so that y is written in whole rows.
  __syncwarp();
  float factor[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float total = quad_sum(rows.total[r]);
    factor[r] = 1.f / total;
    if (lane() % 4 == 0 && row + r * 8 < seq) lse[pair * seq + row + r * 8] = rows.top[r] * scale + logf(total);
  }
  store_rows<T, D, Shape::kStride>(warp_rows, rows.o, factor);
  __syncwarp();
  const int64_t y_step = sizes.heads * sizes.head_size;
  T* to = y + (b * seq + warp_first) * y_step + head * sizes.head_size;
  const int inside = min(16, seq - warp_first);
  const auto store = [&](auto pack) {
    constexpr int N = decltype(pack)::value, kPacks = D / N;
    for (int c = lane(); c < 16 * kPacks; c += kWarp) {
      const int r = spread_row<D*int{sizeof(T)}>(c / kPacks), column = c % kPacks * N;
      if (r >= inside || column >= head_size) continue;
      *reinterpret_cast<Pack<T, N>*>(to + r * y_step + column) =
          *reinterpret_cast<const Pack<T, N>*>(warp_rows + r * Shape::kStride + column);
    }
  };
  if (whole_results)
    store(std::integral_constant<int, Shape::kPack>{});
  else
    store(std::integral_constant<int, 1>{});
}

template <class T, int D>
void launch_forward(const T* qkv, T* y, float* lse, const AttentionSizes& sizes, double rotary_base) {
  using Shape = Tile<T, D>;
  const RotaryTable table(sizes.seq, sizes.head_size, rotary_base);
  const Rotary& rotary = table.rotary();
  // Queries are rotated as the block that owns them loads them; many blocks load the same keys.
  const int64_t first_key = sizes.heads, first_value = first_key + sizes.kv_heads;
  const PackedHeads<T> packed(qkv, sizes.slots(), first_key, first_value, D, rotary, sizes);
  constexpr int kBytes = Shape::bytes(1, 2);
  allow_shared_memory(attention_forward_kernel<T, D>, kBytes);
  const int64_t tasks = ceil_div(sizes.seq, Shape::kRows) * sizes.batch * sizes.heads;
  const bool whole_results = sizes.head_size % Shape::kPack == 0 && aligned(y, 16);
  attention_forward_kernel<T, D><<<static_cast<unsigned>(tasks), Shape::kThreads, kBytes, stream()>>>(
      packed.from(0), packed.from(first_key), packed.from(first_value), y, lse, sizes,
      static_cast<float>(1 / std::sqrt(double(sizes.head_size))), rotary, has_turned_packs(qkv, rotary, sizes),
      whole_results);
  check_launch("attention_forward");
}

}  // namespace

void attention_forward(View qkv, View y, View lse, int64_t batch, int64_t seq, int64_t heads, int64_t kv_heads,
                       int64_t head_size, double rotary_base) {
  if (y.size == 0) return;
  const AttentionSizes sizes{batch, seq, heads, kv_heads, head_size};
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_head(head_size, [&](auto padded) {
      launch_forward<T, decltype(padded)::value>(data_of<T>(qkv), data_of<T>(y), data_of<float>(lse), sizes,
                                                 rotary_base);
    });
  });
}

}  // namespace sffn::cuda
