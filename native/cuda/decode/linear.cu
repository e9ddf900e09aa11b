// Products of up to 16 rows with weights that stream from memory. Each warp takes one row of the weights, 16 bytes a
// lane, and widens it in registers; the rows of x wait in shared memory. More rows use the training kernels, on weights
// widened in memory.
#include "linear.cuh"

#include "../layer.cuh"
#include "../pack.cuh"

namespace sffn::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kChunk = 512;  // terms of x in shared memory

struct DecodeProduct {
  const void* weights;
  const float* scales;  // by feature, if any
  const float* x;
  float* y;
  const float* bias;  // by column, if any
  int n, blocks, rows, k;
  int inner;  // feature f goes to column (f mod inner)·(features / inner) + f / inner
  Activation activation;
  bool add;
};

__device__ inline float widened(float w) { return w; }
__device__ inline float widened(bf16 w) { return __bfloat162float(w); }
__device__ inline float widened(int8_t w) { return static_cast<float>(w); }

// A lane has kPack neighbouring terms of each run of kPack·32. Shared memory has the first four terms of every lane
// side by side, then the next four, so that no two lanes of a 16-byte read use one bank.
template <int kPack>
__device__ inline int place_of(int term) {
  constexpr int kQuads = kPack / 4;
  const int run = term / (kPack * kWarp), lane = term / kPack % kWarp, quad = term % kPack / 4;
  return ((run * kQuads + quad) * kWarp + lane) * 4 + term % 4;
}

// kRows >= p.n.
template <class W, int kRows, bool kVector>
__global__ void __launch_bounds__(kWarps* kWarp) decode_product_kernel(const __grid_constant__ DecodeProduct p) {
  constexpr int kPack = 16 / sizeof(W), kRuns = kChunk / (kPack * kWarp);
  __shared__ __align__(16) float rows[kRows][kChunk];
  const int tiles = (p.rows + kWarps - 1) / kWarps, block = blockIdx.x / tiles;
  const int row = blockIdx.x % tiles * kWarps + threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const bool mine = row < p.rows;
  const int64_t feature = int64_t{block} * p.rows + row, in = int64_t{p.blocks} * p.k;
  const W* weights = static_cast<const W*>(p.weights) + feature * p.k;
  const float* x = p.x + int64_t{block} * p.k;

  float sums[kRows] = {};
  for (int k0 = 0; k0 < p.k; k0 += kChunk) {
    float w[kRuns][kPack];
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const int term = k0 + (run * kWarp + lane) * kPack, inside = mine ? p.k - term : 0;
      if (kVector && inside >= kPack) {
        const Pack<W, kPack> pack = *reinterpret_cast<const Pack<W, kPack>*>(weights + term);
#pragma unroll
        for (int j = 0; j < kPack; ++j) w[run][j] = widened(pack.value[j]);
      } else {
#pragma unroll
        for (int j = 0; j < kPack; ++j) w[run][j] = j < inside ? widened(weights[term + j]) : 0.f;
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kRows * kChunk; i += kWarps * kWarp) {
      const int r = i / kChunk, term = i % kChunk;
      rows[r][place_of<kPack>(term)] = r < p.n && k0 + term < p.k ? x[r * in + k0 + term] : 0.f;
    }
    __syncthreads();
#pragma unroll
    for (int run = 0; run < kRuns; ++run)
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int quad = 0; quad < kPack / 4; ++quad) {
          const float4 v = *reinterpret_cast<const float4*>(&rows[r][((run * (kPack / 4) + quad) * kWarp + lane) * 4]);
          sums[r] += w[run][quad * 4] * v.x + w[run][quad * 4 + 1] * v.y + w[run][quad * 4 + 2] * v.z +
                     w[run][quad * 4 + 3] * v.w;
        }
  }

  const int64_t features = int64_t{p.blocks} * p.rows;
  const int64_t column = feature % p.inner * (features / p.inner) + feature / p.inner;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float sum = warp_sum(sums[r]);
    if (!mine || r >= p.n || lane != r % kWarp) continue;
    float value = sum;
    if (p.scales) value *= p.scales[feature];
    if (p.bias) value += p.bias[column];
    value = activated(p.activation, value);
    float& to = p.y[r * features + column];
    to = p.add ? to + value : value;
  }
}

