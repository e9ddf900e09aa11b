// ld and st in every space, scalar and vector.
#include <cstring>

#include "handlers.h"

namespace ptxsim {

Space resolve_space(Executor& ex, const Instruction& in, u32 mask, u64* at) {
  if (in.space != Space::generic) {
    if (in.space == Space::shared) each_lane(mask, [&](int lane) { at[lane] &= 0xFFFFFFFF; });
    return in.space;
  }
  const auto space_of = [](u64 address) {
    if (address - kSharedWindow < kWindowBytes) return Space::shared;
    if (address - kLocalWindow < kWindowBytes) return Space::local;
    if (address - kParamWindow < kWindowBytes) return Space::param;
    return Space::global;
  };
  const Space space = space_of(at[std::countr_zero(mask)]);
  for (u32 left = mask; left; left &= left - 1)
    if (space_of(at[std::countr_zero(left)]) != space)
      ex.fault(in, "address-space", "the lanes' generic addresses are in different spaces");
  const u64 base = space == Space::shared  ? kSharedWindow
                   : space == Space::local ? kLocalWindow
                   : space == Space::param ? kParamWindow
                                           : 0;
  each_lane(mask, [&](int lane) { at[lane] -= base; });
  return space;
}

namespace {

void count(Executor& ex, Space space, bool loads, u32 mask, const u64* at, u32 bytes) {
  Counters& c = ex.counters;
  if (space == Space::shared) {
    c.shared_wavefronts += count_wavefronts(mask, at, bytes, c.ideal_shared_wavefronts);
  } else if (space == Space::global) {
    const u32 ideal = (static_cast<u32>(std::popcount(mask)) * bytes + 31) / 32;
    (loads ? c.global_load_sectors : c.global_store_sectors) += count_sectors(mask, at, bytes);
    (loads ? c.ideal_load_sectors : c.ideal_store_sectors) += ideal;
  }
}

u8* per_lane(Executor& ex, const Instruction& in, std::vector<u8>& memory, u32 size, u64 at, u32 bytes, int lane) {
  if (at + bytes > size)
    ex.fault(in, "local-out-of-bounds", "byte " + std::to_string(at) + " of " + std::to_string(size));
  if (at % bytes && bytes <= 16)
    ex.fault(in, "misaligned", "local " + hex(at) + " for " + std::to_string(bytes) + " bytes");
  return &memory[static_cast<size_t>(lane) * size + at];
}

// The bytes that one lane's access touches.
u8* locate(Executor& ex, Warp& w, const Instruction& in, Space space, bool loads, u64 at, u32 bytes, int lane) {
  switch (space) {
    case Space::shared:
      return loads ? ex.shared_read(w, in, static_cast<u32>(at), bytes, lane)
                   : ex.shared_write(w, in, static_cast<u32>(at), bytes, lane);
    case Space::local:
      return per_lane(ex, in, w.local, ex.program.local_bytes, at, bytes, lane);
    case Space::frame:
      return per_lane(ex, in, w.frame, ex.program.frame_bytes, at, bytes, lane);
    case Space::param:
      if (!loads || at + bytes > ex.parameters.size())
        ex.fault(in, "parameter-out-of-bounds", "byte " + std::to_string(at));
      return &ex.parameters[at];
    default:
      return ex.global(in, at, {bytes, loads, !loads, in.has(kSynchronises)}, lane);
  }
}

const Operand& element(const Operand& value, u32 i) {
  return value.kind == OperandKind::vector ? value.items[i] : value;
}

// T is signed where the type is: a wider register is filled with the sign.
template <class T>
void load(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 at[kLanes];
  ex.addresses(w, in.operands[1], mask, at);
  const Space space = resolve_space(ex, in, mask, at);
  const u32 vector = in.vector, bytes = vector * sizeof(T);
  count(ex, space, true, mask, at, bytes);
  u64* d[8];
  for (u32 i = 0; i < vector; ++i) d[i] = ex.destination(w, element(in.operands[0], i));
  each_lane(mask, [&](int lane) {
    const u8* from = locate(ex, w, in, space, true, at[lane], bytes, lane);
    for (u32 i = 0; i < vector; ++i) {
      T value;
      std::memcpy(&value, from + i * sizeof(T), sizeof(T));
      d[i][lane] = static_cast<u64>(static_cast<i64>(value));
    }
  });
}

template <class T>
void store(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 at[kLanes];
  ex.addresses(w, in.operands[0], mask, at);
  const Space space = resolve_space(ex, in, mask, at);
  const u32 vector = in.vector, bytes = vector * sizeof(T);
  count(ex, space, false, mask, at, bytes);
  const u64* s[8];
  for (u32 i = 0; i < vector; ++i) s[i] = ex.source(w, element(in.operands[1], i));
  each_lane(mask, [&](int lane) {
    u8* to = locate(ex, w, in, space, false, at[lane], bytes, lane);
    for (u32 i = 0; i < vector; ++i) {
      const T value = static_cast<T>(s[i][lane]);
      std::memcpy(to + i * sizeof(T), &value, sizeof(T));
    }
  });
}

}  // namespace

Handler memory_handler(const Instruction& in) {
  if (in.op == Op::ld) return by_integer(in.type, []<class T>() -> Handler { return load<T>; });
  if (in.op == Op::st) return by_integer(in.type, []<class T>() -> Handler { return store<T>; });
  return nullptr;
}

}  // namespace ptxsim
