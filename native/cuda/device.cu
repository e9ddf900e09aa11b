// The device: selection, errors, the stream, memory, copies.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "common.cuh"
#include "gemm/settings.cuh"

namespace sffn {
namespace cuda {
namespace {

constexpr size_t kStagingBytes = size_t{4} << 20;
constexpr int kStagings = 2;

// Page-locked memory through which copies go: only from there can they run while the processor goes on.
struct Staging {
  void* memory = nullptr;
  cudaEvent_t done = nullptr;
};

struct DeviceState {
  explicit DeviceState(int index);
  Staging& next_staging();

  int multiprocessors = 0;
  int shared_memory_per_block = 0;
  int64_t total_memory = 0;
  cudaStream_t stream = nullptr;
  int* fault_flags = nullptr;
  Staging stagings[kStagings];
  int turn = 0;
};

std::atomic<int64_t> chosen_device{-1};
std::atomic<bool> in_use{false};

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && std::strcmp(value, "1") == 0;
}

std::atomic<bool>& tf32_allowed() {
  static std::atomic<bool> allowed = is_set("STRUCTURED_FFN_TF32");
  return allowed;
}

int device_index() {
  if (chosen_device >= 0) return static_cast<int>(chosen_device);
  const char* wanted = std::getenv("STRUCTURED_FFN_CUDA_DEVICE");
  return wanted ? std::atoi(wanted) : 0;
}

int device_count(cudaError_t& status) {
  int count = 0;
  status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

DeviceState::DeviceState(int index) {
  switches();  // refused now, not at the first product
  check(cudaSetDevice(index), "selecting the device");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index), "reading the device");
  check(cudaDeviceGetAttribute(&shared_memory_per_block, cudaDevAttrMaxSharedMemoryPerBlockOptin, index),
        "reading the device");
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "reading the device's memory");
  total_memory = static_cast<int64_t>(total);
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating the stream");
  check(cudaMalloc(reinterpret_cast<void**>(&fault_flags), sizeof(int)), "allocating the fault flags");
  check(cudaMemsetAsync(fault_flags, 0, sizeof(int), stream), "clearing the fault flags");
  for (Staging& staging : stagings) {
    check(cudaMallocHost(&staging.memory, kStagingBytes), "allocating page-locked memory");
    check(cudaEventCreateWithFlags(&staging.done, cudaEventDisableTiming), "creating an event");
  }
  in_use = true;
}

// The least recently used one, once the copy that it served is done.
Staging& DeviceState::next_staging() {
  Staging& staging = stagings[turn];
  turn = (turn + 1) % kStagings;
  check(cudaEventSynchronize(staging.done), "copying");
  return staging;
}

// Never destroyed: the driver may be gone before static destructors run.
DeviceState& state() {
  static DeviceState& instance = []() -> DeviceState& {
    if (!cuda_available()) throw Error("ERR_DEVICE", "device 'cuda' is " + cuda_status());
    return *new DeviceState(device_index());
  }();
  // Each thread (workers, the job queue) has a current device of its own.
  thread_local const bool selected = (check(cudaSetDevice(device_index()), "selecting the device"), true);
  static_cast<void>(selected);
  return instance;
}

void* device_allocate(size_t bytes) {
  void* block = nullptr;
  if (cudaMalloc(&block, bytes) == cudaSuccess) return block;
  cudaGetLastError();
  return nullptr;
}

void device_free(void* block) { cudaFree(block); }

void upload(void* to, const void* from, size_t bytes) {
  DeviceState& device = state();
  for (size_t at = 0; at < bytes; at += kStagingBytes) {
    const size_t part = std::min(kStagingBytes, bytes - at);
    Staging& staging = device.next_staging();
    std::memcpy(staging.memory, static_cast<const char*>(from) + at, part);
    check(cudaMemcpyAsync(static_cast<char*>(to) + at, staging.memory, part, cudaMemcpyHostToDevice, device.stream),
          "copying to the device");
    check(cudaEventRecord(staging.done, device.stream), "copying to the device");
  }
}

