#include "graph.cuh"

#include "../counters.h"
#include "../thread_pool.h"
#include "device.cuh"

namespace sffn {
namespace cuda {
namespace {

bool recording = false;  // guarded by compute_mutex(Device::cuda)

}  // namespace

void refuse_while_recording(const char* why) {
  if (recording) throw Error("ERR_RECORDING", std::string("while a CUDA graph is recorded, ") + why);
}

Graph::Graph() : lock_(compute_mutex(Device::cuda)) {
  refuse_while_recording("no other one can be");
  // Relaxed: memory may be asked for. That no other thread gets into the recording is the lock's part.
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed), "recording");
  pool_ = segments().begin_pool();
  recording = true;
  recorded_flops = &flops_;
}

cudaError_t Graph::end_capture(cudaGraph_t& graph) noexcept {
  recorded_flops = nullptr;
  recording = false;
  const cudaError_t status = cudaStreamEndCapture(stream(), &graph);
  segments().end_pool();
  return status;
}

void Graph::finish() {
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = end_capture(graph);
  const auto lock = std::move(lock_);
  check(ended, "recording");
  const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "recording");
}

Graph::~Graph() {
  const std::lock_guard lock(compute_mutex(Device::cuda));
  if (lock_.owns_lock()) {
    cudaGraph_t graph = nullptr;
    end_capture(graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    lock_.unlock();
  }
  if (executable_) cudaGraphExecDestroy(executable_);
  segments().drop_pool(pool_);
}

void Graph::launch() {
  const std::lock_guard lock(compute_mutex(Device::cuda));
  refuse_while_recording("no other one can be launched");
  check(cudaGraphLaunch(executable_, stream()), "launching a recorded graph");
  count_flops(flops_);
}

}  // namespace cuda

std::unique_ptr<Recording> cuda_record() {
  // What ran before a recording leaves memory that the recording cannot use.
  cuda_memory().empty_cache();
  return std::make_unique<cuda::Graph>();
}

}  // namespace sffn
