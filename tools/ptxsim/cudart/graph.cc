// Graphs: what a stream recorded, to be run again and again.
#include "runtime.h"

using namespace ptxsim;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  auto* s = reinterpret_cast<Stream*>(stream);
  if (!s || s->capture) return Runtime::get().fail(cudaErrorIllegalState);
  s->capture = std::make_unique<Graph>();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out) {
  auto* s = reinterpret_cast<Stream*>(stream);
  if (!s || !s->capture) return Runtime::get().fail(cudaErrorIllegalState);
  *out = reinterpret_cast<cudaGraph_t>(s->capture.release());
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

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
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
