// Graphs: what a stream recorded, to be run again and again.
#include "runtime.h"

using namespace ptxsim;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  auto* s = reinterpret_cast<Stream*>(stream);
  if (!s) return r.fail(cudaErrorIllegalState);
  Device& device = *r.devices[static_cast<size_t>(s->device)];
  if (device.recording) return r.fail(cudaErrorIllegalState);
  s->capture = std::make_unique<Graph>();
  s->recorder = std::this_thread::get_id();
  s->invalid = false;
  device.recording = s;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  auto* s = reinterpret_cast<Stream*>(stream);
  *out = nullptr;
  if (!s || !s->capture) return r.fail(cudaErrorIllegalState);
  const std::unique_ptr<Graph> graph = std::move(s->capture);
  r.devices[static_cast<size_t>(s->device)]->recording = nullptr;
  if (s->invalid) return r.fail(cudaErrorStreamCaptureInvalidated);
  *out = reinterpret_cast<cudaGraph_t>(new Graph(*graph));
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* out) {
  const auto* s = reinterpret_cast<Stream*>(stream);
  *out = s && s->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t graph, unsigned long long) {
  *out = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  if (auto* s = reinterpret_cast<Stream*>(stream); s && s->capture) return r.fail(cudaErrorNotSupported);
  for (const Work& work : reinterpret_cast<Graph*>(graph)->work)
    if (const cudaError_t error = work(); error != cudaSuccess) return r.fail(error);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Graph*>(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete reinterpret_cast<Graph*>(graph);
  return cudaSuccess;
}
}
