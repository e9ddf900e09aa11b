#include "thread_pool.h"

#include <sched.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <thread>

#include "backend.h"
#include "settings.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sffn {
namespace {

constexpr int kMaxThreads = 1024;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits for another thread that may not have a core: spins a little, then yields the core.
struct Backoff {
  int spins = 0;
  void operator()() {
    if (++spins < 2000)
      pause();
    else
      sched_yield();
  }
};

uint64_t flush_denormals() {
#if defined(__x86_64__)
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | 0x8040);  // flush-to-zero, denormals-are-zero
  return mode;
#elif defined(__aarch64__)
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  asm volatile("msr fpcr, %0" ::"r"(mode | (uint64_t{1} << 24)));
  return mode;
#else
  return 0;
#endif
}

void restore_mode([[maybe_unused]] uint64_t mode) {
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(mode));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" ::"r"(mode));
#endif
}

// Whole cores in the control group's quota; 0 when there is none.
int quota_cores() {
  std::string quota;
  double period = 0;
  if (std::ifstream("/sys/fs/cgroup/cpu.max") >> quota >> period && quota != "max" && period > 0)
    return std::max(1, static_cast<int>(std::ceil(std::atof(quota.c_str()) / period)));
  return 0;
}

struct Processors {
  int physical = 0, logical = 0;
};

Processors count_processors() {
  Processors count;
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    std::set<std::pair<int, int>> physical;  // (package, core): hyper-threads count once
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
      int package = 0, core = cpu;
      std::ifstream(topology + "physical_package_id") >> package;
      std::ifstream(topology + "core_id") >> core;
      physical.emplace(package, core);
    }
    count = {static_cast<int>(physical.size()), CPU_COUNT(&allowed)};
  }
#endif
  if (count.logical <= 0) count.physical = count.logical = std::max(1u, std::thread::hardware_concurrency());
  const int quota = quota_cores();
  return quota > 0 ? Processors{std::min(count.physical, quota), std::min(count.logical, quota)} : count;
}

const Processors& processors() {
  static const Processors count = count_processors();
  return count;
}

int initial_threads() {
  const int wanted = threads_setting();
  return wanted > 0 ? std::min(wanted, available_processors()) : available_cores();
}

class ThreadPool {
 public:
  ThreadPool() : threads_(initial_threads()) {}

  int threads() const { return threads_.load(std::memory_order_relaxed); }
  void set_threads(int count) {
    {
      std::lock_guard lock(mutex_);
      threads_.store(count, std::memory_order_relaxed);
    }
    resume_.notify_all();
  }