void download(void* to, const void* from, size_t bytes) {
  DeviceState& device = state();
  for (size_t at = 0; at < bytes; at += kStagingBytes) {
    const size_t part = std::min(kStagingBytes, bytes - at);
    Staging& staging = device.next_staging();
    check(cudaMemcpyAsync(staging.memory, static_cast<const char*>(from) + at, part, cudaMemcpyDeviceToHost,
                          device.stream),
          "copying from the device");
    cuda_synchronize();
    std::memcpy(static_cast<char*>(to) + at, staging.memory, part);
  }
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  const std::string reason = std::string(what) + ": " + cudaGetErrorString(status);
  if (status == cudaErrorMemoryAllocation) throw Error("ERR_OUT_OF_MEMORY", "out of CUDA memory: " + reason);
  throw Error("ERR_CUDA", "CUDA: " + reason +
                              " (errors arrive late: any operation since the last synchronisation may have caused it)");
}

cudaStream_t stream() { return state().stream; }
int multiprocessors() { return state().multiprocessors; }
int shared_memory_per_block() { return state().shared_memory_per_block; }
int* fault_flags() { return state().fault_flags; }

}  // namespace cuda

using namespace cuda;

bool cuda_available() {
  cudaError_t status;
  return device_count(status) > device_index();
}

std::string cuda_status() {
  cudaError_t status;
  const int count = device_count(status);
  if (status == cudaErrorInsufficientDriver)
    return "not available: no NVIDIA driver is installed, or one older than this build's CUDA " +
           std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
  if (status != cudaSuccess) return std::string("not available: ") + cudaGetErrorString(status);
  const int index = device_index();
  if (count <= index)
    return "not available: device " + std::to_string(index) + " was asked for, the driver reports " +
           std::to_string(count);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "reading the device");
  return std::string("available: ") + properties.name + ", compute capability " + std::to_string(properties.major) +
         "." + std::to_string(properties.minor) + ", " + std::to_string(properties.totalGlobalMem >> 20) + " MiB";
}

bool cuda_tf32() { return tf32_allowed(); }
void set_cuda_tf32(bool allowed) { tf32_allowed() = allowed; }

void set_cuda_device(int64_t index) {
  cudaError_t status;
  const int count = device_count(status);
  if (index < 0 || index >= count)
    throw Error("ERR_DEVICE", "CUDA device " + std::to_string(index) + ": the driver reports " + std::to_string(count));
  if (in_use && index != device_index())
    throw Error("ERR_DEVICE",
                "CUDA device " + std::to_string(device_index()) + " is in use already; choose before the first tensor");
  chosen_device = index;
}

CachingAllocator& cuda_memory() {
  static CachingAllocator& instance =
      *new CachingAllocator({.name = "CUDA memory",
                             .allocate = device_allocate,
                             .free = device_free,
                             .addressable = false,
                             .caches = !is_set("STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING")},
                            state().total_memory / 10 * 9);
  return instance;
}

void cuda_copy(View from, View to) {
  const size_t bytes = static_cast<size_t>(from.size) * size_of(from.dtype);
  if (bytes == 0) return;
  if (from.device == Device::cpu)
    upload(to.data, from.data, bytes);
  else if (to.device == Device::cpu)
    download(to.data, from.data, bytes);
  else
    check(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice, stream()), "copying on the device");
}

void cuda_synchronize() {
  DeviceState& device = state();
  int flags = 0;
  check(cudaMemcpyAsync(&flags, device.fault_flags, sizeof flags, cudaMemcpyDeviceToHost, device.stream),
        "reading the fault flags");
  check(cudaStreamSynchronize(device.stream), "waiting for the device");
  if (flags == 0) return;
  check(cudaMemsetAsync(device.fault_flags, 0, sizeof flags, device.stream), "clearing the fault flags");
  const std::string what = flags & kIdOutOfRange       ? "embedding: an id outside the table"
                           : flags & kTargetOutOfRange ? "cross entropy: a target that is no class"
                                                       : "a matrix to decompose has a value that is not finite";
  throw Error("ERR_RANGE", what + " (found on the device by an operation since the last synchronisation)");
}

}  // namespace sffn
