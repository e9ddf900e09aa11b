// setp, set, selp, slct, testp: predicates from values and values by predicates.
#include "handlers.h"

namespace ptxsim {
namespace {

template <class T>
bool holds(Compare how, T a, T b) {
  switch (how) {
    case Compare::eq:
      return a == b;
    case Compare::ne:
      return a != b;
    case Compare::lt:
    case Compare::lo:
      return a < b;
    case Compare::le:
    case Compare::ls:
      return a <= b;
    case Compare::gt:
    case Compare::hi:
      return a > b;
    case Compare::ge:
    case Compare::hs:
      return a >= b;
    default:
      return false;
  }
}

// Of floats: the ordered comparisons are false where one is NaN, the unordered ones true.
bool holds_float(Compare how, double a, double b) {
  const bool unordered = a != a || b != b;
  switch (how) {
    case Compare::num:
      return !unordered;
    case Compare::nan:
      return unordered;
    case Compare::ne:
      return !unordered && a != b;
    case Compare::equ:
      return unordered || a == b;
    case Compare::neu:
      return unordered || a != b;
    case Compare::ltu:
      return unordered || a < b;
    case Compare::leu:
      return unordered || a <= b;
    case Compare::gtu:
      return unordered || a > b;
    case Compare::geu:
      return unordered || a >= b;
    default:
      return holds(how, a, b);
  }
}

template <Compare how, class T>
u32 compare_all(const u64* a, const u64* b) {
  u32 result = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    result |= static_cast<u32>(holds<T>(how, get<T>(a[lane]), get<T>(b[lane]))) << lane;
  return result;
}

template <class T>
u32 compare(Compare how, const u64* a, const u64* b) {
  if constexpr (std::is_integral_v<T>) {
    switch (how) {
      case Compare::eq:
        return compare_all<Compare::eq, T>(a, b);
      case Compare::ne:
        return compare_all<Compare::ne, T>(a, b);
      case Compare::lt:
      case Compare::lo:
        return compare_all<Compare::lt, T>(a, b);
      case Compare::le:
      case Compare::ls:
        return compare_all<Compare::le, T>(a, b);
      case Compare::gt:
      case Compare::hi:
        return compare_all<Compare::gt, T>(a, b);
      default:
        return compare_all<Compare::ge, T>(a, b);
    }
  } else {
    u32 result = 0;
    for (int lane = 0; lane < kLanes; ++lane)
      result |= static_cast<u32>(holds_float(how, widen(get<T>(a[lane])), widen(get<T>(b[lane])))) << lane;
    return result;
  }
}

u32 combine(Combine how, u32 a, u32 b) {
  switch (how) {
    case Combine::and_:
      return a & b;
    case Combine::or_:
      return a | b;
    case Combine::xor_:
      return a ^ b;
    default:
      return a;
  }
}

template <class T>
u32 comparison(Executor& ex, Warp& w, const Instruction& in) {
  return compare<T>(static_cast<Compare>(in.mode), ex.source(w, in.operands[1]), ex.source(w, in.operands[2]));
}

template <class T>
void set_predicates(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 result = comparison<T>(ex, w, in);
  const u32 other = in.combine == Combine::none ? 0 : ex.predicate(w, in.operands.at(3));
  const u32 opposite = combine(in.combine, ~result, other);
  const Operand& d = in.operands[0];
  if (d.kind == OperandKind::predicate) ex.set_predicate(w, d.index, mask, combine(in.combine, result, other));
  ex.set_predicate(w, d.second, mask, opposite);
}

template <class T>
void set_value(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 other = in.combine == Combine::none ? 0 : ex.predicate(w, in.operands.at(3));
  const u32 result = combine(in.combine, comparison<T>(ex, w, in), other);
  const u64 yes = in.type.is(Kind::real, 32)   ? put(1.0f)
                  : in.type.kind == Kind::bf16 ? 0x3F80
                  : in.type.is(Kind::real, 16) ? 0x3C00
                                               : 0xFFFFFFFF;
  u64* d = ex.destination(w, in.operands[0]);
  each_lane(mask, [=](int lane) { d[lane] = result >> lane & 1 ? yes : 0; });
}

template <class T>
void compare_pairs(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const auto how = static_cast<Compare>(in.mode);
  u32 low = 0, high = 0;
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  each_lane(mask, [&](int lane) {
    low |= static_cast<u32>(holds_float(how, widen(get<T>(a[lane])), widen(get<T>(b[lane])))) << lane;
    high |= static_cast<u32>(holds_float(how, widen(get<T>(a[lane] >> 16)), widen(get<T>(b[lane] >> 16)))) << lane;
  });
  ex.set_predicate(w, in.operands[0].index, mask, low);
  ex.set_predicate(w, in.operands[0].second, mask, high);
}

void select(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 choice = ex.predicate(w, in.operands[3]);
  u64* d = ex.destination(w, in.operands[0]);
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  each_lane(mask, [=](int lane) { d[lane] = choice >> lane & 1 ? a[lane] : b[lane]; });
}

// slct: a where c >= 0, b elsewhere.
void select_by_sign(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const bool real = in.type2.is_float();
  map3(ex, w, in, mask,
       [=](u64 a, u64 b, u64 c) { return (real ? get<float>(c) >= 0 : get<int32_t>(c) >= 0) ? a : b; });
}

template <class T>
void test_property(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u64* a = ex.source(w, in.operands[1]);
  u32 result = 0;
  each_lane(mask, [&](int lane) {
    const T x = get<T>(a[lane]);
    const bool properties[] = {std::isfinite(x), std::isinf(x),    x == x,
                               x != x,           std::isnormal(x), x != 0 && std::isfinite(x) && !std::isnormal(x)};
    result |= static_cast<u32>(properties[in.mode]) << lane;
  });
  ex.set_predicate(w, in.operands[0].index, mask, result);
}

}  // namespace

Handler compare_handler(const Instruction& in) {
  const auto compared = [&](Type type, auto integers, auto floats) {
    return type.is_float() ? by_float(type, floats) : by_integer(type, integers);
  };
  switch (in.op) {
    case Op::setp:
      if (in.type.kind == Kind::bf16x2) return compare_pairs<Bf16>;
      if (in.type.kind == Kind::f16x2) return compare_pairs<Half>;
      return compared(
          in.type, []<class T>() -> Handler { return set_predicates<T>; },
          []<class T>() -> Handler { return set_predicates<T>; });
    case Op::set:
      return compared(
          in.type2, []<class T>() -> Handler { return set_value<T>; },
          []<class T>() -> Handler { return set_value<T>; });
    case Op::selp:
      return select;
    case Op::slct:
      return select_by_sign;
    case Op::testp:
      return in.type.bits == 32 ? test_property<float> : test_property<double>;
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
