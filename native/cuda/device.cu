// The devices: which one is the thread's, errors, streams, memory, copies.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <mutex>

#include "../counters.h"
#include "../settings.h"
#include "../thread_pool.h"
#include "device.cuh"
#include "graph.cuh"

namespace sffn::cuda {
namespace {

std::atomic<int> chosen_device{-1};
std::atomic<DeviceState*> states[kMostDevices];
thread_local DeviceState* current = nullptr;

std::atomic<bool>& tf32_allowed() {
  static std::atomic<bool> allowed = switch_setting("STRUCTURED_FFN_TF32");
  return allowed;
}

Device device_of(int index) { return {DeviceKind::cuda, static_cast<uint8_t>(index)}; }

// Null where memory ran out. Any other failure, which may come from earlier work, is reported as it is.
void* allocate(int index, size_t bytes) {
  const ComputeScope scope(device_of(index));
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status != cudaErrorMemoryAllocation) check(status, "allocating memory");
  cudaGetLastError();
  return block;
}

std::unique_ptr<SegmentAllocator> make_segments(int index) {
  const bool caches = !switch_setting("STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING");
  check(cudaSetDevice(index), "selecting the device");
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "reading the device's memory");
  const MemorySource source{.name = "CUDA memory",
                            .allocate = [index](size_t bytes) { return allocate(index, bytes); },
                            .free = [](void* block) { cudaFree(block); }};
  return std::make_unique<SegmentAllocator>(source, static_cast<int64_t>(total) / 10 * 9, caches,
                                            compute_mutex(device_of(index)));
}

void upload(void* to, const void* from, size_t bytes) {
  DeviceState& device = state();
  for (size_t at = 0; at < bytes; at += Staging::kPart) {
    const size_t part = std::min(Staging::kPart, bytes - at);
    void* const staged = device.staging.take(part);
    std::memcpy(staged, static_cast<const char*>(from) + at, part);
    check(cudaMemcpyAsync(static_cast<char*>(to) + at, staged, part, cudaMemcpyHostToDevice, device.stream),
          "copying to the device");
    device.staging.submitted(device.stream);
  }
}

void download(void* to, const void* from, size_t bytes) {
  DeviceState& device = state();
  for (size_t at = 0; at < bytes; at += Staging::kPart) {
    const size_t part = std::min(Staging::kPart, bytes - at);
    void* const staged = device.staging.take(part);
    check(cudaMemcpyAsync(staged, static_cast<const char*>(from) + at, part, cudaMemcpyDeviceToHost, device.stream),
          "copying from the device");
    device.staging.submitted(device.stream);
    synchronize();
    std::memcpy(static_cast<char*>(to) + at, staged, part);
  }
}

// On the stream of the destination, after all earlier work of the source device and before all its later work: the
// source's memory may be reused after that.
void transfer_between(View from, View to, size_t bytes) {
  refuse_while_recording("nothing can be copied between devices; write it into a tensor before");
  const std::scoped_lock lock(compute_mutex(from.device), compute_mutex(to.device));
  const auto order = [](View first, View second) {
    DeviceState& waited_for = state_of(first.device.index);
    {
      const ComputeScope scope(first.device);
      check(cudaEventRecord(waited_for.reached, waited_for.stream), "copying between devices");
    }
    const ComputeScope scope(second.device);
    check(cudaStreamWaitEvent(stream(), waited_for.reached, 0), "copying between devices");
  };
  order(from, to);
  {
    const ComputeScope scope(to.device);
    check(cudaMemcpyPeerAsync(to.data, to.device.index, from.data, from.device.index, bytes, stream()),
          "copying between devices");
  }
  order(to, from);
}

}  // namespace

DeviceState::DeviceState(int index) : gemm(gemm_settings_of(index)), segments(make_segments(index)), index(index) {
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index), "reading the device");
  check(cudaDeviceGetAttribute(&shared_memory_per_block, cudaDevAttrMaxSharedMemoryPerBlockOptin, index),
        "reading the device");
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating the stream");
  check(cudaEventCreateWithFlags(&reached, cudaEventDisableTiming), "creating an event");
  check(cudaMalloc(reinterpret_cast<void**>(&fault_flags), sizeof(int)), "allocating the fault flags");
  check(cudaMemsetAsync(fault_flags, 0, sizeof(int), stream), "clearing the fault flags");
  check(cudaMallocHost(reinterpret_cast<void**>(&host_flags), sizeof(int)), "allocating page-locked memory");
}

