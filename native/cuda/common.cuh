// What every CUDA file shares: errors, the stream, element types, small device functions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <type_traits>

#include "../backend.h"

namespace sffn::cuda {

#define KERNEL(name, ...) void name(__VA_ARGS__);
#define HOST_KERNEL(name, ...)
#include "../kernels.def"
#undef KERNEL

using bf16 = __nv_bfloat16;

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Throws Error("ERR_OUT_OF_MEMORY") or Error("ERR_CUDA"), with the name of the operation that failed.
void check(cudaError_t status, const char* what);
// Checks the last launch, and reports an earlier one that failed meanwhile.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

// The device of this thread, selected by a ComputeScope. All functions below refer to that device.
Device here();
// The one stream: everything runs in the order of the calls, so released memory can be reused at once.
cudaStream_t stream();
// While this thread records: throws Error("ERR_RECORDING") that says what cannot be recorded, and why.
void refuse_while_recording(const char* why);
int multiprocessors();
// The largest dynamic shared memory of a block, in bytes.
int shared_memory_per_block();

// A kernel that meets bad data (an id outside its table) sets a bit here and goes on with a harmless value; the next
// synchronisation throws. Faults::* are the bits.
enum Faults : int { kIdOutOfRange = 1, kTargetOutOfRange = 2 };
int* fault_flags();

// Whether float32 products may round their operands to TF32, on all devices; at first STRUCTURED_FFN_TF32=1.
bool tf32_is_allowed();

// Backend::copy.
void transfer(View from, View to);

// One T for each device, made at the first use there. Never destroyed: the driver may be gone before static destructors
// run. Keep the object in static storage and use it inside a ComputeScope.
template <class T>
class PerDevice {
 public:
  // make() -> T*
  template <class Make>
  T& here(Make make) {
    T*& one = all_[cuda::here().index];
    if (!one) one = make();
    return *one;
  }
  T& here() {
    return here([] { return new T; });
  }

 private:
  T* all_[kMostDevices] = {};
};

// Device scratch for the length of a launcher: the stream runs later users of the memory after this one.
template <class T>
class Workspace {
 public:
  Workspace() = default;
  explicit Workspace(int64_t count)
      : memory_(&memory_of(here())),
        bytes_(static_cast<size_t>(count > 0 ? count : 1) * sizeof(T)),
        data_(static_cast<T*>(memory_->allocate(bytes_))) {}
  Workspace(Workspace&& other) noexcept : memory_(other.memory_), bytes_(other.bytes_), data_(other.data_) {
    other.data_ = nullptr;
  }
  Workspace& operator=(Workspace&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Workspace() {
    if (data_) memory_->release(data_, bytes_);
  }
  T* get() const { return data_; }

 private:
  Memory* memory_ = nullptr;
  size_t bytes_ = 0;
  T* data_ = nullptr;
};

template <class T>
T* data_of(View view) {
  return static_cast<T*>(view.data);
}

// Calls body(T{}) with T = float or bf16.
template <class Body>
void dispatch_float(DType dtype, Body&& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::bf16) return body(bf16{});
  throw Error("ERR_DTYPE", "expected a float32 or bfloat16 tensor");
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// One dimension of a product, whose rows, columns and terms are counted in 32 bits. Throws Error("ERR_SHAPE") beyond.
inline int dimension(int64_t size) {
  if (size > INT32_MAX)
    throw Error("ERR_SHAPE",
                "a product on 'cuda': expected dimensions of at most 2147483647, got " + std::to_string(size));
  return static_cast<int>(size);
}

__host__ __device__ inline float to_float(float x) { return x; }
__host__ __device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
template <class T>
__host__ __device__ inline T from_float(float x) {
  if constexpr (std::is_same_v<T, float>)
    return x;
  else
    return __float2bfloat16_rn(x);
}

__device__ inline float warp_sum(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

}  // namespace sffn::cuda
