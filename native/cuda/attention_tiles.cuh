// Tiles of attention in shared memory and the two products of a warp's 16 rows with them, in bf16 on tensor cores and
// in f32 as multiply-adds. Both keep their accumulators as the tensor cores do: of each block of 8 columns, lane l has
// the rows l / 4 and l / 4 + 8, and in each of them the columns 2·(l % 4) and the next.
#pragma once

#include "pack.cuh"
#include "ptx.cuh"

namespace sffn::cuda {

// D: head size rounded up to 32, 64, 128 or 256; the rest is zeros. The sizes let six tiles fit in the 99 KiB that
// every device since compute capability 8.0 has, and keep each thread within 255 registers.
template <class T, int D>
struct Tile {
  static constexpr int kPack = 16 / sizeof(T);
  // Rows are 16 bytes longer than their elements: then 8 of them start in 8 different groups of banks.
  static constexpr int kStride = D + kPack;
  static constexpr int kRowBytes = kStride * static_cast<int>(sizeof(T));
  static constexpr int kWarps = kRowBytes <= 528 ? 4 : 2;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kRows = kWarps * 16;                                             // of the block's own tiles
  static constexpr int kStream = kRowBytes <= 144 ? 64 : (kRowBytes <= 528 ? 32 : 16);  // rows of a passing tile
  static constexpr int kStages = kRowBytes <= 272 ? 2 : 1;
  // Rows of a passing tile whose scores a thread holds at a time. Forward has one product of them; backward has two,
  // and up to two sums.
  static constexpr int kForwardPart = kStream;
  static constexpr int kBackwardPart = D >= 128 ? 16 : 32;

  // `own` tiles stay; `passing` ones are loaded one after the other.
  static constexpr int bytes(int own, int passing) { return (own * kRows + passing * kStages * kStream) * kRowBytes; }
};

// One operand as [batch, heads, seq, D], steps in elements; rows begin at multiples of 16 bytes.
template <class T>
struct Heads {
  const T* data;
  int64_t batch_step, head_step, row_step;

  __device__ const T* at(int64_t batch, int64_t head) const { return data + batch * batch_step + head * head_step; }
};

// The row that the i-th group of lanes moves, BYTES of it at a time. Two rows of 64 bytes, or four of 32, share the 128
// bytes that shared memory moves at once. Taken 4 or 2 rows apart, they lie in different banks.
template <int BYTES>
__host__ __device__ inline int spread_row(int i) {
  if (BYTES == 64) return i / 8 * 8 + i % 2 * 4 + i % 8 / 2;
  if (BYTES == 32) return i / 8 * 8 + i % 4 * 2 + i % 8 / 4;
  return i;
}

// Starts copying rows first .. first + ROWS - 1 of one head; those from seq on become zeros.
template <class T, int D, int ROWS>
__device__ inline void load_tile(T* tile, const T* head, int64_t row_step, int first, int seq) {
  using Shape = Tile<T, D>;
  constexpr int kPacks = D / Shape::kPack;
  const int column = static_cast<int>(threadIdx.x % kPacks) * Shape::kPack;
  for (int row = spread_row<kPacks * 16>(threadIdx.x / kPacks); row < ROWS; row += Shape::kThreads / kPacks) {
    const bool inside = first + row < seq;
    copy_async(shared_address(tile + row * Shape::kStride + column),
               head + (inside ? first + row : 0) * row_step + column, inside ? 16 : 0);
  }
}

__device__ inline int lane() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ inline int warp() { return static_cast<int>(threadIdx.x / kWarp); }

__device__ inline uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

template <class T, int D>
struct Products;

template <int D>
struct Products<bf16, D> {
  using Shape = Tile<bf16, D>;
  static constexpr int kStride = Shape::kStride;

  // Neighbouring columns of the accumulators of `add_weighted` that a lane has, from lane() % 4 · kRun on.
  static constexpr int kRun = 2;

  // c [16, 8·B] = a [16, D] · b [8·B, D]ᵀ.
  template <int B>
  __device__ static void rows_by_rows(float (&c)[B][4], const bf16* a, const bf16* b) {
#pragma unroll
    for (auto& block : c)
#pragma unroll
      for (float& value : block) value = 0.f;
    const int l = lane();
    const bf16* a_at = a + (l & 15) * kStride + (l >> 4) * 8;
    const bf16* b_at = b + ((l & 7) + (l >> 4) * 8) * kStride + (l >> 3 & 1) * 8;
    // Completely unrolled, the widest heads would need more registers than there are.
    constexpr int kUnroll = D > 128 ? 2 : D / 16;
#pragma unroll kUnroll
    for (int k = 0; k < D; k += 16) {
      uint32_t left[4];
      load_matrices<false>(left, shared_address(a_at + k));
#pragma unroll
      for (int n = 0; n < B; n += 2) {
        uint32_t right[4];
        load_matrices<false>(right, shared_address(b_at + n * 8 * kStride + k));
        multiply_accumulate(c[n], left, right[0], right[1]);
        multiply_accumulate(c[n + 1], left, right[2], right[3]);
      }
    }
  }

