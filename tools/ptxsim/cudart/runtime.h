// The state behind the CUDA runtime's interface: simulated devices, all alike.
#pragma once
#include <cuda_runtime_api.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../src/executor.h"
#include "../src/module.h"
#include "../src/report.h"

namespace ptxsim {

/** Most devices that can be simulated. */
inline constexpr int kMostDevices = 8;

struct FatBinary {
  std::string ptx;
  int target = 0;  // its compute capability, 80 for 8.0
  std::unique_ptr<Module> modules[kMostDevices];
};

struct Kernel {
  /** What a device knows about a kernel. */
  struct There {
    int max_dynamic_shared = 48 << 10;
    bool loaded = false;
  };
  FatBinary* binary = nullptr;
  std::string name;
  There devices[kMostDevices];

  There& here();
};

/** Work of a stream, which runs now or whenever its graph is launched. */
using Work = std::function<cudaError_t()>;

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  int device = 0;
  std::unique_ptr<Graph> capture = nullptr;  // while it records
  std::thread::id recorder = {};
  bool invalid = false;  // something happened that invalidates the capture
};

struct Event {
  int device = 0;
};

/** Of a device. */
struct Device {
  explicit Device(int index) : memory(index) {}

  DeviceMemory memory;
  Stream* recording = nullptr;     // the stream that is being captured
  cudaError_t late = cudaSuccess;  // a failure that the host learns of at the next wait
};

/** The device of this thread. */
inline thread_local int current_device = 0;

inline constexpr int kReservedShared = 1 << 10;  // of each block
inline constexpr int kThreadsPerMultiprocessor = 2048;

class Runtime {
 public:
  static Runtime& get();

  /** Remembers a failure for cudaGetLastError and returns it. */
  cudaError_t fail(cudaError_t error);
  void fail_later(cudaError_t error) { here().late = error; }
  /** What waiting for a device returns. */
  cudaError_t synchronize(Device& device);
  cudaError_t take_last_error();
  cudaError_t last_error() const { return last_; }

  /** That of this thread, and all. */
  Device& here() { return *devices[static_cast<size_t>(current_device)]; }
  std::vector<std::unique_ptr<Device>> devices;
  /** The device whose memory holds an address; null if there is none. */
  DeviceMemory* memory_of(u64 address);

  /** Runs the work on the stream's device, or records it if the stream is being captured. */
  cudaError_t submit(cudaStream_t stream, Work work);
  /** Waiting for a stream that records is an error that ends the capture; so is waiting for its whole device. */
  cudaError_t wait_for(Stream& stream);
  cudaError_t wait_for(Device& device);
  /** What loads a kernel: its first launch, or the first question about it. */
  void load(Kernel& kernel);
  Kernel* kernel(const void* host_function);
  /** The kernel's program; null, with the failure in `error`, where its PTX cannot be read. */
  Program* program(Kernel& kernel, cudaError_t& error);
  cudaError_t launch(Kernel& kernel, Dim3 grid, Dim3 block, u32 dynamic_shared, const std::vector<u8>& parameters);
  /** Adds a finding about the host's code. */
  void find(const std::string& kind, const std::string& message);

  std::string report_json() const { return report_.json(coverage_); }
  void write_report() const;

  std::recursive_mutex mutex;
  u64 memory_limit;        // of a device
  int compute_capability;  // 90 for 9.0
  int multiprocessors;
  int shared_per_block;  // with cudaFuncSetAttribute
  int shared_per_multiprocessor() const { return shared_per_block + kReservedShared; }
  std::vector<std::unique_ptr<FatBinary>> binaries;
  std::map<const void*, std::unique_ptr<Kernel>> kernels;
  std::map<const char*, size_t> page_locked;

 private:
  Runtime();
  void after_findings(size_t known);

  Report report_;
  Options options_;
  std::string report_path_;
  bool strict_, coverage_, verbose_;
  cudaError_t last_ = cudaSuccess;
};

inline Kernel::There& Kernel::here() { return devices[current_device]; }

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace ptxsim
