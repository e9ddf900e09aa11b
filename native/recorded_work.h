// A CUDA graph as JavaScript sees it.
#pragma once

#include <memory>
#include <unordered_set>

#include "buffers.h"

namespace sffn {

// A recording, and what it reads and writes that was there before it: JavaScript may dispose of a tensor earlier.
class RecordedWork {
 public:
  RecordedWork() : work_(cuda_record()) {}

  // A buffer that was made while recording is memory of the recording itself.
  void keep(const std::shared_ptr<Buffer>& buffer) {
    if (buffer->device == Device::cuda && buffer->serial < first_inside_) operands_.insert(buffer);
  }
  void finish() { work_->finish(); }
  void launch() { work_->launch(); }

 private:
  std::unordered_set<std::shared_ptr<Buffer>> operands_;
  const std::unique_ptr<Recording> work_;
  const uint64_t first_inside_ = Buffer::next_serial();
};

}  // namespace sffn
