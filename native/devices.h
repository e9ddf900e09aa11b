// The memory of each device, and the CUDA backend as the rest of the addon sees it: plain C++, implemented in
// native/cuda/, and by native/no_cuda.cc in a build without it.
#pragma once

#include <memory>

#include "allocator.h"

namespace sffn {

bool cuda_available();
// One sentence: the device in use, or what is missing (build, driver, device).
std::string cuda_status();
// Which device to use, counted from 0; the default is STRUCTURED_FFN_CUDA_DEVICE or 0. Throws Error once one is in use.
void set_cuda_device(int64_t index);
// Whether float32 products may round their operands to TF32; at first STRUCTURED_FFN_TF32=1.
bool cuda_tf32();
void set_cuda_tf32(bool allowed);
Memory& cuda_memory();
// Copies all elements; at least one of the two is on the device. Copies to the device return before they are done.
void cuda_copy(View from, View to);
// Waits for everything launched so far. Throws what went wrong in it, which is the only moment at which that is known.
void cuda_synchronize();

// Work of the device that is recorded once, as a CUDA graph, and launched again and again: from cuda_record to finish()
// the kernels of this thread are not run but recorded. The thread holds compute_mutex(Device::cuda) meanwhile. Memory
// that is allocated in between belongs to the recording; other memory that the kernels use must stay what it is. What
// would wait for the device, or copy from or to the host, throws Error("ERR_RECORDING"). Destroyed before it is
// finished, it leaves everything as if nothing had been recorded.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void finish() = 0;
  virtual void launch() = 0;
};
std::unique_ptr<Recording> cuda_record();

inline Memory& memory_of(Device device) {
  if (device == Device::cuda) return cuda_memory();
  return host_memory();
}

}  // namespace sffn
