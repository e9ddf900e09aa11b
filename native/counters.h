// What the kernels count about themselves. Tests compare the counts with the formulas; benchmarks use them to measure
// peaks.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace sffn {

// Floating-point operations of matrix products since the process started (a multiplication and an addition are two).
// Each product counts once, by its sizes: padding of tiles and attention's own products are left out.
inline std::atomic<int64_t> product_flops{0};

// How often the host waited for a CUDA device since the process started.
inline std::atomic<int64_t> synchronizations{0};

// Where the counts of a thread go while it records for later.
inline thread_local int64_t* recorded_flops = nullptr;

inline void count_flops(int64_t flops) {
  if (recorded_flops)
    *recorded_flops += flops;
  else
    product_flops.fetch_add(flops, std::memory_order_relaxed);
}
inline double counted_flops() { return static_cast<double>(product_flops.load(std::memory_order_relaxed)); }
inline double counted_synchronizations() {
  return static_cast<double>(synchronizations.load(std::memory_order_relaxed));
}

// How often a kernel of a device was launched since the process started. Each kernel has one for each device, for the
// life of the process.
class LaunchCount {
 public:
  explicit LaunchCount(std::string kernel) : kernel_(std::move(kernel)) {
    const std::lock_guard<std::mutex> lock(mutex_);
    all_.push_back(this);
  }
  LaunchCount(const LaunchCount&) = delete;
  LaunchCount& operator=(const LaunchCount&) = delete;

  const std::string& kernel() const { return kernel_; }
  void add() { launches_.fetch_add(1, std::memory_order_relaxed); }

  // Of all kernels that were launched.
  static std::map<std::string, int64_t> all() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::map<std::string, int64_t> counts;
    for (const LaunchCount* count : all_)
      if (const int64_t launches = count->launches_.load(std::memory_order_relaxed)) counts[count->kernel_] += launches;
    return counts;
  }

 private:
  inline static std::mutex mutex_;
  inline static std::vector<const LaunchCount*> all_;

  const std::string kernel_;
  std::atomic<int64_t> launches_{0};
};

}  // namespace sffn
