// A recording as JavaScript sees it.
#pragma once

#include <memory>
#include <unordered_set>

#include "buffers.h"
#include "thread_pool.h"

namespace sffn {

// A recording, and the earlier memory that it reads and writes: JavaScript may dispose of its tensors before the
// recording.
class RecordedWork {
 public:
  explicit RecordedWork(Device device) : device_(device), work_(begin(device)) {}

  // A buffer made while recording is memory of the recording itself.
  void keep(const std::shared_ptr<Buffer>& buffer) {
    if (buffer->device == device_ && buffer->serial < first_inside_) operands_.insert(buffer);
  }
  void finish() { work_->finish(); }
  void launch() { work_->launch(); }

 private:
  static std::unique_ptr<Recording> begin(Device device) {
    const auto record = backend_of(device).record;
    if (!record) throw Error("ERR_DEVICE", "device '" + name_of(device) + "' has no recordings");
    const ComputeScope scope(device);
    return record();
  }

  const Device device_;
  std::unordered_set<std::shared_ptr<Buffer>> operands_;
  const std::unique_ptr<Recording> work_;
  const uint64_t first_inside_ = Buffer::next_serial();
};

}  // namespace sffn
