// atom, red: read-modify-write of global and shared memory, lane after lane.
#include <algorithm>
#include <cstring>

#include "handlers.h"

namespace ptxsim {
namespace {

template <class T>
Combiner integer_combiner(Reduction how) {
  switch (how) {
    case Reduction::add:
      return [](u64 old, u64 x, u64) { return put<u64>((old + x) & put<T>(static_cast<T>(~u64{0}))); };
    case Reduction::min:
      return [](u64 old, u64 x, u64) { return put<T>(std::min(get<T>(old), get<T>(x))); };
    case Reduction::max:
      return [](u64 old, u64 x, u64) { return put<T>(std::max(get<T>(old), get<T>(x))); };
    case Reduction::and_:
      return [](u64 old, u64 x, u64) { return put<T>(get<T>(old & x)); };
    case Reduction::or_:
      return [](u64 old, u64 x, u64) { return put<T>(get<T>(old | x)); };
    case Reduction::xor_:
      return [](u64 old, u64 x, u64) { return put<T>(get<T>(old ^ x)); };
    case Reduction::exchange:
      return [](u64, u64 x, u64) { return put<T>(get<T>(x)); };
    case Reduction::compare:
      return [](u64 old, u64 x, u64 replacement) {
        return put<T>(get<T>(old) == get<T>(x) ? get<T>(replacement) : get<T>(old));
      };
    case Reduction::increment:
      return [](u64 old, u64 x, u64) { return put<T>(get<T>(old) >= get<T>(x) ? T{0} : static_cast<T>(old + 1)); };
    case Reduction::decrement:
      return [](u64 old, u64 x, u64) {
        return put<T>(get<T>(old) == 0 || get<T>(old) > get<T>(x) ? get<T>(x) : static_cast<T>(old - 1));
      };
    default:
      return nullptr;
  }
}

template <class T>
u64 add_float(u64 old, u64 x, u64) {
  return narrow<T>(widen(get<T>(old)) + widen(get<T>(x)));
}

template <class T>
u64 add_pair(u64 old, u64 x, u64) {
  return add_float<T>(old, x, 0) | add_float<T>(old >> 16, x >> 16, 0) << 16;
}

void atomic(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const bool returns = in.op == Op::atom;
  const size_t first = returns ? 1 : 0;
  const u32 bytes = static_cast<u32>(in.type.bytes());
  const Combiner combine = find_combiner(in.type, static_cast<Reduction>(in.mode));
  u64 at[kLanes];
  ex.addresses(w, in.operands[first], mask, at);
  const Space space = resolve_space(ex, in, mask, at);
  const u64* x = ex.source(w, in.operands[first + 1]);
  const u64* replacement = in.operands.size() > first + 2 ? ex.source(w, in.operands[first + 2]) : x;
  Lanes result{};
  each_lane(mask, [&](int lane) {
    u8* memory = nullptr;
    if (space == Space::shared) {
      // Atomics do not race with each other. Barriers order them with plain accesses.
      const u32 address = static_cast<u32>(at[lane]);
      ex.check_shared(in, address, bytes, "atomic access");
      ex.check_pending(in, address, bytes, true);
      if (ex.shared->first_unwritten(address, bytes) >= 0)
        ex.report(&in, "shared-uninitialised", "an atomic on shared " + hex(address) + " that nothing wrote yet");
      memory = ex.shared->data(address);
    } else if (space == Space::global) {
      memory = ex.global(in, at[lane], {bytes, true, true, true}, lane);
    } else {
      ex.fault(in, "address-space", "an atomic outside global and shared memory");
    }
    u64 old = 0;
    std::memcpy(&old, memory, bytes);
    const u64 value = combine(old, x[lane], replacement[lane]);
    std::memcpy(memory, &value, bytes);
    result[static_cast<size_t>(lane)] = old;
  });
  if (!returns) return;
  u64* d = ex.destination(w, in.operands[0]);
  each_lane(mask, [&](int lane) { d[lane] = result[static_cast<size_t>(lane)]; });
}

}  // namespace

Combiner find_combiner(Type type, Reduction how) {
  if (type.is_float()) {
    if (how != Reduction::add) return nullptr;
    if (type.kind == Kind::bf16x2) return add_pair<Bf16>;
    if (type.kind == Kind::f16x2) return add_pair<Half>;
    if (type.kind == Kind::bf16) return add_float<Bf16>;
    return type.bits == 16 ? add_float<Half> : type.bits == 32 ? add_float<float> : add_float<double>;
  }
  if (type.bits == 16) return integer_combiner<u16>(how);
  if (type.bits == 32) return type.is_signed() ? integer_combiner<int32_t>(how) : integer_combiner<u32>(how);
  if (type.bits == 64) return type.is_signed() ? integer_combiner<i64>(how) : integer_combiner<u64>(how);
  return nullptr;
}

Handler atomic_handler(const Instruction& in) {
  if (in.op != Op::atom && in.op != Op::red) return nullptr;
  return in.vector == 1 && find_combiner(in.type, static_cast<Reduction>(in.mode)) ? atomic : nullptr;
}

}  // namespace ptxsim
