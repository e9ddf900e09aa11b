// When to look for garbage: tensors that were never disposed. V8 sees the small objects of JavaScript and not the
// memory behind them, so by itself it would look too late. Telling it every allocation makes it look too often: it runs
// a full collection whenever the reported memory has grown by 64 MiB since the last one. A training step does that many
// times over, with memory that it frees itself.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sffn {

// The memory that one JavaScript environment holds on one device.
class Undisposed {
 public:
  // Whether a collection is due: the memory has grown by as much as was left after the last one, or by half of what the
  // device has left beyond that, but at least by 64 MiB. A training step reaches this a few times while its memory
  // grows, and never again.
  bool add(int64_t bytes, int64_t device_limit) {
    held_ += bytes;
    const int64_t growth = std::min(survived_, (device_limit - survived_) / 2);
    return held_ > survived_ + std::max(kLeastGrowth, growth);
  }
  void dispose(int64_t bytes) { held_ -= bytes; }
  // Freed by a sweep: the last collection, or an earlier one, found it to be garbage.
  void finalize(int64_t bytes) {
    held_ -= bytes;
    survived_ = std::max<int64_t>(0, survived_ - bytes);
  }
  // After a collection and its sweep.
  void collected() { survived_ = held_; }

 private:
  static constexpr int64_t kLeastGrowth = int64_t{64} << 20;
  int64_t held_ = 0, survived_ = 0;
};

}  // namespace sffn
