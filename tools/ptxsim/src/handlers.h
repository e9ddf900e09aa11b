// The functions that execute instructions, by family. Each family's finder returns null for what it does not have.
#pragma once
#include "executor.h"

namespace ptxsim {

Handler integer_handler(const Instruction& in);
Handler bit_handler(const Instruction& in);
Handler float_handler(const Instruction& in);
Handler compare_handler(const Instruction& in);
Handler convert_handler(const Instruction& in);
Handler move_handler(const Instruction& in);
Handler memory_handler(const Instruction& in);
Handler atomic_handler(const Instruction& in);
Handler warp_handler(const Instruction& in);
Handler async_handler(const Instruction& in);
Handler matrix_handler(const Instruction& in);
Handler wgmma_handler(const Instruction& in);

/** The space of the lanes' addresses, which become addresses within it; a fault where generic ones disagree. */
Space resolve_space(Executor& ex, const Instruction& in, u32 mask, u64* at);

/** old, combined with the operand (and the value to store of a compare-and-swap): for atom, red, redux. */
using Combiner = u64 (*)(u64 old, u64 operand, u64 replacement);
Combiner find_combiner(Type type, Reduction reduction);

/** The result of choose.operator()<T>() for the integer type T of an instruction; null for other types. */
template <class Choose>
Handler by_integer(Type type, Choose choose) {
  const bool is_signed = type.is_signed();
  switch (type.bits) {
    case 8:
      return is_signed ? choose.template operator()<int8_t>() : choose.template operator()<u8>();
    case 16:
      return is_signed ? choose.template operator()<int16_t>() : choose.template operator()<u16>();
    case 32:
      return is_signed ? choose.template operator()<int32_t>() : choose.template operator()<u32>();
    case 64:
      return is_signed ? choose.template operator()<i64>() : choose.template operator()<u64>();
    default:
      return nullptr;
  }
}

/** Likewise for the scalar floating-point types. */
template <class Choose>
Handler by_float(Type type, Choose choose) {
  if (type.kind == Kind::bf16) return choose.template operator()<Bf16>();
  if (type.kind != Kind::real) return nullptr;
  if (type.bits == 16) return choose.template operator()<Half>();
  return type.bits == 32 ? choose.template operator()<float>() : choose.template operator()<double>();
}

/** x as the floating-point type D, rounded in the direction that the flags name. */
template <class D>
u64 narrow_rounded(double x, u32 flags) {
  const u64 nearest = narrow<D>(x);
  if (!(flags & (kToZero | kDown | kUp)) || x != x) return nearest;
  const double y = widen(get<D>(nearest));
  const bool below = (flags & kDown) || ((flags & kToZero) && x > 0);
  if (below ? y <= x : y >= x) return nearest;
  // Floats of one sign are ordered as their bits are.
  const bool towards_zero = (y > 0) == below;
  return towards_zero ? nearest - 1 : nearest + 1;
}

/** destination[lane] = f(sources[lane]...), the sources being the operands from 1 on. */
template <class F>
inline void map1(Executor& ex, Warp& w, const Instruction& in, u32 mask, F f) {
  u64* d = ex.destination(w, in.operands[0]);
  const u64* a = ex.source(w, in.operands[1]);
  each_lane(mask, [=](int lane) { d[lane] = f(a[lane]); });
}
template <class F>
inline void map2(Executor& ex, Warp& w, const Instruction& in, u32 mask, F f) {
  u64* d = ex.destination(w, in.operands[0]);
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  each_lane(mask, [=](int lane) { d[lane] = f(a[lane], b[lane]); });
}
template <class F>
inline void map3(Executor& ex, Warp& w, const Instruction& in, u32 mask, F f) {
  u64* d = ex.destination(w, in.operands[0]);
  const u64* a = ex.source(w, in.operands[1]);
  const u64* b = ex.source(w, in.operands[2]);
  const u64* c = ex.source(w, in.operands[3]);
  each_lane(mask, [=](int lane) { d[lane] = f(a[lane], b[lane], c[lane]); });
}

}  // namespace ptxsim
