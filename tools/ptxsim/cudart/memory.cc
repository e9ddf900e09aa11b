// Memory of the device and page-locked memory of the host. Streams run at once, so every copy is done when it returns.
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
  DeviceMemory *memory_to = r.memory_of(device_to), *memory_from = r.memory_of(device_from);
  switch (kind) {
    case cudaMemcpyHostToDevice:
      inside = memory_to && memory_to->upload(device_to, from, bytes);
      break;
    case cudaMemcpyDeviceToHost:
      inside = memory_from && memory_from->download(to, device_from, bytes);
      break;
    case cudaMemcpyDeviceToDevice:
      inside = memory_to && memory_to == memory_from && memory_to->copy(device_to, device_from, bytes);
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

cudaError_t copy_between(Runtime& r, void* to, int to_device, const void* from, int from_device, size_t bytes) {
  const u64 device_to = reinterpret_cast<u64>(to), device_from = reinterpret_cast<u64>(from);
  DeviceMemory *memory_to = r.memory_of(device_to), *memory_from = r.memory_of(device_from);
  const bool right =
      memory_to && memory_from && memory_to->device() == to_device && memory_from->device() == from_device;
  if (right && memory_to->copy(device_to, device_from, bytes, *memory_from)) return cudaSuccess;
  r.find("copy-out-of-bounds", span("copy to", to, bytes) + " of device " + std::to_string(to_device) + " from " +
                                   hex(device_from) + " of device " + std::to_string(from_device));
  return cudaErrorInvalidValue;
}

bool page_locked(const Runtime& r, const void* at, size_t bytes) {
  const auto* p = static_cast<const char*>(at);
  const auto after = r.page_locked.upper_bound(p);
  if (after == r.page_locked.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return p + bytes <= begin + size;
}

// A launched graph reads the host's memory at its launch, so only copies with memory that stays in place may be
// recorded.
void check_recorded_copy(Runtime& r, const void* to, const void* from, size_t bytes) {
  for (const void* at : {to, from})
    if (!on_device(at) && !page_locked(r, at, bytes))
      r.find("capture", span("a copy", at, bytes) + " is recorded, which is not page-locked");
}

cudaError_t fill(Runtime& r, void* to, int value, size_t bytes) {
  DeviceMemory* memory = r.memory_of(reinterpret_cast<u64>(to));
  if (memory && memory->fill(reinterpret_cast<u64>(to), value, bytes)) return cudaSuccess;
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
  Device& device = r.here();
  if (device.late != cudaSuccess) return r.fail(device.late);  // an error of earlier work, until it is reported
  if (bytes == 0) return cudaSuccess;
  if (device.memory.used() + bytes > r.memory_limit) return r.fail(cudaErrorMemoryAllocation);
  static int count = 0;
  *out = reinterpret_cast<void*>(device.memory.allocate(bytes, "allocation " + std::to_string(++count)));
  return cudaSuccess;
}

cudaError_t cudaFree(void* block) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  DeviceMemory* memory = r.memory_of(reinterpret_cast<u64>(block));
  if (memory && r.devices[static_cast<size_t>(memory->device())]->recording)
    r.find("capture", "memory is freed, which waits for the device, while a stream records");
  if (!block || (memory && memory->release(reinterpret_cast<u64>(block)))) return cudaSuccess;
  return r.fail(cudaErrorInvalidValue);
}

cudaError_t cudaMallocAsync(void** out, size_t bytes, cudaStream_t) { return cudaMalloc(out, bytes); }
cudaError_t cudaFreeAsync(void* block, cudaStream_t) { return cudaFree(block); }

cudaError_t cudaMallocHost(void** out, size_t bytes) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  *out = std::malloc(bytes ? bytes : 1);
  if (!*out) return r.fail(cudaErrorMemoryAllocation);
  r.page_locked[static_cast<const char*>(*out)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** out, size_t bytes, unsigned) { return cudaMallocHost(out, bytes); }
cudaError_t cudaFreeHost(void* block) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  r.page_locked.erase(static_cast<const char*>(block));
  std::free(block);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  *total = r.memory_limit;
  *free = r.memory_limit - std::min(r.here().memory.used(), r.memory_limit);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  if (const auto* s = reinterpret_cast<Stream*>(stream); s && s->capture) check_recorded_copy(r, to, from, bytes);
  return r.fail(r.submit(stream, [&r, to, from, bytes, kind] { return copy(r, to, from, bytes, kind); }));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  const cudaError_t late = r.wait_for(r.here());
  return late != cudaSuccess ? late : r.fail(copy(r, to, from, bytes, kind));
}

cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, size_t bytes,
                                cudaStream_t stream) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  return r.fail(r.submit(stream, [&r, to, to_device, from, from_device, bytes] {
    return copy_between(r, to, to_device, from, from_device, bytes);
  }));
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  return r.fail(r.submit(stream, [&r, to, value, bytes] { return fill(r, to, value, bytes); }));
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }
}