DeviceState& state() { return *current; }

// Never destroyed: the driver may be gone before static destructors run.
DeviceState& state_of(int index) {
  DeviceState* known = states[index].load(std::memory_order_acquire);
  if (known) return *known;
  static std::mutex making;
  const std::lock_guard lock(making);
  known = states[index].load(std::memory_order_acquire);
  if (known) return *known;
  const struct Restored {
    ~Restored() {
      if (current) cudaSetDevice(current->index);
    }
  } restored;
  known = new DeviceState(index);
  chosen_device = default_index();  // names of devices keep their meaning
  states[index].store(known, std::memory_order_release);
  return *known;
}

bool is_open(int index) {
  return index >= 0 && index < kMostDevices && states[index].load(std::memory_order_acquire) != nullptr;
}

int default_index() {
  const int chosen = chosen_device;
  return chosen >= 0 ? chosen : integer_setting("STRUCTURED_FFN_CUDA_DEVICE", 0, std::numeric_limits<int>::max(), 0);
}

void set_default_index(int index) { chosen_device = index; }

int select(int index) {
  refuse_other_device_while_recording(index);
  const int before = current ? current->index : -1;
  if (index == before) return before;
  DeviceState& selected = state_of(index);
  check(cudaSetDevice(index), "selecting the device");
  current = &selected;
  return before;
}

void leave(int before) noexcept {
  if (before == current->index) return;
  cudaSetDevice(before);
  current = states[before].load(std::memory_order_acquire);
}

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  const std::string reason = std::string(what) + ": " + cudaGetErrorString(status);
  if (status == cudaErrorMemoryAllocation) throw Error("ERR_OUT_OF_MEMORY", "out of CUDA memory: " + reason);
  throw Error("ERR_CUDA", "CUDA: " + reason +
                              " (errors arrive late: any operation since the last synchronisation may have caused it)");
}

Device here() { return device_of(state().index); }
cudaStream_t stream() { return state().stream; }
int multiprocessors() { return state().multiprocessors; }
int shared_memory_per_block() { return state().shared_memory_per_block; }
int* fault_flags() { return state().fault_flags; }

bool tf32_is_allowed() { return tf32_allowed(); }
void allow_tf32(bool allowed) { tf32_allowed() = allowed; }

void transfer(View from, View to) {
  const size_t bytes = static_cast<size_t>(from.size) * size_of(from.dtype);
  if (bytes == 0) return;
  const bool from_host = from.device.kind == DeviceKind::cpu, to_host = to.device.kind == DeviceKind::cpu;
  if (!from_host && !to_host && from.device != to.device) return transfer_between(from, to, bytes);
  const ComputeScope scope(from_host ? to.device : from.device);
  if (from_host) {
    refuse_while_recording("values from the host would be the same in every replay; write them into a tensor before");
    upload(to.data, from.data, bytes);
  } else if (to_host) {
    refuse_while_recording("values cannot be read, since nothing is computed meanwhile; read them after the replay");
    download(to.data, from.data, bytes);
  } else {
    check(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice, stream()), "copying on the device");
  }
}

void synchronize() {
  refuse_while_recording("the device cannot be waited for, since nothing is computed meanwhile");
  DeviceState& device = state();
  check(cudaMemcpyAsync(device.host_flags, device.fault_flags, sizeof(int), cudaMemcpyDeviceToHost, device.stream),
        "reading the fault flags");
  synchronizations.fetch_add(1, std::memory_order_relaxed);
  check(cudaStreamSynchronize(device.stream), "waiting for the device");
  const int flags = *device.host_flags;
  if (flags == 0) return;
  check(cudaMemsetAsync(device.fault_flags, 0, sizeof flags, device.stream), "clearing the fault flags");
  const std::string what =
      flags & kIdOutOfRange ? "embedding: an id outside the table" : "cross entropy: a target that is not a class";
  throw Error("ERR_RANGE", what + " (found on the device by an operation since the last synchronisation)");
}

}  // namespace sffn::cuda
