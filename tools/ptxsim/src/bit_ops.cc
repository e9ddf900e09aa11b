// Logic, shifts, fields and counts of bits.
#include <algorithm>

#include "handlers.h"

namespace ptxsim {
namespace {

struct And {
  static u64 of(u64 a, u64 b) { return a & b; }
};
struct Or {
  static u64 of(u64 a, u64 b) { return a | b; }
};
struct Xor {
  static u64 of(u64 a, u64 b) { return a ^ b; }
};

u64 low_bits(int bits) { return bits >= 64 ? ~u64{0} : (u64{1} << bits) - 1; }

template <class F>
void logic(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 keep = low_bits(in.type.bits);
  map2(ex, w, in, mask, [=](u64 a, u64 b) { return F::of(a, b) & keep; });
}

template <class F>
void predicate_logic(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 value = F::of(ex.predicate(w, in.operands[1]), ex.predicate(w, in.operands[2]));
  ex.set_predicate(w, in.operands[0].index, mask, static_cast<u32>(value));
}

void not_predicate(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  ex.set_predicate(w, in.operands[0].index, mask, ~ex.predicate(w, in.operands[1]));
}

void not_bits(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 keep = low_bits(in.type.bits);
  map1(ex, w, in, mask, [=](u64 a) { return ~a & keep; });
}

void logical_not(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 keep = low_bits(in.type.bits);
  map1(ex, w, in, mask, [=](u64 a) { return u64{(a & keep) == 0}; });
}

// Shift amounts are unsigned 32-bit numbers; one of the width or more shifts everything out.
void shift_left(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 bits = in.type.bits;
  const u64 keep = low_bits(in.type.bits);
  map2(ex, w, in, mask, [=](u64 a, u64 b) {
    const u32 by = static_cast<u32>(b);
    return by >= bits ? 0 : (a << by) & keep;
  });
}

template <class T>
void shift_right(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  constexpr u32 kBits = 8 * sizeof(T);
  map2(ex, w, in, mask, [](u64 a, u64 b) {
    const u32 by = static_cast<u32>(b);
    const T x = get<T>(a);
    if (by >= kBits) return put<T>(std::is_signed_v<T> && x < 0 ? static_cast<T>(-1) : T{0});
    return put<T>(static_cast<T>(x >> by));
  });
}

// shf: 64 bits of b:a shifted, of which a left shift keeps the upper half.
void funnel_shift(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const bool wrap = in.has(kWrap), left = in.has(kLeft);
  map3(ex, w, in, mask, [=](u64 a, u64 b, u64 c) -> u64 {
    const u32 by = wrap ? static_cast<u32>(c) & 31 : std::min(static_cast<u32>(c), 32u);
    const u64 pair = static_cast<u64>(static_cast<u32>(b)) << 32 | static_cast<u32>(a);
    return left ? static_cast<u32>((pair << by) >> 32) : static_cast<u32>(pair >> by);
  });
}

template <class T>
void extract_field(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  constexpr int kBits = 8 * sizeof(T);
  map3(ex, w, in, mask, [](u64 a, u64 b, u64 c) {
    const int position = static_cast<int>(b & 255), length = static_cast<int>(c & 255);
    const u64 value = a & low_bits(kBits);
    u64 field = position >= kBits ? 0 : (value >> position) & low_bits(length);
    if (std::is_signed_v<T> && length > 0) {
      // The sign is the field's highest bit, or the value's if the field reaches beyond it.
      const bool negative = value >> std::min(position + length - 1, kBits - 1) & 1;
      const int kept = std::max(std::min(length, kBits - position), 0);
      if (negative) field |= ~low_bits(kept);
    }
    return put<T>(static_cast<T>(field));
  });
}

void insert_field(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const int bits = in.type.bits;
  u64* d = ex.destination(w, in.operands[0]);
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  const u64* c = ex.source(w, in.operands[3]);
  const u64* e = ex.source(w, in.operands[4]);
  each_lane(mask, [=](int lane) {
    const int position = static_cast<int>(c[lane] & 255), length = static_cast<int>(e[lane] & 255);
    const u64 field = position >= bits ? 0 : low_bits(length) << position;
    const u64 inserted = position >= bits ? 0 : a[lane] << position;
    d[lane] = ((b[lane] & ~field) | (inserted & field)) & low_bits(bits);
  });
}

template <class T>
void find_highest(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const bool amount = in.has(kShift);
  map1(ex, w, in, mask, [=](u64 a) -> u64 {
    using U = std::make_unsigned_t<T>;
    T x = get<T>(a);
    if (std::is_signed_v<T> && x < 0) x = static_cast<T>(~x);
    if (x == 0) return 0xFFFFFFFF;
    const int zeros = std::countl_zero(static_cast<U>(x));
    return static_cast<u64>(amount ? zeros : static_cast<int>(8 * sizeof(T)) - 1 - zeros);
  });
}

void count_ones(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64 keep = low_bits(in.type.bits);
  map1(ex, w, in, mask, [=](u64 a) { return static_cast<u64>(std::popcount(a & keep)); });
}

void count_leading_zeros(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const int bits = in.type.bits;
  map1(ex, w, in, mask, [=](u64 a) { return static_cast<u64>(std::countl_zero(a & low_bits(bits)) - (64 - bits)); });
}

void reverse_bits(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const int bits = in.type.bits;
  map1(ex, w, in, mask, [=](u64 a) {
    u64 reversed = 0;
    for (int i = 0; i < bits; ++i) reversed |= (a >> i & 1) << (bits - 1 - i);
    return reversed;
  });
}

// prmt: each nibble of c picks one of the eight bytes of b:a, or its sign.
void permute_bytes(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map3(ex, w, in, mask, [](u64 a, u64 b, u64 c) {
    const u64 pair = static_cast<u64>(static_cast<u32>(b)) << 32 | static_cast<u32>(a);
    u64 result = 0;
    for (int i = 0; i < 4; ++i) {
      const u32 choice = static_cast<u32>(c >> (4 * i)) & 15;
      u64 byte = pair >> (8 * (choice & 7)) & 0xFF;
      if (choice & 8) byte = byte & 0x80 ? 0xFF : 0;
      result |= byte << (8 * i);
    }
    return result;
  });
}

// lop3: bit i of the table is the result where a, b, c have the bits of i.
void logic_by_table(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 table = static_cast<u32>(in.operands[4].value);
  map3(ex, w, in, mask, [=](u64 a, u64 b, u64 c) {
    u64 result = 0;
    for (int i = 0; i < 8; ++i)
      if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result & 0xFFFFFFFF;
  });
}

}  // namespace

Handler bit_handler(const Instruction& in) {
  const bool predicates = in.type.kind == Kind::predicate;
  switch (in.op) {
    case Op::and_:
      return predicates ? predicate_logic<And> : logic<And>;
    case Op::or_:
      return predicates ? predicate_logic<Or> : logic<Or>;
    case Op::xor_:
      return predicates ? predicate_logic<Xor> : logic<Xor>;
    case Op::not_:
      return predicates ? not_predicate : not_bits;
    case Op::cnot:
      return logical_not;
    case Op::shl:
      return shift_left;
    case Op::shr:
      return by_integer(in.type, []<class T>() -> Handler { return shift_right<T>; });
    case Op::shf:
      return funnel_shift;
    case Op::bfe:
      return by_integer(in.type, []<class T>() -> Handler { return extract_field<T>; });
    case Op::bfi:
      return insert_field;
    case Op::bfind:
      return by_integer(in.type, []<class T>() -> Handler { return find_highest<T>; });
    case Op::popc:
      return count_ones;
    case Op::clz:
      return count_leading_zeros;
    case Op::brev:
      return reverse_bits;
    case Op::prmt:
      return permute_bytes;
    case Op::lop3:
      return logic_by_table;
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
