// bar.sync, bar.arrive, bar.red: named barriers, and how they order memory accesses.
#include <algorithm>

#include "executor.h"

namespace ptxsim {

u32 Executor::threads_of(const Warp& w) const {
  return std::min<u32>(kLanes, threads - static_cast<u32>(w.id) * kLanes);
}

void Executor::join(std::vector<u32>& clock, const std::vector<u32>& other) const {
  clock.resize(warps.size());
  for (size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

void Executor::enter_barrier(Warp& w, size_t group, const Instruction& in, u32 active) {
  ++counters.barriers;
  const u32 size = threads_of(w), full = size == kLanes ? kAllLanes : (1u << size) - 1;
  if (active != full)
    report(&in, "divergent-barrier",
           "executed by lanes " + hex(active) + " of " + hex(full) + ", the others exited or are elsewhere");
  const int lane = std::countr_zero(active);
  size_t next = in.has(kReduce) ? 1 : 0;
  const int id = static_cast<int>(source(w, in.operands.at(next++))[lane]);
  const size_t left = in.operands.size() - next - (in.has(kReduce) ? 1 : 0);
  const u32 expected = left > 0 ? static_cast<u32>(source(w, in.operands[next++])[lane]) : 0;
  if (id < 0 || id > 15) fault(in, "barrier-id", "barrier " + std::to_string(id) + " of 0 to 15");
  if (expected % kLanes) report(&in, "barrier-count", "the number of threads is not a multiple of 32");
  if (in.has(kArrive)) {
    Arrivals& arrivals = arrivals_[id];
    arrivals.threads += size;
    arrivals.expected = expected;
    join(arrivals.clock, w.clock);
    ++w.clock[w.id];
    return advance(w, group);
  }
  w.barrier = &in;
  w.barrier_id = id;
  w.barrier_threads = expected;
  w.barrier_predicate = in.has(kReduce) ? predicate(w, in.operands.back()) & active : 0;
  if (group) std::swap(w.groups[0], w.groups[group]);
}

void Executor::release_barriers() {
  bool again = true;
  while (again) {
    again = false;
    for (int id = 0; id < 16 && !again; ++id) {
      u32 arrived = 0, expected = 0, live = 0;
      bool waiting = false;
      for (const Warp& w : warps) {
        if (!w.done) live += threads_of(w);
        if (!w.barrier || w.barrier_id != id) continue;
        waiting = true;
        arrived += threads_of(w);
        expected = std::max(expected, w.barrier_threads);
      }
      if (!waiting) continue;
      if (const auto found = arrivals_.find(id); found != arrivals_.end()) {
        arrived += found->second.threads;
        expected = std::max(expected, found->second.expected);
      }
      if (arrived >= (expected ? expected : live)) again = release(id, arrived);
    }
    progress_ |= again;
  }
}

bool Executor::release(int id, u32 arrived) {
  std::vector<u32> joined(warps.size(), 0);
  if (const auto found = arrivals_.find(id); found != arrivals_.end()) {
    join(joined, found->second.clock);
    arrivals_.erase(found);
  }
  u32 met = 0, count = 0;
  bool every = true;
  for (const Warp& w : warps) {
    if (!w.barrier || w.barrier_id != id) continue;
    join(joined, w.clock);
    met += threads_of(w);
    count += static_cast<u32>(std::popcount(w.barrier_predicate));
    every &= w.barrier_predicate == w.live;
  }
  u32 live = 0;
  for (const Warp& w : warps) live += w.done ? 0 : threads_of(w);
  if (met == live && met == arrived) shared->new_epoch();
  for (Warp& w : warps) {
    if (!w.barrier || w.barrier_id != id) continue;
    const Instruction& in = *w.barrier;
    w.barrier = nullptr;
    w.clock = joined;
    ++w.clock[w.id];
    ++w.sync;
    const u32 mask = w.groups[0].mask;
    if (in.has(kReduce)) {
      const auto how = static_cast<Reduction>(in.mode);
      if (how == Reduction::popc)
        each_lane(mask, [&](int lane) { destination(w, in.operands[0])[lane] = count; });
      else
        set_predicate(w, in.operands[0].index, mask, (how == Reduction::and_ ? every : count > 0) ? mask : 0);
    }
    advance(w, 0);
  }
  return true;
}

}  // namespace ptxsim
