// cvt: between integers, floats, and pairs of 16-bit floats.
#include <algorithm>
#include <limits>

#include "handlers.h"

namespace ptxsim {
namespace {

double round_integral(double x, u32 flags) {
  if (flags & kToZero) return std::trunc(x);
  if (flags & kDown) return std::floor(x);
  if (flags & kUp) return std::ceil(x);
  return std::nearbyint(x);
}

template <class D, class S>
void integer_to_integer(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const bool saturate = in.has(kSaturate);
  map1(ex, w, in, mask, [=](u64 a) {
    const S x = get<S>(a);
    if (saturate) {
      using Wide = __int128;
      const Wide low = std::numeric_limits<D>::min(), high = std::numeric_limits<D>::max();
      return put<D>(static_cast<D>(std::clamp(static_cast<Wide>(x), low, high)));
    }
    return put<D>(static_cast<D>(x));
  });
}

template <class D, class S>
void integer_to_float(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  map1(ex, w, in, mask, [=](u64 a) {
    const S x = get<S>(a);
    // 64-bit integers go through long double, which holds them: double would round once more.
    if constexpr (std::is_same_v<D, float> && sizeof(S) == 8)
      if (!(flags & (kToZero | kDown | kUp))) return put(static_cast<float>(x));
    return narrow_rounded<D>(static_cast<double>(x), flags);
  });
}

// Out of range gives the nearest value of the type, NaN zero.
template <class D, class S>
void float_to_integer(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  map1(ex, w, in, mask, [=](u64 a) {
    const double x = round_integral(widen(get<S>(a)), flags);
    if (x != x) return u64{0};
    const double high = std::ldexp(1.0, static_cast<int>(8 * sizeof(D)) - (std::is_signed_v<D> ? 1 : 0));
    if (x >= high) return put<D>(std::numeric_limits<D>::max());
    if (x < static_cast<double>(std::numeric_limits<D>::min())) return put<D>(std::numeric_limits<D>::min());
    return put<D>(static_cast<D>(x));
  });
}

template <class D, class S>
void float_to_float(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  const bool same = std::is_same_v<D, S>;
  map1(ex, w, in, mask, [=](u64 a) {
    double x = widen(get<S>(a));
    if (same && (flags & (kToNearest | kToZero | kDown | kUp))) x = round_integral(x, flags);
    if (flags & kSaturate) x = x > 1 ? 1 : x > 0 ? x : 0;
    if (flags & kRelu) x = x > 0 ? x : x != x ? x : 0;
    return same ? narrow<D>(x) : narrow_rounded<D>(x, flags);
  });
}

// Two f32 to a pair: the first becomes the upper half.
template <class D>
void float_pair(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  const u32 flags = in.flags;
  map2(ex, w, in, mask, [=](u64 a, u64 b) {
    const auto convert = [=](u64 lane) {
      double x = get<float>(lane);
      if (flags & kRelu) x = x > 0 ? x : x != x ? x : 0;
      return narrow_rounded<D>(x, flags);
    };
    return convert(a) << 16 | convert(b);
  });
}

// rna: ties away from zero, which adding half of the last kept place does.
void to_tf32(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  map1(ex, w, in, mask, [](u64 a) { return (a + 0x1000) & 0xFFFFE000; });
}

template <class D>
Handler to_integer(Type from) {
  if (from.is_float()) return by_float(from, []<class S>() -> Handler { return float_to_integer<D, S>; });
  return by_integer(from, []<class S>() -> Handler { return integer_to_integer<D, S>; });
}

template <class D>
Handler to_float(Type from) {
  if (from.is_float()) return by_float(from, []<class S>() -> Handler { return float_to_float<D, S>; });
  return by_integer(from, []<class S>() -> Handler { return integer_to_float<D, S>; });
}

}  // namespace

Handler convert_handler(const Instruction& in) {
  if (in.op != Op::cvt) return nullptr;
  const Type from = in.type2;
  switch (in.type.kind) {
    case Kind::bf16x2:
      return from.is(Kind::real, 32) ? float_pair<Bf16> : nullptr;
    case Kind::f16x2:
      return from.is(Kind::real, 32) ? float_pair<Half> : nullptr;
    case Kind::tf32:
      return to_tf32;
    default:
      break;
  }
  if (in.type.is_float()) return by_float(in.type, [=]<class D>() -> Handler { return to_float<D>(from); });
  return by_integer(in.type, [=]<class D>() -> Handler { return to_integer<D>(from); });
}

}  // namespace ptxsim
