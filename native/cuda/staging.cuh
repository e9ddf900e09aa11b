// Page-locked memory for copies between the host and the device: only from there can they run while the processor goes
// on.
#pragma once

#include <deque>
#include <vector>

#include "common.cuh"

namespace sffn::cuda {

// A ring. A piece is free again once its copy is done, so the host waits only when it is a whole ring ahead of the
// device.
class Staging {
 public:
  static constexpr size_t kBytes = size_t{8} << 20;
  static constexpr size_t kPart = kBytes / 2;  // the most that is copied at once

  Staging();

  // `bytes` (at most kPart) that no copy uses.
  void* take(size_t bytes);
  // To be called after submitting the copy that uses the latest piece.
  void submitted(cudaStream_t stream);

 private:
  struct Piece {
    size_t begin, end;
    cudaEvent_t done;
  };
  bool in_use(size_t begin, size_t end) const;
  void free_oldest();
  cudaEvent_t event();

  char* memory_ = nullptr;
  size_t begin_ = 0, end_ = 0;   // of the piece taken last
  std::deque<Piece> in_flight_;  // the oldest first
  std::vector<cudaEvent_t> spare_;
};

}  // namespace sffn::cuda
