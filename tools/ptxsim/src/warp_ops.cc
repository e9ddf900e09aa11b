// Exchange between the lanes of a warp.
#include "handlers.h"

namespace ptxsim {
namespace {

// The lane that `lane` reads from, and whether it lies within its segment.
struct Source {
  int lane;
  bool inside;
};

Source shuffle_source(Shuffle how, int lane, u32 b, u32 c) {
  const int clamp = static_cast<int>(c & 31), segment = static_cast<int>(c >> 8 & 31), by = static_cast<int>(b & 31);
  const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
  int from = 0;
  switch (how) {
    case Shuffle::up:
      from = lane - by;
      return {from, from >= last};
    case Shuffle::down:
      from = lane + by;
      break;
    case Shuffle::butterfly:
      from = lane ^ by;
      break;
    case Shuffle::index:
      from = first | (by & ~segment);
      break;
  }
  return {from, from <= last};
}

void shuffle(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  const u64* c = ex.source(w, in.operands[3]);
  Lanes result{};
  u32 inside = 0;
  each_lane(mask, [&](int lane) {
    Source s =
        shuffle_source(static_cast<Shuffle>(in.mode), lane, static_cast<u32>(b[lane]), static_cast<u32>(c[lane]));
    if (!s.inside) s.lane = lane;
    inside |= static_cast<u32>(s.inside) << lane;
    if (!(mask >> s.lane & 1))
      ex.report(
          &in, "shuffle-inactive",
          "lane " + std::to_string(lane) + " reads lane " + std::to_string(s.lane) + ", which does not take part");
    result[static_cast<size_t>(lane)] = static_cast<u32>(a[s.lane]);
  });
  u64* d = ex.destination(w, in.operands[0]);
  each_lane(mask, [&](int lane) { d[lane] = result[static_cast<size_t>(lane)]; });
  ex.set_predicate(w, in.operands[0].second, mask, inside);
}

void vote(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 votes = ex.predicate(w, in.operands[1]) & mask;
  switch (static_cast<Vote>(in.mode)) {
    case Vote::ballot: {
      u64* d = ex.destination(w, in.operands[0]);
      each_lane(mask, [=](int lane) { d[lane] = votes; });
      return;
    }
    case Vote::any:
      return ex.set_predicate(w, in.operands[0].index, mask, votes ? mask : 0);
    case Vote::all:
      return ex.set_predicate(w, in.operands[0].index, mask, votes == mask ? mask : 0);
    case Vote::uniform:
      return ex.set_predicate(w, in.operands[0].index, mask, votes == mask || votes == 0 ? mask : 0);
  }
}

void match(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 keep = in.type.bits == 64 ? ~u64{0} : 0xFFFFFFFF;
  const u64* a = ex.source(w, in.operands[1]);
  Lanes result{};
  each_lane(mask, [&](int lane) {
    u64 same = 0;
    each_lane(mask, [&](int other) { same |= u64{((a[other] ^ a[lane]) & keep) == 0} << other; });
    result[static_cast<size_t>(lane)] = same;
  });
  const bool all = result[static_cast<size_t>(std::countr_zero(mask))] == mask;
  u64* d = ex.destination(w, in.operands[0]);
  each_lane(mask, [&](int lane) { d[lane] = !in.has(kAll) ? result[static_cast<size_t>(lane)] : all ? mask : 0; });
  ex.set_predicate(w, in.operands[0].second, mask, all ? mask : 0);
}

void reduce(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const Combiner combine = find_combiner(in.type, static_cast<Reduction>(in.mode));
  const u64* a = ex.source(w, in.operands[1]);
  const int first = std::countr_zero(mask);
  u64 result = static_cast<u32>(a[first]);
  each_lane(mask & ~(1u << first), [&](int lane) { result = combine(result, a[lane], 0); });
  u64* d = ex.destination(w, in.operands[0]);
  each_lane(mask, [=](int lane) { d[lane] = result; });
}

void active_mask(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64* d = ex.destination(w, in.operands[0]);
  each_lane(mask, [=](int lane) { d[lane] = mask; });
}

void elect(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64* d = ex.destination(w, in.operands[0]);
  const int leader = std::countr_zero(mask);
  each_lane(mask, [=](int lane) { d[lane] = static_cast<u64>(leader); });
  ex.set_predicate(w, in.operands[0].second, mask, 1u << leader);
}

void warp_barrier(Executor&, Warp& w, const Instruction&, u32) { ++w.sync; }

}  // namespace

Handler warp_handler(const Instruction& in) {
  switch (in.op) {
    case Op::shfl:
      return shuffle;
    case Op::vote:
      return vote;
    case Op::match:
      return match;
    case Op::redux:
      return find_combiner(in.type, static_cast<Reduction>(in.mode)) ? reduce : nullptr;
    case Op::activemask:
      return active_mask;
    case Op::elect:
      return elect;
    case Op::bar_warp:
      return warp_barrier;
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
