#include "attention.cuh"

#include <cmath>

namespace sffn::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kKeys = 4;  // keys that a warp scores at a time: their sums across lanes overlap

struct Heads {
  int heads, kv_heads, head_size, page_tokens;
  int64_t layer;

  __device__ int64_t width() const { return int64_t{heads + 2 * kv_heads} * head_size; }
  // Keys (0) or values (1) of a head in a page.
  __device__ float* in(float* page, int kv_head, int values) const {
    return page + ((layer * kv_heads + kv_head) * 2 + values) * page_tokens * int64_t{head_size};
  }
};

Heads heads_of(const DecodeShape& s, int64_t layer) {
  return {static_cast<int>(s.heads), static_cast<int>(s.kv_heads), static_cast<int>(s.head_size),
          static_cast<int>(s.page_tokens), layer};
}

// A block has one head of one token.
__global__ void __launch_bounds__(kThreads)
    cache_tokens_kernel(const Heads h, const DecodeInputs inputs, const Rotary rotary, float scale, float* qkv) {
  const int slots = h.heads + 2 * h.kv_heads, slot = blockIdx.x % slots;
  const int64_t token = blockIdx.x / slots, position = inputs.positions[token];
  const bool query = slot < h.heads, value = slot >= h.heads + h.kv_heads;
  float* from = qkv + token * h.width() + int64_t{slot} * h.head_size;
  float* to = from;
  if (!query) {
    float* page = inputs.pages[inputs.tables[token] + position / h.page_tokens];
    to = h.in(page, (slot - h.heads) % h.kv_heads, value) + position % h.page_tokens * h.head_size;
  }
  const float factor = query ? scale : 1.f;
  const int half = value ? 0 : rotary.half;
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    float cosine[1], sine[1];
    load_turns(rotary, position, i, cosine, sine);
    const float a = from[i], b = from[i + half];
    to[i] = (a * cosine[0] - b * sine[0]) * factor;
    to[i + half] = (b * cosine[0] + a * sine[0]) * factor;
  }
  for (int i = 2 * half + threadIdx.x; i < h.head_size; i += blockDim.x) to[i] = from[i] * factor;
}

// The sum over a part of the context so far: Σ exp(score − top) · value, and of the weights alone.
template <int kPerLane>
struct Sums {
  float values[kPerLane] = {};
  float top = -INFINITY, total = 0.f;

  __device__ float rescale(float grown) {
    const float factor = total > 0.f ? expf(top - grown) : 0.f;
    top = grown;
    total *= factor;
#pragma unroll
    for (float& value : values) value *= factor;
    return factor;
  }
};

// [values, top, total] of one part.
__host__ __device__ inline int64_t part_size(int head_size) { return head_size + 2; }

// Block (token and head, part). Lane l has columns l, l + 32, ... of the head.
template <int kPerLane>
__global__ void __launch_bounds__(kWarps* kWarp)
    attention_kernel(const Heads h, const DecodeInputs inputs, const float* qkv, float* space, float* y) {
  __shared__ float tops[kWarps], totals[kWarps], joined[kWarps][kPerLane * kWarp];
  const int head = blockIdx.x % h.heads, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int kv_head = head / (h.heads / h.kv_heads);
  const int64_t token = blockIdx.x / h.heads;
  const int count = static_cast<int>(inputs.positions[token]) + 1;
  const int begin = blockIdx.y * kContextPart, end = min(count, begin + kContextPart);
  float* const* pages = inputs.pages + inputs.tables[token];

  float q[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int column = lane + i * kWarp;
    q[i] = column < h.head_size ? qkv[token * h.width() + int64_t{head} * h.head_size + column] : 0.f;
  }
  const auto row_of = [&](int t, int values) {
    return h.in(pages[t / h.page_tokens], kv_head, values) + t % h.page_tokens * h.head_size;
  };

  Sums<kPerLane> sums;
  for (int first = begin + warp * kKeys; first < end; first += kWarps * kKeys) {
    float scores[kKeys];
    float grown = sums.top;
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      scores[j] = -INFINITY;
      if (first + j >= end) continue;
      const float* key = row_of(first + j, 0);
      float score = 0.f;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int column = lane + i * kWarp;
        if (column < h.head_size) score += q[i] * key[column];
      }
      scores[j] = warp_sum(score);
      grown = fmaxf(grown, scores[j]);
    }
    sums.rescale(grown);
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      if (first + j >= end) continue;
      const float weight = expf(scores[j] - grown);
      const float* value = row_of(first + j, 1);
      sums.total += weight;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int column = lane + i * kWarp;
        if (column < h.head_size) sums.values[i] += weight * value[column];
      }
    }
  }

  if (lane == 0) {
    tops[warp] = sums.top;
    totals[warp] = sums.total;
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) joined[warp][lane + i * kWarp] = sums.values[i];
  __syncthreads();
  float top = tops[0];
  for (int w = 1; w < kWarps; ++w) top = fmaxf(top, tops[w]);
  float total = 0.f, factors[kWarps];
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    factors[w] = totals[w] > 0.f ? expf(tops[w] - top) : 0.f;
    total += totals[w] * factors[w];
  }
  const bool whole = gridDim.y == 1;
  float* part = space + (blockIdx.x * int64_t{gridDim.y} + blockIdx.y) * part_size(h.head_size);
  for (int column = threadIdx.x; column < h.head_size; column += kWarps * kWarp) {
    float value = 0.f;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) value += joined[w][column] * factors[w];
    if (whole)
      y[blockIdx.x * int64_t{h.head_size} + column] = value / total;
    else
      part[column] = value;
  }
  if (whole || threadIdx.x > 0) return;
  part[h.head_size] = top;
  part[h.head_size + 1] = total;
}

