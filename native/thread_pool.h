// The process's one pool of compute threads. The caller takes part; jobs are run one at a time.
#pragma once

#include <cstdint>
#include <mutex>
#include <type_traits>

#include "tensor.h"

namespace sffn {

struct Backend;

// What STRUCTURED_FFN_NUM_THREADS asks for, 0 without it; throws Error if it is no number from 1 to 1024.
int threads_setting();
int num_threads();
// 1 .. 1024; throws Error otherwise. Takes effect with the next job. More than available_processors() are slow: they
// wait for each other's cores. So TypeScript asks for no more; tests do, to have threads meet in other orders.
void set_num_threads(int count);
// Physical cores that this process may use (affinity and control-group quota counted).
int available_cores();
// The same with each hyper-thread counted: the most threads that never wait for a core.
int available_processors();
// Whether nobody in this process was warned yet that fewer threads are used than asked for; from then on somebody was.
bool first_thread_warning();

namespace detail {
void run_tasks(int64_t count, void (*body)(void*, int64_t), void* context);
}

// Runs body(task) for task = 0 .. count-1 on all threads, in no fixed order, and returns when all are done. Rethrows
// the first exception of a task. Which thread runs a task must not change its result: that keeps runs bit-identical.
template <class Body>
void parallel_for(int64_t count, Body&& body) {
  using B = std::remove_reference_t<Body>;
  detail::run_tasks(
      count, [](void* context, int64_t task) { (*static_cast<B*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// Held by every thread that computes on a device, and on a GPU by every thread that uses its stream or its memory: a
// recording must hold no work of another thread. The same thread may take it again, as kernels that allocate do.
std::recursive_mutex& compute_mutex(Device device);

// Held while kernels run: one computation at a time on a device, by JavaScript threads and the asynchronous queue
// alike. The device is the thread's own meanwhile (Backend::select). Denormals, which are up to 148 times slower, are
// flushed to zero, and the caller's floating-point mode is restored afterwards.
class ComputeScope {
 public:
  explicit ComputeScope(Device device);
  ~ComputeScope();
  ComputeScope(const ComputeScope&) = delete;
  ComputeScope& operator=(const ComputeScope&) = delete;

 private:
  const std::lock_guard<std::recursive_mutex> lock_;
  const Backend& backend_;
  const int before_;
  uint64_t saved_mode_;
};

}  // namespace sffn
