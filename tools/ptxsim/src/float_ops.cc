// Floating-point arithmetic, scalar and packed. f32 and f64 are the host's own; 16-bit results are computed in double
// and rounded once. Approximate instructions give the exact function, rounded; a device's result differs by the
// documented error.
#include <algorithm>
#include <limits>

#include "handlers.h"

namespace ptxsim {
namespace {

struct Add {
  template <class T>
  static T of(T a, T b) {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  static T of(T a, T b) {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  static T of(T a, T b) {
    return a * b;
  }
};
struct Divide {
  template <class T>
  static T of(T a, T b) {
    return a / b;
  }
};
// A NaN loses against a number; -0 lies below +0.
struct Minimum {
  template <class T>
  static T of(T a, T b) {
    if (a != a) return b;
    if (b != b) return a;
    return a < b || (a == b && std::signbit(a)) ? a : b;
  }
};
struct Maximum {
  template <class T>
  static T of(T a, T b) {
    if (a != a) return b;
    if (b != b) return a;
    return a > b || (a == b && !std::signbit(a)) ? a : b;
  }
};
struct MinimumNan {
  template <class T>
  static T of(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : Minimum::of(a, b);
  }
};
struct MaximumNan {
  template <class T>
  static T of(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : Maximum::of(a, b);
  }
};
struct CopySign {
  template <class T>
  static T of(T a, T b) {
    return std::copysign(b, a);
  }
};
struct Absolute {
  template <class T>
  static T of(T a) {
    return std::fabs(a);
  }
};
struct Negate {
  template <class T>
  static T of(T a) {
    return -a;
  }
};
struct Exp2 {
  template <class T>
  static T of(T a) {
    return std::exp2(a);
  }
};
struct Log2 {
  template <class T>
  static T of(T a) {
    return std::log2(a);
  }
};
struct Reciprocal {
  template <class T>
  static T of(T a) {
    return 1 / a;
  }
};
struct ReciprocalRoot {
  template <class T>
  static T of(T a) {
    return static_cast<T>(1 / std::sqrt(static_cast<double>(a)));
  }
};
struct Root {
  template <class T>
  static T of(T a) {
    return std::sqrt(a);
  }
};
struct Sine {
  template <class T>
  static T of(T a) {
    return std::sin(a);
  }
};
struct Cosine {
  template <class T>
  static T of(T a) {
    return std::cos(a);
  }
};
struct HyperbolicTangent {
  template <class T>
  static T of(T a) {
    return std::tanh(a);
  }
};
struct MultiplyAdd {
  template <class T>
  static T of(T a, T b, T c) {
    return std::fma(a, b, c);
  }
};

// The type in which an operation is computed: double for 16-bit types, else the type itself.
template <class T>
using Working = std::conditional_t<std::is_same_v<T, float>, float, double>;

template <class T>
Working<T> load(u64 lane, u32 flags) {
  const auto x = static_cast<Working<T>>(widen(get<T>(lane)));
  if constexpr (std::is_same_v<T, float>)
    if ((flags & kFlushSubnormal) && std::fabs(x) < std::numeric_limits<float>::min()) return std::copysign(0.0f, x);
  return x;
}

template <class T>
u64 store(Working<T> x, u32 flags) {
  if (flags & kSaturate) x = x > 1 ? 1 : x > 0 ? x : 0;
  if (flags & kRelu) x = x > 0 ? x : x != x ? x : 0;
  if constexpr (std::is_same_v<T, float>)
    if ((flags & kFlushSubnormal) && std::fabs(x) < std::numeric_limits<float>::min()) x = std::copysign(0.0f, x);
  return narrow<T>(x);
}

constexpr u32 kChanging = kSaturate | kRelu | kFlushSubnormal;

template <class T, class F>
void unary(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  map1(ex, w, in, mask, [=](u64 a) { return store<T>(F::of(load<T>(a, flags)), flags); });
}

// The common case, f32 and f64 without modifiers, in a loop that vectorises.
template <class T, class F>
void binary(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  if (flags & kChanging)
    map2(ex, w, in, mask, [=](u64 a, u64 b) { return store<T>(F::of(load<T>(a, flags), load<T>(b, flags)), flags); });
  else
    map2(ex, w, in, mask, [](u64 a, u64 b) { return store<T>(F::of(load<T>(a, 0), load<T>(b, 0)), 0); });
}

template <class T, class F>
void ternary(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  if (flags & kChanging)
    map3(ex, w, in, mask, [=](u64 a, u64 b, u64 c) {
      return store<T>(F::of(load<T>(a, flags), load<T>(b, flags), load<T>(c, flags)), flags);
    });
  else
    map3(ex, w, in, mask,
         [](u64 a, u64 b, u64 c) { return store<T>(F::of(load<T>(a, 0), load<T>(b, 0), load<T>(c, 0)), 0); });
}

/** p + c in double with a sticky last bit where it is inexact, so that a later rounding is the only one. */
double add_to_odd(double p, double c) {
  const double sum = p + c, part = sum - p, error = (p - (sum - part)) + (c - part);
  if (error == 0 || !std::isfinite(sum) || (std::bit_cast<u64>(sum) & 1)) return sum;
  return std::nextafter(sum, error > 0 ? INFINITY : -INFINITY);
}

// f32 rounded up, down or to zero: products are exact in double.
void rounded(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  const Op op = in.op;
  const bool ternary = op == Op::fma || op == Op::mad;
  u64* d = ex.destination(w, in.operands[0]);
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  const u64* c = ternary ? ex.source(w, in.operands[3]) : nullptr;
  each_lane(mask, [=](int lane) {
    const double x = get<float>(a[lane]), y = get<float>(b[lane]);
    const double exact = op == Op::add   ? add_to_odd(x, y)
                         : op == Op::sub ? add_to_odd(x, -y)
                         : op == Op::mul ? x * y
                                         : add_to_odd(x * y, get<float>(c[lane]));
    d[lane] = narrow_rounded<float>(exact, flags);
  });
}

// Both halves of a register.
template <class T, class F>
void unary_pair(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  map1(ex, w, in, mask, [=](u64 a) {
    return store<T>(F::of(load<T>(a, 0)), flags) | store<T>(F::of(load<T>(a >> 16, 0)), flags) << 16;
  });
}
template <class T, class F>
void binary_pair(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  map2(ex, w, in, mask, [=](u64 a, u64 b) {
    return store<T>(F::of(load<T>(a, 0), load<T>(b, 0)), flags) |
           store<T>(F::of(load<T>(a >> 16, 0), load<T>(b >> 16, 0)), flags) << 16;
  });
}
template <class T, class F>
void ternary_pair(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  map3(ex, w, in, mask, [=](u64 a, u64 b, u64 c) {
    return store<T>(F::of(load<T>(a, 0), load<T>(b, 0), load<T>(c, 0)), flags) |
           store<T>(F::of(load<T>(a >> 16, 0), load<T>(b >> 16, 0), load<T>(c >> 16, 0)), flags) << 16;
  });
}

template <class F>
Handler unary_handler(Type type) {
  if (type.kind == Kind::bf16x2) return unary_pair<Bf16, F>;
  if (type.kind == Kind::f16x2) return unary_pair<Half, F>;
  return by_float(type, []<class T>() -> Handler { return unary<T, F>; });
}
template <class F>
Handler binary_handler(Type type) {
  if (type.kind == Kind::bf16x2) return binary_pair<Bf16, F>;
  if (type.kind == Kind::f16x2) return binary_pair<Half, F>;
  return by_float(type, []<class T>() -> Handler { return binary<T, F>; });
}
template <class F>
Handler ternary_handler(Type type) {
  if (type.kind == Kind::bf16x2) return ternary_pair<Bf16, F>;
  if (type.kind == Kind::f16x2) return ternary_pair<Half, F>;
  return by_float(type, []<class T>() -> Handler { return ternary<T, F>; });
}

}  // namespace

Handler float_handler(const Instruction& in) {
  if (!in.type.is_float()) return nullptr;
  if (in.has(kToZero | kDown | kUp)) {
    const bool has = in.op == Op::add || in.op == Op::sub || in.op == Op::mul || in.op == Op::fma || in.op == Op::mad;
    if (has && in.type.is(Kind::real, 32) && !in.has(kSaturate)) return rounded;
    return nullptr;
  }
  const bool nan = in.has(kNanWins);
  switch (in.op) {
    case Op::add:
      return binary_handler<Add>(in.type);
    case Op::sub:
      return binary_handler<Subtract>(in.type);
    case Op::mul:
      return binary_handler<Multiply>(in.type);
    case Op::div:
      return binary_handler<Divide>(in.type);
    case Op::mad:
    case Op::fma:
      return ternary_handler<MultiplyAdd>(in.type);
    case Op::min:
      return nan ? binary_handler<MinimumNan>(in.type) : binary_handler<Minimum>(in.type);
    case Op::max:
      return nan ? binary_handler<MaximumNan>(in.type) : binary_handler<Maximum>(in.type);
    case Op::copysign:
      return binary_handler<CopySign>(in.type);
    case Op::abs:
      return unary_handler<Absolute>(in.type);
    case Op::neg:
      return unary_handler<Negate>(in.type);
    case Op::ex2:
      return unary_handler<Exp2>(in.type);
    case Op::lg2:
      return unary_handler<Log2>(in.type);
    case Op::rcp:
      return unary_handler<Reciprocal>(in.type);
    case Op::rsqrt:
      return unary_handler<ReciprocalRoot>(in.type);
    case Op::sqrt:
      return unary_handler<Root>(in.type);
    case Op::sin:
      return unary_handler<Sine>(in.type);
    case Op::cos:
      return unary_handler<Cosine>(in.type);
    case Op::tanh:
      return unary_handler<HyperbolicTangent>(in.type);
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
