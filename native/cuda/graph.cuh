// Work of the stream, recorded once and launched again and again.
#pragma once

#include <mutex>

#include "common.cuh"

namespace sffn::cuda {

// What class Recording of devices.h promises. The first launch of a kernel loads it, which does not go while a stream
// records: what is recorded must have run before.
class Graph final : public Recording {
 public:
  // Starts to record.
  Graph();
  Graph(const Graph&) = delete;
  ~Graph() override;

  void finish() override;
  void launch() override;

 private:
  cudaError_t end_capture(cudaGraph_t& graph) noexcept;

  std::unique_lock<std::recursive_mutex> lock_;  // while it records
  int pool_;
  int64_t flops_ = 0;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace sffn::cuda
