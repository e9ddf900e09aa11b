// Streams and events. Work is done when it is submitted, so waiting only reports late errors.
#include "runtime.h"

using namespace ptxsim;

namespace {

cudaError_t wait_for_device(int device) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  return r.wait_for(*r.devices[static_cast<size_t>(device)]);
}

cudaError_t wait_for(cudaStream_t stream) {
  if (!stream) return wait_for_device(current_device);
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  return r.wait_for(*reinterpret_cast<Stream*>(stream));
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned) {
  *out = reinterpret_cast<cudaStream_t>(new Stream{.device = current_device});
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* out) { return cudaStreamCreateWithFlags(out, 0); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* out, unsigned flags, int) {
  return cudaStreamCreateWithFlags(out, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete reinterpret_cast<Stream*>(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_for(stream); }
cudaError_t cudaDeviceSynchronize() { return wait_for_device(current_device); }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return wait_for(stream); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
  *out = reinterpret_cast<cudaEvent_t>(new Event{current_device});
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* out) { return cudaEventCreateWithFlags(out, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<Event*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const int device = stream ? reinterpret_cast<Stream*>(stream)->device : current_device;
  if (reinterpret_cast<Event*>(event)->device == device) return cudaSuccess;
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  r.find("other-device", "an event is recorded on a stream of another device");
  return r.fail(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return wait_for_device(reinterpret_cast<Event*>(event)->device); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}
}