__global__ void __launch_bounds__(kWarps* kWarp)
    join_parts_kernel(const float* space, float* y, int parts, int head_size) {
  const float* own = space + blockIdx.x * int64_t{parts} * part_size(head_size);
  const auto of = [&](int part, int what) { return own[part * part_size(head_size) + what]; };
  float top = -INFINITY, total = 0.f;
  for (int part = 0; part < parts; ++part) top = fmaxf(top, of(part, head_size));
  for (int part = 0; part < parts; ++part) total += of(part, head_size + 1) * expf(of(part, head_size) - top);
  for (int column = threadIdx.x; column < head_size; column += kWarps * kWarp) {
    float value = 0.f;
    for (int part = 0; part < parts; ++part) value += of(part, column) * expf(of(part, head_size) - top);
    y[blockIdx.x * int64_t{head_size} + column] = value / total;
  }
}

auto kernel_for(int64_t head_size) {
  if (head_size <= 32) return attention_kernel<1>;
  if (head_size <= 64) return attention_kernel<2>;
  if (head_size <= 128) return attention_kernel<4>;
  if (head_size <= 256) return attention_kernel<8>;
  throw Error("ERR_OPTION", "decode_step: head sizes above 256 are not supported on device 'cuda'");
}

}  // namespace

int64_t attention_space(const DecodeShape& s, int64_t n, int parts) {
  return parts == 1 ? 0 : n * s.heads * parts * part_size(static_cast<int>(s.head_size));
}

void cache_tokens(const DecodeShape& s, const DecodeInputs& inputs, int64_t n, int64_t layer, const Rotary& rotary,
                  float* qkv) {
  const float scale = 1.f / std::sqrt(static_cast<float>(s.head_size));
  const int64_t blocks = n * (s.heads + 2 * s.kv_heads);
  const int threads = static_cast<int>(std::min<int64_t>(kThreads, ceil_div(s.head_size, kWarp) * kWarp));
  cache_tokens_kernel<<<static_cast<unsigned>(blocks), threads, 0, stream()>>>(heads_of(s, layer), inputs, rotary,
                                                                               scale, qkv);
  check_launch("decode: keys and values");
}

void decode_attention(const DecodeShape& s, const DecodeInputs& inputs, int64_t n, int64_t layer, int parts,
                      const float* qkv, float* space, float* y) {
  const dim3 grid(static_cast<unsigned>(n * s.heads), static_cast<unsigned>(parts));
  kernel_for(s.head_size)<<<grid, kWarps * kWarp, 0, stream()>>>(heads_of(s, layer), inputs, qkv, space, y);
  check_launch("decode: attention");
  if (parts == 1) return;
  join_parts_kernel<<<grid.x, kWarps * kWarp, 0, stream()>>>(space, y, parts, static_cast<int>(s.head_size));
  check_launch("decode: joining attention");
}

}  // namespace sffn::cuda
