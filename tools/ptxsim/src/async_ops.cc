// cp.async, cp.async.bulk and mbarriers. A cp.async arrives as late as it may: when its thread waits for it.
#include <algorithm>
#include <cstring>

#include "handlers.h"

namespace ptxsim {

Mbarrier& Executor::mbarrier(const Instruction& in, u64 address) {
  const auto found = mbarriers.find(static_cast<u32>(address));
  if (found == mbarriers.end())
    fault(in, "mbarrier", "the mbarrier at " + hex(static_cast<u32>(address)) + " is not initialised");
  return found->second;
}

void Executor::complete(Warp& w, const AsyncCopy& copy) {
  u8* to = shared->data(copy.to);
  std::memset(to, 0, copy.bytes);
  if (copy.source_bytes) memory.download(to, copy.from, copy.source_bytes);
  shared->clear_pending(copy.to, copy.bytes);
  shared->set_written(copy.to, copy.bytes, true);
  shared->write({&w.clock, w.sync, proxy_fences[w.id], static_cast<u8>(w.id), copy.lane}, copy.to, copy.bytes);
}

namespace {

// cp.async [to], [from], bytes {, source bytes}: bytes beyond the source bytes become zero.
void copy_async(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 to[kLanes], from[kLanes];
  ex.addresses(w, in.operands[0], mask, to);
  ex.addresses(w, in.operands[1], mask, from);
  const u32 bytes = static_cast<u32>(in.operands.at(2).value);
  const bool ignores = in.operands.size() > 3 && in.operands[3].kind == OperandKind::predicate;
  const u32 ignored = ignores ? ex.predicate(w, in.operands[3]) : 0;
  const u64* sizes = in.operands.size() > 3 && !ignores ? ex.source(w, in.operands[3]) : nullptr;
  u32 reading = 0;
  each_lane(mask, [&](int lane) {
    const u32 address = static_cast<u32>(to[lane]);
    u32 size = ignored >> lane & 1 ? 0 : bytes;
    if (sizes && static_cast<u32>(sizes[lane]) > bytes)
      ex.report(&in, "cp.async-size",
                "a source of " + std::to_string(static_cast<u32>(sizes[lane])) + " bytes for a copy of " +
                    std::to_string(bytes));
    if (sizes) size = std::min(static_cast<u32>(sizes[lane]), bytes);
    if (size) {
      reading |= 1u << lane;
      if (from[lane] % bytes)
        ex.fault(in, "misaligned", "cp.async of " + std::to_string(bytes) + " bytes from " + hex(from[lane]));
      if (std::has_single_bit(size))
        ex.global(in, from[lane], {size, true, false, false}, lane);
      else
        for (u32 i = 0; i < size; ++i) ex.global(in, from[lane] + i, {1, true, false, false}, lane);
    }
    ex.shared_write(w, in, address, bytes, lane);
    ex.shared->set_written(address, bytes, false);
    ex.shared->set_pending(address, bytes, w.id);
    w.uncommitted.push_back({static_cast<u8>(lane), address, from[lane], bytes, size});
  });
  Counters& c = ex.counters;
  each_lane(mask, [&](int lane) { to[lane] &= 0xFFFFFFFF; });
  c.shared_wavefronts += count_wavefronts(mask, to, bytes, c.ideal_shared_wavefronts);
  if (!reading) return;
  c.global_load_sectors += count_sectors(reading, from, bytes);
  c.ideal_load_sectors += (static_cast<u32>(std::popcount(reading)) * bytes + 31) / 32;
}

void commit(Executor&, Warp& w, const Instruction&, u32 mask) {
  AsyncGroup group;
  group.lanes = mask;
  const auto mine = [&](const AsyncCopy& copy) { return (mask >> copy.lane & 1) != 0; };
  std::copy_if(w.uncommitted.begin(), w.uncommitted.end(), std::back_inserter(group.copies), mine);
  std::erase_if(w.uncommitted, mine);
  w.async_groups.push_back(std::move(group));
}

// wait_group n: all but the latest n groups of each lane; wait_all: those and what was never committed.
void wait(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  if (in.count < 0) commit(ex, w, in, mask);
  const u32 kept = in.count < 0 ? 0 : static_cast<u32>(in.count);
  u32 newer[kLanes] = {};
  for (auto group = w.async_groups.rbegin(); group != w.async_groups.rend(); ++group) {
    u32 done = 0;
    each_lane(group->lanes & mask, [&](int lane) { done |= static_cast<u32>(newer[lane]++ >= kept) << lane; });
    if (!done) continue;
    const auto finished = [&](const AsyncCopy& copy) { return (done >> copy.lane & 1) != 0; };
    for (const AsyncCopy& copy : group->copies)
      if (finished(copy)) ex.complete(w, copy);
    std::erase_if(group->copies, finished);
    group->lanes &= ~done;
  }
  std::erase_if(w.async_groups, [](const AsyncGroup& group) { return group.lanes == 0; });
}

void finish_phase(Mbarrier& barrier) {
  if (barrier.arrived < barrier.expected || barrier.pending_bytes != 0) return;
  ++barrier.phase;
  barrier.arrived = 0;
}

void mbarrier_init(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 at[kLanes];
  ex.addresses(w, in.operands[0], mask, at);
  const u64* count = ex.source(w, in.operands[1]);
  each_lane(mask, [&](int lane) {
    Mbarrier barrier;
    barrier.expected = static_cast<u32>(count[lane]);
    ex.check_shared(in, static_cast<u32>(at[lane]), 8, "mbarrier");
    ex.mbarriers[static_cast<u32>(at[lane])] = barrier;
  });
}

void mbarrier_arrive(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const Operand& place = in.operands[0].kind == OperandKind::memory ? in.operands[0] : in.operands.at(1);
  const bool expects = in.op == Op::mbarrier_expect;
  u64 at[kLanes];
  ex.addresses(w, place, mask, at);
  const u64* bytes = expects ? ex.source(w, in.operands.back()) : nullptr;
  each_lane(mask, [&](int lane) {
    Mbarrier& barrier = ex.mbarrier(in, at[lane]);
    if (bytes) barrier.pending_bytes += static_cast<u32>(bytes[lane]);
    ++barrier.arrived;
    ex.join(barrier.clock, w.clock);
    finish_phase(barrier);
  });
  ++w.clock[w.id];
}

void mbarrier_invalidate(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 at[kLanes];
  ex.addresses(w, in.operands[0], mask, at);
  each_lane(mask, [&](int lane) { ex.mbarriers.erase(static_cast<u32>(at[lane])); });
}

// cp.async.bulk [to], [from], bytes, [mbarrier]: a contiguous copy that the mbarrier waits for.
void copy_bulk(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 to[kLanes], from[kLanes], barriers[kLanes];
  ex.addresses(w, in.operands[0], mask, to);
  ex.addresses(w, in.operands[1], mask, from);
  ex.addresses(w, in.operands.at(3), mask, barriers);
  const u64* sizes = ex.source(w, in.operands.at(2));
  each_lane(mask, [&](int lane) {
    const u32 bytes = static_cast<u32>(sizes[lane]), address = static_cast<u32>(to[lane]);
    if (bytes % 16 || address % 16 || from[lane] % 16)
      ex.fault(in, "misaligned", "cp.async.bulk needs sizes and addresses that are multiples of 16");
    for (u32 i = 0; i < bytes; i += 16) {
      const u8* source = ex.global(in, from[lane] + i, {16, true, false, false}, lane);
      std::memcpy(ex.shared_write(w, in, address + i, 16, lane), source, 16);
    }
    Mbarrier& barrier = ex.mbarrier(in, barriers[lane]);
    barrier.pending_bytes -= bytes;
    ex.join(barrier.clock, w.clock);
    finish_phase(barrier);
    ex.counters.global_load_sectors += bytes / 32;
    ex.counters.ideal_load_sectors += bytes / 32;
  });
}

void fence_proxy(Executor& ex, Warp& w, const Instruction&, u32) { ++ex.proxy_fences[w.id]; }

}  // namespace

Handler async_handler(const Instruction& in) {
  switch (in.op) {
    case Op::cp_async:
      return copy_async;
    case Op::cp_async_commit:
      return commit;
    case Op::cp_async_wait:
      return wait;
    case Op::cp_bulk:
      return in.operands.size() == 4 && in.operands[3].kind == OperandKind::memory ? copy_bulk : nullptr;
    case Op::mbarrier_init:
      return mbarrier_init;
    case Op::mbarrier_arrive:
    case Op::mbarrier_expect:
      return mbarrier_arrive;
    case Op::mbarrier_inval:
      return mbarrier_invalidate;
    case Op::fence_proxy:
      return fence_proxy;
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
