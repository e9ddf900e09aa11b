// Integer arithmetic. Everything is computed in 64 bits and cut to the type, so it wraps as on the device.
#include <algorithm>
#include <limits>

#include "handlers.h"

namespace ptxsim {
namespace {

template <class T>
u64 wide(T x) {
  return static_cast<u64>(static_cast<i64>(x));
}
template <>
u64 wide<u64>(u64 x) {
  return x;
}

template <class T>
T clamp_to(i64 x) {
  return static_cast<T>(std::clamp<i64>(x, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

struct Add {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(wide(a) + wide(b));
  }
};
struct AddSaturated {
  template <class T>
  static T of(T a, T b) {
    return clamp_to<T>(static_cast<i64>(wide(a) + wide(b)));
  }
};
struct Subtract {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(wide(a) - wide(b));
  }
};
struct SubtractSaturated {
  template <class T>
  static T of(T a, T b) {
    return clamp_to<T>(static_cast<i64>(wide(a) - wide(b)));
  }
};
struct MultiplyLow {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(wide(a) * wide(b));
  }
};
struct MultiplyHigh {
  template <class T>
  static T of(T a, T b) {
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >> (8 * sizeof(T)));
  }
};
struct Multiply24 {
  template <class T>
  static T of(T a, T b) {
    const auto low = [](T x) { return static_cast<T>(static_cast<T>(x << 8) >> 8); };
    return static_cast<T>(wide(low(a)) * wide(low(b)));
  }
};
// Division by zero gives all ones, and a remainder that is the dividend.
struct Divide {
  template <class T>
  static T of(T a, T b) {
    if (b == 0) return static_cast<T>(~u64{0});
    if constexpr (std::is_signed_v<T>)
      if (b == -1) return static_cast<T>(-wide(a));
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  static T of(T a, T b) {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>)
      if (b == -1) return 0;
    return static_cast<T>(a % b);
  }
};
struct Minimum {
  template <class T>
  static T of(T a, T b) {
    return std::min(a, b);
  }
};
struct Maximum {
  template <class T>
  static T of(T a, T b) {
    return std::max(a, b);
  }
};
struct Absolute {
  template <class T>
  static T of(T a) {
    return static_cast<T>(a < 0 ? -wide(a) : wide(a));
  }
};
struct Negate {
  template <class T>
  static T of(T a) {
    return static_cast<T>(-wide(a));
  }
};

template <class T, class F>
void unary(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map1(ex, w, in, mask, [](u64 a) { return put<T>(F::template of<T>(get<T>(a))); });
}

template <class T, class F>
void binary(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map2(ex, w, in, mask, [](u64 a, u64 b) { return put<T>(F::template of<T>(get<T>(a), get<T>(b))); });
}

template <class T, class F>
void multiply_add(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map3(ex, w, in, mask,
       [](u64 a, u64 b, u64 c) { return put<T>(static_cast<T>(wide(F::template of<T>(get<T>(a), get<T>(b))) + c)); });
}

template <class T>
using Doubled = std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, i64, u64>,
                                   std::conditional_t<std::is_signed_v<T>, int32_t, u32>>;

template <class T>
void multiply_wide(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map2(ex, w, in, mask,
       [](u64 a, u64 b) { return put<Doubled<T>>(static_cast<Doubled<T>>(wide(get<T>(a)) * wide(get<T>(b)))); });
}

template <class T>
void multiply_add_wide(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map3(ex, w, in, mask, [](u64 a, u64 b, u64 c) {
    return put<Doubled<T>>(static_cast<Doubled<T>>(wide(get<T>(a)) * wide(get<T>(b)) + c));
  });
}

template <class T>
void sum_of_differences(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map3(ex, w, in, mask, [](u64 a, u64 b, u64 c) {
    const T x = get<T>(a), y = get<T>(b);
    return put<T>(static_cast<T>((x < y ? wide(y) - wide(x) : wide(x) - wide(y)) + c));
  });
}

// add.cc, addc, sub.cc, subc, mad.cc, madc: one lane's carry is a bit of the warp's.
template <class T>
void with_carry(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  using U = std::make_unsigned_t<T>;
  const bool product = in.op == Op::mad || in.op == Op::madc;
  const bool difference = in.op == Op::sub || in.op == Op::subc;
  const bool carry_in = in.op == Op::addc || in.op == Op::subc || in.op == Op::madc;
  u64* d = ex.destination(w, in.operands[0]);
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  const u64* c = product ? ex.source(w, in.operands[3]) : nullptr;
  u32 carry = w.carry;
  each_lane(mask, [&](int lane) {
    U x = static_cast<U>(a[lane]), y = static_cast<U>(b[lane]);
    if (product) {
      x = static_cast<U>(in.has(kHigh) ? MultiplyHigh::of<T>(get<T>(a[lane]), get<T>(b[lane]))
                                       : MultiplyLow::of<T>(get<T>(a[lane]), get<T>(b[lane])));
      y = static_cast<U>(c[lane]);
    }
    const unsigned __int128 in_bit = carry_in ? (w.carry >> lane & 1) : 0;
    const unsigned __int128 wide_sum =
        difference ? static_cast<unsigned __int128>(x) - y - in_bit : static_cast<unsigned __int128>(x) + y + in_bit;
    d[lane] = put<U>(static_cast<U>(wide_sum));
    const u32 out = static_cast<u32>(wide_sum >> (8 * sizeof(T))) & 1;
    carry = (carry & ~(1u << lane)) | (out << lane);
  });
  if (in.has(kCarryOut)) w.carry = carry;
}

// Four products of bytes, added up.
template <class T>
void dot_bytes(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  using Byte = std::conditional_t<std::is_signed_v<T>, int8_t, u8>;
  const bool signed_b = in.type2.is_signed();
  map3(ex, w, in, mask, [=](u64 a, u64 b, u64 c) {
    i64 sum = static_cast<i64>(c);
    for (int i = 0; i < 32; i += 8) {
      const i64 y =
          signed_b ? static_cast<i64>(static_cast<int8_t>(b >> i)) : static_cast<i64>(static_cast<u8>(b >> i));
      sum += static_cast<i64>(static_cast<Byte>(a >> i)) * y;
    }
    return put<u32>(static_cast<u32>(sum));
  });
}

template <class F>
Handler unary_handler(Type type) {
  return by_integer(type, []<class T>() -> Handler { return unary<T, F>; });
}
template <class F>
Handler binary_handler(Type type) {
  return by_integer(type, []<class T>() -> Handler { return binary<T, F>; });
}

Handler multiply_handler(const Instruction& in) {
  if (in.has(kWide))
    return by_integer(in.type, []<class T>() -> Handler {
      if constexpr (sizeof(T) == 2 || sizeof(T) == 4) return multiply_wide<T>;
      return nullptr;
    });
  return in.has(kHigh) ? binary_handler<MultiplyHigh>(in.type) : binary_handler<MultiplyLow>(in.type);
}

Handler multiply_add_handler(const Instruction& in) {
  if (in.has(kWide))
    return by_integer(in.type, []<class T>() -> Handler {
      if constexpr (sizeof(T) == 2 || sizeof(T) == 4) return multiply_add_wide<T>;
      return nullptr;
    });
  if (in.has(kHigh)) return by_integer(in.type, []<class T>() -> Handler { return multiply_add<T, MultiplyHigh>; });
  return by_integer(in.type, []<class T>() -> Handler { return multiply_add<T, MultiplyLow>; });
}

}  // namespace

