// Neighbouring elements moved together: 16 bytes in one access wherever sizes and addresses allow it.
#pragma once

#include "common.cuh"

namespace sffn::cuda {

template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T value[N];
};

template <int N, class T>
__device__ inline void load_pack(const T* from, float (&to)[N]) {
  const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = to_float(pack.value[i]);
}

template <int N, class T>
__device__ inline void store_pack(T* to, const float (&from)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.value[i] = from_float<T>(from[i]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

inline bool aligned(const void* address, size_t bytes) { return reinterpret_cast<uintptr_t>(address) % bytes == 0; }

// Calls body(std::integral_constant<int, N>{}), where an access has N elements of T: 16 bytes' worth if every run of
// `length` elements can be divided so and every address (except null) is aligned, else 1.
template <class T, class Body>
void dispatch_width(int64_t length, std::initializer_list<const void*> addresses, Body&& body) {
  constexpr int kWide = 16 / sizeof(T);
  bool wide = length % kWide == 0;
  for (const void* address : addresses) wide = wide && aligned(address, 16);
  if (wide) return body(std::integral_constant<int, kWide>{});
  body(std::integral_constant<int, 1>{});
}

// Threads in blocks of 256, as many as there is work for, up to what fills any device; kernels stride over the rest.
constexpr int kThreads = 256;
inline unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>(std::min<int64_t>(ceil_div(items, kThreads), 4096));
}
__device__ inline int64_t first_item() { return blockIdx.x * int64_t{kThreads} + threadIdx.x; }
__device__ inline int64_t item_stride() { return gridDim.x * int64_t{kThreads}; }

}  // namespace sffn::cuda
