#include "graph.cuh"

#include "../counters.h"
#include "../thread_pool.h"
#include "device.cuh"

namespace sffn::cuda {
namespace {

thread_local int recorded_device = -1;

}  // namespace

bool is_recording() { return recorded_device >= 0; }

void refuse_while_recording(const char* why) {
  if (is_recording()) throw Error("ERR_RECORDING", std::string("while a CUDA graph is recorded, ") + why);
}

void refuse_other_device_while_recording(int index) {
  if (index != recorded_device) refuse_while_recording("no other CUDA device can be used; it would not be recorded");
}

Graph::Graph() : device_(here()), lock_(compute_mutex(device_)) {
  refuse_while_recording("no other one can be");
  // Relaxed: memory may be allocated meanwhile. The lock keeps other threads out of the recording.
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed), "recording");
  pool_ = state().segments->begin_pool();
  recorded_device = device_.index;
  recorded_flops = &flops_;
}

cudaError_t Graph::end_capture(cudaGraph_t& graph) noexcept {
  recorded_flops = nullptr;
  recorded_device = -1;
  DeviceState& device = state_of(device_.index);
  const cudaError_t status = cudaStreamEndCapture(device.stream, &graph);
  device.segments->end_pool();
  return status;
}

void Graph::finish() {
  cudaGraph_t graph = nullptr;
  const ComputeScope scope(device_);
  const cudaError_t ended = end_capture(graph);
  const auto lock = std::move(lock_);
  check(ended, "recording");
  const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "recording");
}

// Does not select a device, which may fail: nothing here uses the thread's device.
Graph::~Graph() {
  const std::lock_guard lock(compute_mutex(device_));
  if (lock_.owns_lock()) {
    cudaGraph_t graph = nullptr;
    end_capture(graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    lock_.unlock();
  }
  if (executable_) cudaGraphExecDestroy(executable_);
  state_of(device_.index).segments->drop_pool(pool_);
}

void Graph::launch() {
  refuse_while_recording("no other one can be launched");
  const ComputeScope scope(device_);
  check(cudaGraphLaunch(executable_, stream()), "launching a recorded graph");
  count_flops(flops_);
}

}  // namespace sffn::cuda
