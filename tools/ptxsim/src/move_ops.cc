// mov, cvta, isspacep: values and addresses from place to place.
#include <algorithm>

#include "handlers.h"

namespace ptxsim {
namespace {

u64 low_bits(u32 bits) { return bits >= 64 ? ~u64{0} : (u64{1} << bits) - 1; }

void move_predicate(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  ex.set_predicate(w, in.operands[0].index, mask, ex.predicate(w, in.operands[1]));
}

void move(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 keep = low_bits(in.type.bits);
  map1(ex, w, in, mask, [=](u64 a) { return a & keep; });
}

// mov.b32 {a, b}, c: the low part first.
void unpack(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const std::vector<Operand>& parts = in.operands[0].items;
  const u32 bits = in.type.bits / static_cast<u32>(parts.size());
  const u64* from = ex.source(w, in.operands[1]);
  Lanes value;
  std::copy_n(from, kLanes, value.begin());
  for (u32 i = 0; i < parts.size(); ++i) {
    u64* d = ex.destination(w, parts[i]);
    each_lane(mask, [&](int lane) { d[lane] = value[static_cast<size_t>(lane)] >> (bits * i) & low_bits(bits); });
  }
}

void pack(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const std::vector<Operand>& parts = in.operands[1].items;
  const u32 bits = in.type.bits / static_cast<u32>(parts.size());
  Lanes value{};
  for (u32 i = 0; i < parts.size(); ++i) {
    const u64* a = ex.source(w, parts[i]);
    for (size_t lane = 0; lane < kLanes; ++lane) value[lane] |= (a[lane] & low_bits(bits)) << (bits * i);
  }
  u64* d = ex.destination(w, in.operands[0]);
  each_lane(mask, [&](int lane) { d[lane] = value[static_cast<size_t>(lane)]; });
}

u64 window(Space space) {
  switch (space) {
    case Space::shared:
      return kSharedWindow;
    case Space::local:
      return kLocalWindow;
    case Space::param:
      return kParamWindow;
    default:
      return 0;
  }
}

void to_generic(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 base = window(in.space);
  map1(ex, w, in, mask, [=](u64 a) { return a + base; });
}

void from_generic(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 base = window(in.space);
  const u64* a = ex.source(w, in.operands[1]);
  each_lane(mask, [&](int lane) {
    if (base && a[lane] - base >= kWindowBytes)
      ex.report(&in, "address-space",
                "the generic address " + hex(a[lane]) + " is not in the space it is converted to");
  });
  map1(ex, w, in, mask, [=](u64 x) { return x - base; });
}

void is_in_space(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 base = window(in.space);
  const u64* a = ex.source(w, in.operands[1]);
  u32 result = 0;
  each_lane(mask, [&](int lane) {
    const bool inside = base ? a[lane] - base < kWindowBytes : a[lane] >= DeviceMemory::kBase;
    result |= static_cast<u32>(inside) << lane;
  });
  ex.set_predicate(w, in.operands[0].index, mask, result);
}

}  // namespace

Handler move_handler(const Instruction& in) {
  switch (in.op) {
    case Op::mov:
      if (in.operands.at(0).kind == OperandKind::predicate) return move_predicate;
      if (in.operands[0].kind == OperandKind::vector) return unpack;
      return in.operands.at(1).kind == OperandKind::vector ? pack : move;
    case Op::cvta:
      return in.has(kTo) ? from_generic : to_generic;
    case Op::isspacep:
      return is_in_space;
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