Handler integer_handler(const Instruction& in) {
  if (in.type.is_float() || in.type.kind == Kind::predicate) return nullptr;
  const Type type = in.type;
  const bool saturated = in.has(kSaturate);
  const bool carries = in.has(kCarryOut) || in.op == Op::addc || in.op == Op::subc || in.op == Op::madc;
  if (carries) {
    const bool known = in.op == Op::add || in.op == Op::addc || in.op == Op::sub || in.op == Op::subc ||
                       in.op == Op::mad || in.op == Op::madc;
    if (!known) return nullptr;
    return by_integer(type, []<class T>() -> Handler { return with_carry<T>; });
  }
  switch (in.op) {
    case Op::add:
      return saturated ? binary_handler<AddSaturated>(type) : binary_handler<Add>(type);
    case Op::sub:
      return saturated ? binary_handler<SubtractSaturated>(type) : binary_handler<Subtract>(type);
    case Op::mul:
      return multiply_handler(in);
    case Op::mad:
      return multiply_add_handler(in);
    case Op::mul24:
      return in.has(kHigh) ? nullptr : binary_handler<Multiply24>(type);
    case Op::mad24:
      if (in.has(kHigh)) return nullptr;
      return by_integer(type, []<class T>() -> Handler { return multiply_add<T, Multiply24>; });
    case Op::div:
      return binary_handler<Divide>(type);
    case Op::rem:
      return binary_handler<Remainder>(type);
    case Op::min:
      return binary_handler<Minimum>(type);
    case Op::max:
      return binary_handler<Maximum>(type);
    case Op::abs:
      return unary_handler<Absolute>(type);
    case Op::neg:
      return unary_handler<Negate>(type);
    case Op::sad:
      return by_integer(type, []<class T>() -> Handler { return sum_of_differences<T>; });
    case Op::dp4a:
      return type.is_signed() ? dot_bytes<int32_t> : dot_bytes<u32>;
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