  void run(int64_t count, void (*body)(void*, int64_t), void* context) {
    const int wanted = static_cast<int>(std::min<int64_t>(threads(), count)) - 1;
    const int helpers = wanted <= 0 || inside_ ? 0 : start_helpers(wanted);
    if (helpers == 0) {
      for (int64_t task = 0; task < count; ++task) body(context, task);
      return;
    }
    body_ = body;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    error_ = nullptr;
    wanted_.store(helpers, std::memory_order_relaxed);
#if defined(__linux__)
    caller_cpu_.store(sched_getcpu(), std::memory_order_relaxed);
#endif
    gate_.store(kOpen, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      { std::lock_guard lock(mutex_); }
      wake_.notify_all();
    }
    work();
    gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (Backoff wait; gate_.load(std::memory_order_acquire) != 0;) wait();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // Returns how many of `count` threads there are. If the system refuses one (a limit on threads or memory), the others
  // do the work from now on, and threads() says so.
  int start_helpers(int count) {
    try {
      for (; helpers_ < count; ++helpers_)
        std::thread([this, id = helpers_, seen = generation_.load()] { helper(id, seen); }).detach();
    } catch (const std::system_error&) {
      set_threads(helpers_ + 1);
    }
    return std::min(count, helpers_);
  }

  void work() {
    inside_ = true;
    try {
      for (int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) body_(context_, task);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_.store(count_, std::memory_order_relaxed);
    }
    inside_ = false;
  }

  void helper(int id, uint64_t seen) {
    flush_denormals();
    for (;;) {
      if (id >= threads() - 1) {
        // Not needed since threads were made fewer: no job wakes it.
        std::unique_lock lock(mutex_);
        resume_.wait(lock, [&] { return id < threads() - 1; });
        seen = generation_.load(std::memory_order_acquire);
      }
      // About 100 us of spinning covers the gaps between the kernels of one step; then sleep.
      for (int spin = 0; spin < 4000 && generation_.load(std::memory_order_acquire) == seen; ++spin) pause();
      if (generation_.load(std::memory_order_seq_cst) == seen) {
        std::unique_lock lock(mutex_);
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_seq_cst) != seen; });
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
      }
      seen = generation_.load(std::memory_order_acquire);
      if (id >= wanted_.load(std::memory_order_relaxed)) continue;
      leave_callers_core();
      if (!enter()) continue;
      work();
      gate_.fetch_sub(1, std::memory_order_release);
    }
  }

  // A helper that comes after the caller has run out of tasks is not waited for, and must not touch the job. With the
  // other cores busy, a job then takes no longer than on one thread.
  bool enter() {
    int inside = gate_.load(std::memory_order_acquire);
    while (inside & kOpen)
      if (gate_.compare_exchange_weak(inside, inside + 1, std::memory_order_acq_rel)) return true;
    return false;
  }

  // The scheduler tends to wake a helper on the core that woke it, where it would wait for the caller.
  void leave_callers_core() {
#if defined(__linux__)
    const int cpu = caller_cpu_.load(std::memory_order_relaxed);
    if (sched_getcpu() != cpu) return;
    cpu_set_t all, others;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    others = all;
    CPU_CLR(static_cast<size_t>(cpu), &others);
    if (CPU_COUNT(&others) == 0) return;
    sched_setaffinity(0, sizeof others, &others);
    sched_setaffinity(0, sizeof all, &all);
#endif
  }

  static thread_local bool inside_;  // a task that starts a parallel_for runs it alone

  std::atomic<int> threads_;
  int helpers_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_, resume_;
  std::atomic<int> sleepers_{0};
  std::atomic<uint64_t> generation_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<int> wanted_{0}, caller_cpu_{-1};
  static constexpr int kOpen = 1 << 30;
  std::atomic<int> gate_{0};  // helpers inside the job, and kOpen while more may come
  void (*body_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  std::exception_ptr error_;
};

thread_local bool ThreadPool::inside_ = false;

// Never destroyed: its threads sleep on its members until the process ends.
ThreadPool& pool() {
  static ThreadPool& instance = *new ThreadPool;
  return instance;
}

}  // namespace

int available_cores() { return processors().physical; }
int available_processors() { return processors().logical; }

bool first_thread_warning() {
  static std::atomic_flag given;
  return !given.test_and_set();
}

int threads_setting() { return integer_setting("STRUCTURED_FFN_NUM_THREADS", 1, kMaxThreads, 0); }

int num_threads() { return pool().threads(); }

void set_num_threads(int count) {
  if (count < 1 || count > kMaxThreads)
    throw Error("ERR_OPTION", "setNumThreads: expected a whole number from 1 to 1024, got " + std::to_string(count));
  pool().set_threads(count);
}

void detail::run_tasks(int64_t count, void (*body)(void*, int64_t), void* context) { pool().run(count, body, context); }

// Never destroyed, as the pool.
std::recursive_mutex& compute_mutex(Device device) {
  static std::recursive_mutex* const mutexes = new std::recursive_mutex[kDeviceSlots];
  return mutexes[slot_of(device)];
}

ComputeScope::ComputeScope(Device device)
    : lock_(compute_mutex(device)),
      backend_(backend_of(device)),
      before_(backend_.select ? backend_.select(device.index) : -1),
      saved_mode_(flush_denormals()) {}

ComputeScope::~ComputeScope() {
  restore_mode(saved_mode_);
  if (before_ >= 0) backend_.leave(before_);
}

}  // namespace sffn