template <class W, bool kVector>
auto kernel_for(int rows) {
  if (rows == 1) return decode_product_kernel<W, 1, kVector>;
  if (rows <= 4) return decode_product_kernel<W, 4, kVector>;
  if (rows <= 8) return decode_product_kernel<W, 8, kVector>;
  return decode_product_kernel<W, kDecodeRows, kVector>;
}

template <class W>
void launch_product(const DecodeProduct& p) {
  const bool vector = aligned(p.weights, 16) && p.k % static_cast<int>(16 / sizeof(W)) == 0;
  const auto kernel = vector ? kernel_for<W, true>(p.n) : kernel_for<W, false>(p.n);
  const int64_t blocks = p.blocks * ceil_div(p.rows, kWarps);
  kernel<<<static_cast<unsigned>(blocks), kWarps * kWarp, 0, stream()>>>(p);
  check_launch("decode: a product");
}

struct Output {
  float* y;
  int inner;
  const float* bias;
  Activation activation;
  bool add;
};

void decode_product(const DecodeMatrix& w, const float* x, int64_t n, const Output& out) {
  const DecodeProduct product{w.weights.data,
                              w.scales,
                              x,
                              out.y,
                              out.bias,
                              static_cast<int>(n),
                              static_cast<int>(w.blocks),
                              static_cast<int>(w.rows),
                              static_cast<int>(w.k),
                              out.inner,
                              out.activation,
                              out.add};
  if (w.weights.dtype == DType::f32) return launch_product<float>(product);
  if (w.weights.dtype == DType::bf16) return launch_product<bf16>(product);
  launch_product<int8_t>(product);
}

View f32_view(float* data, int64_t size) { return {data, size, DType::f32, here()}; }

// The weights as f32: themselves, or a widened copy in `own`.
View widened(const DecodeMatrix& w, Workspace<float>& own) {
  if (!w.weights || w.weights.dtype == DType::f32) return w.weights;
  own = Workspace<float>(w.weights.size);
  const View wide = f32_view(own.get(), w.weights.size);
  dequantize(w.weights, f32_view(const_cast<float*>(w.scales), w.features()), wide, w.features(), w.k);
  return wide;
}

void apply_to_many(const DecodeLayer& f, const float* x, float* y, int64_t n, Activation activation, bool add) {
  Workspace<float> own_v, own_u;
  const Layer layer(widened(f.first(), own_v), widened(f.second(), own_u), View{}, f.bias, f.dims, 1, 0);
  layer_forward(layer, x, nullptr, nullptr, y, static_cast<int>(n), activation, add ? y : nullptr);
}

}  // namespace

void apply_decoded(const DecodeLayer& f, const float* x, float* y, int64_t n, Activation activation, bool add,
                   const DecodeSpace& space) {
  if (n == 0) return;
  if (n > kDecodeRows) return apply_to_many(f, x, y, n, activation, add);
  const bool gated = activation == Activation::swiglu;
  if (f.v) decode_product(f.first(), x, n, {space.hidden, f.dims[3], nullptr, f.inner(), false});
  decode_product(f.second(), f.v ? space.hidden : x, n,
                 {gated ? space.pre : y, f.dims[4], f.bias.f32(), gated ? Activation::none : activation, add});
  if (gated) swiglu(space.pre, y, nullptr, n, static_cast<int>(f.out()), DType::f32);
}

void decode_linear(View x, View v, View v_scales, View u, View u_scales, View bias, View y, int64_t n, Ints dims,
                   Activation activation, int64_t int8_rows) {
  if (int8_rows != 0) refuse_int8_rows("decode_linear");
  const DecodeLayer layer{v, v_scales, u, u_scales, bias, dims, false};
  const bool few = n <= kDecodeRows;
  const Workspace<float> hidden(few ? n * layer.hidden() : 0), pre(few ? n * layer.out() : 0);
  apply_decoded(layer, x.f32(), y.f32(), n, activation, false, {hidden.get(), pre.get()});
}

}  // namespace sffn::cuda
