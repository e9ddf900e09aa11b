// Work of the stream that is recorded once and launched many times.
#pragma once

#include <mutex>

#include "common.cuh"

namespace sffn::cuda {

// Keeps the promises of class Recording in backend.h. The first launch of a kernel loads it, which is impossible while
// a stream records: recorded kernels must have run before.
class Graph final : public Recording {
 public:
  // Starts to record on the thread's device.
  Graph();
  Graph(const Graph&) = delete;
  ~Graph() override;

  void finish() override;
  void launch() override;

 private:
  cudaError_t end_capture(cudaGraph_t& graph) noexcept;

  const Device device_;
  std::unique_lock<std::recursive_mutex> lock_;  // while it records
  int pool_;
  int64_t flops_ = 0;
  cudaGraphExec_t executable_ = nullptr;
};

// Whether this thread records. Throws Error("ERR_RECORDING") if it does so on another device than this one.
bool is_recording();
void refuse_other_device_while_recording(int index);

}  // namespace sffn::cuda
