// The state behind the CUDA runtime's interface: one simulated device.
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

struct FatBinary {
  std::string ptx;
  int target = 0;  // its compute capability, 80 for 8.0
  std::unique_ptr<Module> module;
};

struct Kernel {
  FatBinary* binary = nullptr;
  std::string name;
  int max_dynamic_shared = 48 << 10;
  bool loaded = false;
};

/** Work of a stream: what it runs, now or whenever its graph is launched. */
using Work = std::function<cudaError_t()>;

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  std::unique_ptr<Graph> capture;  // while it records
  std::thread::id recorder;
  bool invalid = false;  // something happened that a capture does not survive
};

inline constexpr int kReservedShared = 1 << 10;  // of each block
inline constexpr int kThreadsPerMultiprocessor = 2048;

class Runtime {
 public:
  static Runtime& get();

  /** Remembers a failure for cudaGetLastError and returns it. */
  cudaError_t fail(cudaError_t error);
  /** A failure of work that the host learns of when it waits. */
  void fail_later(cudaError_t error) { late_ = error; }
  /** What waiting for the device returns. */
  cudaError_t synchronize();
  cudaError_t take_last_error();
  cudaError_t last_error() const { return last_; }
  /** Of earlier work, which other calls return, too, until somebody waits. */
  cudaError_t late_error() const { return late_; }

  /** Runs the work, or records it if the stream is being captured. */
  cudaError_t submit(cudaStream_t stream, Work work);
  /** Waiting for a stream that records is an error, which ends the capture; null: for the device. */
  cudaError_t wait_for(Stream* stream);
  /** What loads a kernel: its first launch, or the first question about it. */
  void load(Kernel& kernel);
  Kernel* kernel(const void* host_function);
  /** The kernel's program; null, with the failure in `error`, where its PTX cannot be read. */
  Program* program(Kernel& kernel, cudaError_t& error);
  cudaError_t launch(Kernel& kernel, Dim3 grid, Dim3 block, u32 dynamic_shared, const std::vector<u8>& parameters);
  /** Adds a finding of the host's own doing. */
  void find(const std::string& kind, const std::string& message);

  std::string report_json() const { return report_.json(coverage_); }
  void write_report() const;

  std::recursive_mutex mutex;
  DeviceMemory memory;
  u64 memory_limit;
  int compute_capability;  // 90 for 9.0
  int multiprocessors;
  int shared_per_block;  // with cudaFuncSetAttribute
  int shared_per_multiprocessor() const { return shared_per_block + kReservedShared; }
  std::vector<std::unique_ptr<FatBinary>> binaries;
  std::map<const void*, std::unique_ptr<Kernel>> kernels;
  std::map<const char*, size_t> page_locked;
  Stream* recording = nullptr;  // the stream that is being captured

 private:
  Runtime();
  void after_findings(size_t known);

  Report report_;
  Options options_;
  std::string report_path_;
  bool strict_, coverage_, verbose_;
  cudaError_t last_ = cudaSuccess, late_ = cudaSuccess;
};

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace ptxsim