  // o [16, D] += p [16, 8·B] · b [8·B, D]: accumulators are laid out as the left operand needs them.
  template <int B>
  __device__ static void add_weighted(float (&o)[D / 8][4], const float (&p)[B][4], const bf16* b) {
    const int l = lane();
    const bf16* b_at = b + (l & 15) * kStride + (l >> 4) * 8;
#pragma unroll
    for (int k = 0; k < B; k += 2) {
      const uint32_t left[4] = {pack_bf16(p[k][0], p[k][1]), pack_bf16(p[k][2], p[k][3]),
                                pack_bf16(p[k + 1][0], p[k + 1][1]), pack_bf16(p[k + 1][2], p[k + 1][3])};
#pragma unroll
      for (int n = 0; n < D / 8; n += 2) {
        uint32_t right[4];
        load_matrices<true>(right, shared_address(b_at + k * 8 * kStride + n * 8));
        multiply_accumulate(o[n], left, right[0], right[1]);
        multiply_accumulate(o[n + 1], left, right[2], right[3]);
      }
    }
  }
};

template <int D>
struct Products<float, D> {
  using Shape = Tile<float, D>;
  static constexpr int kStride = Shape::kStride;

  static constexpr int kRun = 4;  // from two blocks: one 16-byte access

  template <int B>
  __device__ static void rows_by_rows(float (&c)[B][4], const float* a, const float* b) {
#pragma unroll
    for (auto& block : c)
#pragma unroll
      for (float& value : block) value = 0.f;
    const float* a_at = a + lane() / 4 * kStride;
    const float* b_at = b + lane() % 4 * 2 * kStride;
    const auto add_dot = [](float& sum, const float4& x, const float4& y) {
      sum += x.x * y.x;
      sum += x.y * y.y;
      sum += x.z * y.z;
      sum += x.w * y.w;
    };
#pragma unroll(D >= 128 ? 1 : 2)
    for (int k = 0; k < D; k += 4) {
      const float4 upper = *reinterpret_cast<const float4*>(a_at + k);
      const float4 lower = *reinterpret_cast<const float4*>(a_at + 8 * kStride + k);
#pragma unroll
      for (int n = 0; n < B; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float4 right = *reinterpret_cast<const float4*>(b_at + (n * 8 + e) * kStride + k);
          add_dot(c[n][e], upper, right);
          add_dot(c[n][2 + e], lower, right);
        }
    }
  }

  template <int B>
  __device__ static void add_weighted(float (&o)[D / 8][4], const float (&p)[B][4], const float* b) {
    const float* b_at = b + lane() % 4 * 4;
#pragma unroll
    for (int n = 0; n < B; ++n)
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const int owner = (lane() & ~3) + k / 2;  // of column k of the block, in these two rows
        const float upper = __shfl_sync(kAllLanes, p[n][k % 2], owner);
        const float lower = __shfl_sync(kAllLanes, p[n][2 + k % 2], owner);
#pragma unroll
        for (int m = 0; m < D / 8; m += 2) {
          const float4 right = *reinterpret_cast<const float4*>(b_at + (n * 8 + k) * kStride + m * 8);
          o[m][0] += upper * right.x;
          o[m][1] += upper * right.y;
          o[m + 1][0] += upper * right.z;
          o[m + 1][1] += upper * right.w;
          o[m][2] += lower * right.x;
          o[m][3] += lower * right.y;
          o[m + 1][2] += lower * right.z;
          o[m + 1][3] += lower * right.w;
        }
      }
  }
};

// Writes the accumulators of `add_weighted`, row r times factor[r / 8], to rows [16, STRIDE] of shared memory. Indexed
// by runs: nvcc does not see that addresses counted in elements are aligned, and would split the stores.
template <class T, int D, int STRIDE, class To>
__device__ inline void store_rows(To* rows, const float (&o)[D / 8][4], const float (&factor)[2]) {
  constexpr int kRun = Products<T, D>::kRun;
  auto* runs = reinterpret_cast<Pack<To, kRun>*>(rows) + lane() / 4 * (STRIDE / kRun) + lane() % 4;
#pragma unroll
  for (int n = 0; n < D / 8; n += kRun / 2)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float run[kRun];
#pragma unroll
      for (int i = 0; i < kRun; ++i) run[i] = o[n + i / 2][2 * r + i % 2] * factor[r];
      store_pack<kRun>(runs[(r * 8 * STRIDE + n * 8) / kRun].value, run);
    }
}

// Goes through `count` pairs of passing tiles: load(i, first tile, second tile) starts their copies, use(i, first,
// second) computes. With two stages the next pair is loaded meanwhile. Copies begun before belong to the first pair;
// prepare() runs while that pair is loaded.
template <class Shape, class T, class Load, class Use, class Prepare>
__device__ inline void for_passing(T* tiles, int count, Load load, Use use, Prepare prepare) {
  constexpr int kTile = Shape::kStream * Shape::kStride;
  const auto stage = [&](int i) { return tiles + i % Shape::kStages * 2 * kTile; };
  load(0, stage(0), stage(0) + kTile);
  commit_copies();
  prepare();
  for (int i = 0; i < count; ++i) {
    if constexpr (Shape::kStages == 2) {
      if (i + 1 < count) load(i + 1, stage(i + 1), stage(i + 1) + kTile);
      commit_copies();
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    __syncthreads();
    use(i, stage(i), stage(i) + kTile);
    __syncthreads();
    if constexpr (Shape::kStages == 1) {
      if (i + 1 < count) load(i + 1, stage(i + 1), stage(i + 1) + kTile);
      commit_copies();
    }
  }
}
template <class Shape, class T, class Load, class Use>
__device__ inline void for_passing(T* tiles, int count, Load load, Use use) {
  for_passing<Shape>(tiles, count, load, use, [] {});
}

}  // namespace sffn::cuda
