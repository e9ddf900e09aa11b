#include "staging.cuh"

#include "../counters.h"

namespace sffn::cuda {
namespace {

constexpr size_t kLine = 256;

}  // namespace

Staging::Staging() {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, kBytes), "allocating page-locked memory");
  memory_ = static_cast<char*>(memory);
}

void* Staging::take(size_t bytes) {
  const size_t size = (bytes + kLine - 1) / kLine * kLine;
  begin_ = end_ + size <= kBytes ? end_ : 0;
  end_ = begin_ + size;
  while (!in_flight_.empty() && cudaEventQuery(in_flight_.front().done) == cudaSuccess) free_oldest();
  cudaGetLastError();  // a copy that is still running is not an error
  while (in_use(begin_, end_)) {
    synchronizations.fetch_add(1, std::memory_order_relaxed);
    check(cudaEventSynchronize(in_flight_.front().done), "copying");
    free_oldest();
  }
  return memory_ + begin_;
}

void Staging::submitted(cudaStream_t stream) {
  const cudaEvent_t done = event();
  check(cudaEventRecord(done, stream), "copying");
  in_flight_.push_back({begin_, end_, done});
}

bool Staging::in_use(size_t begin, size_t end) const {
  return std::any_of(in_flight_.begin(), in_flight_.end(),
                     [&](const Piece& piece) { return piece.begin < end && begin < piece.end; });
}

void Staging::free_oldest() {
  spare_.push_back(in_flight_.front().done);
  in_flight_.pop_front();
}

cudaEvent_t Staging::event() {
  cudaEvent_t event = nullptr;
  if (spare_.empty()) {
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
    return event;
  }
  event = spare_.back();
  spare_.pop_back();
  return event;
}

}  // namespace sffn::cuda
