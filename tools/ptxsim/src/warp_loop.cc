// The loop over a warp's instructions: guards, divergence and reconvergence, calls.
#include <algorithm>

#include "builtins.h"
#include "executor.h"

namespace ptxsim {
namespace {

constexpr u64 kMostSpins = 200000;  // of waiting on an mbarrier while nothing else happens

}  // namespace

void Executor::add_group(Warp& w, int pc, u32 mask) {
  if (!mask) return;
  auto at = std::find_if(w.groups.begin(), w.groups.end(), [&](const LaneGroup& g) { return g.pc >= pc; });
  if (at != w.groups.end() && at->pc == pc)
    at->mask |= mask;
  else
    w.groups.insert(at, {pc, mask});
}

// The group goes to its next instruction, where it may meet another one.
void Executor::advance(Warp& w, size_t group) {
  if (w.groups.size() == 1) {
    ++w.groups[0].pc;
    return;
  }
  const LaneGroup moved = w.groups[group];
  w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(group));
  add_group(w, moved.pc + 1, moved.mask);
}

void Executor::run_warp(Warp& w, u64 budget) {
  size_t group = 0;
  for (; budget > 0; --budget) {
    if (w.groups.empty()) {
      w.done = true;
      progress_ = true;
      return;
    }
    if (group >= w.groups.size()) return;
    const auto [pc, mask] = w.groups[group];
    const Instruction& in = program.code[pc];
    u32 active = mask;
    if (in.guard >= 0) active &= in.guard_negated ? ~w.predicates[in.guard] : w.predicates[in.guard];
    if (in.has(kConverged) && active && !can_run(w, group, in, active)) {
      ++group;
      continue;
    }
    progress_ = true;
    ++program.executions[pc];
    counters.lane_instructions += static_cast<u64>(std::popcount(active));
    if (++counters.warp_instructions > options_.max_instructions) {
      report(&in, "endless", "the launch's budget of instructions is spent");
      throw Fault("endless loop");
    }
    if (in.has(kControl)) {
      if (!step_control(w, group, in, active)) return;
    } else {
      if (active) {
        if (w.wgmma.in_flight()) check_accumulators(w, in);
        in.handler(*this, w, in, active);
      }
      advance(w, group);
    }
    group = 0;
  }
}

// Whether the lanes that the instruction needs are together; if they never can be, a finding.
bool Executor::can_run(Warp& w, size_t group, const Instruction& in, u32 active) {
  const u32 mask = w.groups[group].mask;
  u32 need = w.live;
  if (in.member >= 0) {
    need = static_cast<u32>(source(w, in.operands[in.member])[std::countr_zero(active)]);
    if (need & ~w.live) {
      report(&in, "sync-mask", "the member mask " + hex(need) + " names lanes that exited or never were");
      need &= w.live;
    }
    need &= ~(mask & ~active);
    if (active & ~need)
      report(&in, "sync-mask", "executed by lanes " + hex(active & ~need) + " outside the member mask");
  } else if (active != mask) {
    report(&in, "divergent-aligned", "the guard of an instruction for the whole warp differs between lanes");
  }
  if (!(need & ~mask)) return true;
  if (w.groups.size() > group + 1) return false;
  report(&in, in.op == Op::bar ? "divergent-barrier" : "divergent-sync",
         "reached by lanes " + hex(mask) + ", needs " + hex(need));
  if (in.op == Op::bar) throw Fault("a barrier in divergent code");
  return true;
}

bool Executor::step_control(Warp& w, size_t group, const Instruction& in, u32 active) {
  if (!active) {
    advance(w, group);
    return true;
  }
  switch (in.op) {
    case Op::bra:
    case Op::brx:
      branch(w, group, in, active);
      return true;
    case Op::call:
      call(w, group, in, active);
      return true;
    case Op::ret:
      return_lanes(w, group, active);
      return true;
    case Op::exit:
      exit_lanes(w, group, active);
      return true;
    case Op::mbarrier_wait:
      return wait_mbarrier(w, group, in, active);
    default:
      break;
  }
  enter_barrier(w, group, in, active);
  return w.barrier == nullptr;
}

