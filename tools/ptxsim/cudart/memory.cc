// Memory of the device and page-locked memory of the host. Streams run at once, so that every copy is done when it
// returns.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

namespace ptxsim {
namespace {

std::string span(const char* what, const void* at, size_t bytes) {
  return std::string(what) + " of " + std::to_string(bytes) + " bytes at " + hex(reinterpret_cast<u64>(at));
}

bool on_device(const void* p) { return reinterpret_cast<u64>(p) >= DeviceMemory::kBase; }

cudaError_t copy(Runtime& r, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const u64 device_to = reinterpret_cast<u64>(to), device_from = reinterpret_cast<u64>(from);
  if (kind == cudaMemcpyDefault)
    kind = on_device(to) ? (on_device(from) ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                         : (on_device(from) ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  bool inside = true;
  switch (kind) {
    case cudaMemcpyHostToDevice:
      inside = r.memory.upload(device_to, from, bytes);
      break;
    case cudaMemcpyDeviceToHost:
      inside = r.memory.download(to, device_from, bytes);
      break;
    case cudaMemcpyDeviceToDevice:
      inside = r.memory.copy(device_to, device_from, bytes);
      break;
    case cudaMemcpyHostToHost:
      std::memmove(to, from, bytes);
      break;
    default:
      return cudaErrorInvalidMemcpyDirection;
  }
  if (inside) return cudaSuccess;
  r.find("copy-out-of-bounds", span("copy to", to, bytes) + " from " + hex(device_from));
  return cudaErrorInvalidValue;
}

cudaError_t fill(Runtime& r, void* to, int value, size_t bytes) {
  if (r.memory.fill(reinterpret_cast<u64>(to), value, bytes)) return cudaSuccess;
  r.find("fill-out-of-bounds", span("fill", to, bytes));
  return cudaErrorInvalidValue;
}

}  // namespace
}  // namespace ptxsim

using namespace ptxsim;

extern "C" {

cudaError_t cudaMalloc(void** out, size_t bytes) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (r.memory.used() + bytes > r.memory_limit) return r.fail(cudaErrorMemoryAllocation);
  static int count = 0;
  *out = reinterpret_cast<void*>(r.memory.allocate(bytes, "allocation " + std::to_string(++count)));
  return cudaSuccess;
}

cudaError_t cudaFree(void* block) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  if (!block || r.memory.release(reinterpret_cast<u64>(block))) return cudaSuccess;
  return r.fail(cudaErrorInvalidValue);
}

cudaError_t cudaMallocAsync(void** out, size_t bytes, cudaStream_t) { return cudaMalloc(out, bytes); }
cudaError_t cudaFreeAsync(void* block, cudaStream_t) { return cudaFree(block); }

cudaError_t cudaMallocHost(void** out, size_t bytes) {
  *out = std::malloc(bytes ? bytes : 1);
  return *out ? cudaSuccess : Runtime::get().fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaHostAlloc(void** out, size_t bytes, unsigned) { return cudaMallocHost(out, bytes); }
cudaError_t cudaFreeHost(void* block) {
  std::free(block);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  *total = r.memory_limit;
  *free = r.memory_limit - std::min(r.memory.used(), r.memory_limit);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  return r.fail(r.submit(stream, [&r, to, from, bytes, kind] { return copy(r, to, from, bytes, kind); }));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  const cudaError_t late = r.synchronize();
  return late != cudaSuccess ? late : r.fail(copy(r, to, from, bytes, kind));
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  return r.fail(r.submit(stream, [&r, to, value, bytes] { return fill(r, to, value, bytes); }));
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }
}