void Executor::branch(Warp& w, size_t group, const Instruction& in, u32 active) {
  const auto [pc, mask] = w.groups[group];
  ++counters.branches;
  if (active != mask) ++counters.divergent_branches;
  if (active == mask && in.op == Op::bra && w.groups.size() == 1) {
    w.groups[0].pc = in.target;
    return;
  }
  w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(group));
  add_group(w, pc + 1, mask & ~active);
  if (in.op == Op::bra) return add_group(w, in.target, active);
  const u64* index = source(w, in.operands[0]);
  for (u32 left = active; left; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const u32 choice = static_cast<u32>(index[lane]);
    if (choice >= in.targets.size()) fault(in, "branch-index", "index " + std::to_string(choice) + " has no target");
    add_group(w, in.targets[choice], 1u << lane);
  }
}

namespace {

void copy_frame(Warp& w, const std::vector<FrameCopy>& copies, u32 frame_bytes, u32 lanes) {
  for (; lanes; lanes &= lanes - 1) {
    u8* frame = &w.frame[static_cast<size_t>(std::countr_zero(lanes)) * frame_bytes];
    for (const FrameCopy& copy : copies) std::copy_n(frame + copy.from, copy.size, frame + copy.to);
  }
}

}  // namespace

void Executor::call(Warp& w, size_t group, const Instruction& in, u32 active) {
  const auto [pc, mask] = w.groups[group];
  const CallSite& site = program.calls[in.count];
  if (in.target < 0) {
    call_builtin(*this, w, in, site, active);
    return advance(w, group);
  }
  copy_frame(w, site.parameters, program.frame_bytes, active);
  each_lane(active, [&](int lane) { w.returns[lane].push_back(pc); });
  w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(group));
  add_group(w, pc + 1, mask & ~active);
  add_group(w, in.target, active);
}

void Executor::return_lanes(Warp& w, size_t group, u32 active) {
  const auto [pc, mask] = w.groups[group];
  u32 left = active, exiting = 0;
  w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(group));
  add_group(w, pc + 1, mask & ~active);
  for (; left; left &= left - 1) {
    const int lane = std::countr_zero(left);
    if (w.returns.empty() || w.returns[lane].empty()) {
      exiting |= 1u << lane;
      continue;
    }
    const int caller = w.returns[lane].back();
    w.returns[lane].pop_back();
    copy_frame(w, program.calls[program.code[caller].count].results, program.frame_bytes, 1u << lane);
    add_group(w, caller + 1, 1u << lane);
  }
  w.live &= ~exiting;
}

void Executor::exit_lanes(Warp& w, size_t group, u32 active) {
  const auto [pc, mask] = w.groups[group];
  w.live &= ~active;
  w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(group));
  add_group(w, pc + 1, mask & ~active);
}

// mbarrier.try_wait, test_wait: a warp that must go on waiting lets the others run.
bool Executor::wait_mbarrier(Warp& w, size_t group, const Instruction& in, u32 active) {
  u64 at[kLanes];
  addresses(w, in.operands[1], active, at);
  const u64* parity = source(w, in.operands[2]);
  u32 passed = 0;
  for (u32 left = active; left; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const Mbarrier& barrier = mbarrier(in, at[lane]);
    if ((barrier.phase & 1) == (parity[lane] & 1)) continue;
    passed |= 1u << lane;
    join(w.clock, barrier.clock);
  }
  set_predicate(w, in.operands[0].index, active, passed);
  advance(w, group);
  if (passed == active) {
    spins_ = 0;
    return true;
  }
  if (++spins_ > kMostSpins) fault(in, "deadlock", "an mbarrier is waited for that never completes");
  return false;
}

void Executor::check_accumulators(Warp& w, const Instruction& in) {
  if (in.op == Op::wgmma) return;
  const auto pending = [&](int index) {
    const auto in_group = [&](const WgmmaGroup& group) {
      return std::find(group.accumulators.begin(), group.accumulators.end(), index) != group.accumulators.end();
    };
    return in_group(w.wgmma.open) || std::any_of(w.wgmma.groups.begin(), w.wgmma.groups.end(), in_group);
  };
  const auto check = [&](const Operand& o) {
    const int index = o.kind == OperandKind::reg ? o.index : o.kind == OperandKind::memory ? o.base : -1;
    if (index >= 0 && pending(index))
      report(&in, "wgmma-unwaited", "uses an accumulator of a wgmma that has not been waited for");
  };
  for (const Operand& o : in.operands) {
    check(o);
    for (const Operand& item : o.items) check(item);
  }
}

}  // namespace ptxsim
