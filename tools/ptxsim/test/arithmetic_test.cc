// Integer and bit instructions against plain C++.
#include <algorithm>

#include "check.h"

namespace ptxsim {
namespace {

using i32 = int32_t;
using i16 = int16_t;

u32 w(u64 x) { return static_cast<u32>(x); }
i32 s(u64 x) { return static_cast<i32>(x); }
i64 sl(u64 x) { return static_cast<i64>(x); }
u64 from(i64 x) { return static_cast<u64>(x); }

void op(const std::string& text, int bits, const Expected& expected) {
  check_operation(text, integers(), bits, expected);
}

TEST(add_and_subtract) {
  op("add.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return w(a) + w(b); });
  op("add.s64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return a + b; });
  op("add.u16 %d, %a, %b;", 16, [](u64 a, u64 b, u64) { return a + b; });
  op("add.sat.s32 %d, %a, %b;", 32,
     [](u64 a, u64 b, u64) { return from(std::clamp<i64>(i64{s(a)} + s(b), INT32_MIN, INT32_MAX)); });
  op("sub.u32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return w(a) - w(b); });
  op("sub.s64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return a - b; });
  op("neg.s32 %d, %a;", 32, [](u64 a, u64, u64) { return 0 - a; });
  op("abs.s32 %d, %a;", 32, [](u64 a, u64, u64) { return s(a) < 0 ? 0 - a : a; });
}

TEST(carries) {
  op("add.cc.u32 %t0, %a, %b; addc.u32 %d, %c, 0;", 32,
     [](u64 a, u64 b, u64 c) { return w(c) + ((u64{w(a)} + w(b)) >> 32); });
  op("sub.cc.u32 %t0, %a, %b; subc.u32 %d, %c, 0;", 32, [](u64 a, u64 b, u64 c) { return w(c) - (w(a) < w(b)); });
  op("mad.lo.cc.u32 %t0, %a, %b, %c; madc.hi.u32 %d, %a, %b, 0;", 32,
     [](u64 a, u64 b, u64 c) { return (u64{w(a)} * w(b) + w(c)) >> 32; });
}

TEST(multiply) {
  op("mul.lo.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return a * b; });
  op("mul.hi.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return from((i64{s(a)} * s(b)) >> 32); });
  op("mul.hi.u32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return (u64{w(a)} * w(b)) >> 32; });
  op("mul.hi.u64 %d, %a, %b;", 64,
     [](u64 a, u64 b, u64) { return static_cast<u64>((static_cast<unsigned __int128>(a) * b) >> 64); });
  op("mul.hi.s64 %d, %a, %b;", 64,
     [](u64 a, u64 b, u64) { return static_cast<u64>((static_cast<__int128>(sl(a)) * sl(b)) >> 64); });
  op("mul.wide.s32 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return from(i64{s(a)} * s(b)); });
  op("mul.wide.u32 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return u64{w(a)} * w(b); });
  op("mul.wide.u16 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return (a & 0xFFFF) * (b & 0xFFFF); });
  op("mad.lo.s32 %d, %a, %b, %c;", 32, [](u64 a, u64 b, u64 c) { return a * b + c; });
  op("mad.hi.u32 %d, %a, %b, %c;", 32, [](u64 a, u64 b, u64 c) { return ((u64{w(a)} * w(b)) >> 32) + c; });
  op("mad.wide.s32 %d, %a, %b, %c;", 64, [](u64 a, u64 b, u64 c) { return from(i64{s(a)} * s(b)) + c; });
  op("mad.lo.s64 %d, %a, %b, %c;", 64, [](u64 a, u64 b, u64 c) { return a * b + c; });
  op("mul24.lo.u32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return (a & 0xFFFFFF) * (b & 0xFFFFFF); });
  op("dp4a.s32.s32 %d, %a, %b, %c;", 32, [](u64 a, u64 b, u64 c) {
    i64 sum = s(c);
    for (int i = 0; i < 32; i += 8) sum += static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i);
    return from(sum);
  });
}

TEST(divide) {
  op("div.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return s(b) ? from(i64{s(a)} / s(b)) : ~u64{0}; });
  op("div.u32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return w(b) ? u64{w(a) / w(b)} : ~u64{0}; });
  op("div.u64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return b ? a / b : ~u64{0}; });
  op("rem.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return s(b) ? from(i64{s(a)} % s(b)) : a; });
  op("rem.u64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return b ? a % b : a; });
}

TEST(minimum_and_maximum) {
  op("min.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return from(std::min(s(a), s(b))); });
  op("max.u32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return u64{std::max(w(a), w(b))}; });
  op("max.s64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return from(std::max(sl(a), sl(b))); });
  op("min.u64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return std::min(a, b); });
  op("sad.u32 %d, %a, %b, %c;", 32,
     [](u64 a, u64 b, u64 c) { return std::max(w(a), w(b)) - std::min(w(a), w(b)) + c; });
}

TEST(logic) {
  op("and.b32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return a & b; });
  op("or.b64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return a | b; });
  op("xor.b32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return a ^ b; });
  op("not.b64 %d, %a;", 64, [](u64 a, u64, u64) { return ~a; });
  op("cnot.b32 %d, %a;", 32, [](u64 a, u64, u64) { return u64{w(a) == 0}; });
  op("lop3.b32 %d, %a, %b, %c, 0xE8;", 32, [](u64 a, u64 b, u64 c) { return (a & b) | (a & c) | (b & c); });
  op("lop3.b32 %d, %a, %b, %c, 0x96;", 32, [](u64 a, u64 b, u64 c) { return a ^ b ^ c; });
  op("lop3.b32 %d, %a, %b, %c, 0xCA;", 32, [](u64 a, u64 b, u64 c) { return (a & b) | (~a & c); });
}

TEST(shifts) {
  op("shl.b32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return w(b) > 31 ? 0 : a << w(b); });
  op("shl.b64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return w(b) > 63 ? 0 : a << w(b); });
  op("shr.u32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return w(b) > 31 ? 0 : u64{w(a) >> w(b)}; });
  op("shr.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return from(s(a) >> std::min(w(b), 31u)); });
  op("shr.s64 %d, %a, %b;", 64, [](u64 a, u64 b, u64) { return from(sl(a) >> std::min(w(b), 63u)); });
  op("shf.l.wrap.b32 %d, %a, %b, %c;", 32,
     [](u64 a, u64 b, u64 c) { return ((u64{w(b)} << 32 | w(a)) << (c & 31)) >> 32; });
  op("shf.r.wrap.b32 %d, %a, %b, %c;", 32, [](u64 a, u64 b, u64 c) { return (u64{w(b)} << 32 | w(a)) >> (c & 31); });
  op("shf.r.clamp.b32 %d, %a, %b, %c;", 32,
     [](u64 a, u64 b, u64 c) { return (u64{w(b)} << 32 | w(a)) >> std::min(w(c), 32u); });
}

// By the definition in the PTX manual: bit by bit.
u64 field(u64 a, u64 b, u64 c, int bits, bool is_signed) {
  const int position = static_cast<int>(b & 255), length = static_cast<int>(c & 255), last = bits - 1;
  const u64 sign = !is_signed || length == 0 ? 0 : a >> std::min(position + length - 1, last) & 1;
  u64 result = 0;
  for (int i = 0; i <= last; ++i) result |= (i < length && position + i <= last ? a >> (position + i) & 1 : sign) << i;
  return result;
}

TEST(bit_fields) {
  op("bfe.u32 %d, %a, %b, %c;", 32, [](u64 a, u64 b, u64 c) { return field(a, b, c, 32, false); });
  op("bfe.s32 %d, %a, %b, %c;", 32, [](u64 a, u64 b, u64 c) { return field(a, b, c, 32, true); });
  op("bfe.s64 %d, %a, %b, %c;", 64, [](u64 a, u64 b, u64 c) { return field(a, b, c, 64, true); });
  op("bfi.b32 %d, %a, %b, %c, 8;", 32, [](u64 a, u64 b, u64 c) {
    u64 result = b;
    for (u64 i = 0; i < 8 && (c & 255) + i < 32; ++i)
      result = (result & ~(u64{1} << ((c & 255) + i))) | (a >> i & 1) << ((c & 255) + i);
    return result;
  });
}

TEST(bit_counts) {
  op("popc.b32 %d, %a;", 32, [](u64 a, u64, u64) { return static_cast<u64>(std::popcount(w(a))); });
  op("popc.b64 %d, %a;", 32, [](u64 a, u64, u64) { return static_cast<u64>(std::popcount(a)); });
  op("clz.b32 %d, %a;", 32, [](u64 a, u64, u64) { return static_cast<u64>(std::countl_zero(w(a))); });
  op("clz.b64 %d, %a;", 32, [](u64 a, u64, u64) { return static_cast<u64>(std::countl_zero(a)); });
  op("bfind.u32 %d, %a;", 32, [](u64 a, u64, u64) { return static_cast<u64>(31 - std::countl_zero(w(a))); });
  op("bfind.shiftamt.s32 %d, %a;", 32, [](u64 a, u64, u64) {
    const u32 x = s(a) < 0 ? ~w(a) : w(a);
    return x ? static_cast<u64>(std::countl_zero(x)) : ~u64{0};
  });
  op("brev.b32 %d, %a;", 32, [](u64 a, u64, u64) {
    u64 r = 0;
    for (int i = 0; i < 32; ++i) r = r << 1 | (a >> i & 1);
    return r;
  });
  op("prmt.b32 %d, %a, %b, 0x7531;", 32, [](u64 a, u64 b, u64) {
    return (a >> 8 & 0xFF) | (a >> 24 & 0xFF) << 8 | (b >> 8 & 0xFF) << 16 | (b >> 24 & 0xFF) << 24;
  });
  op("prmt.b32 %d, %a, %b, 0x000B;", 32,
     [](u64 a, u64, u64) { return ((a & 0xFF) * 0x01010100) | (a & 0x80000000 ? 0xFF : 0); });
}

TEST(comparisons) {
  const auto select = [](const std::string& compare) { return compare + " selp.u32 %d, 1, 0, %p;"; };
  op(select("setp.lt.s32 %p, %a, %b;"), 32, [](u64 a, u64 b, u64) { return u64{s(a) < s(b)}; });
  op(select("setp.lt.u32 %p, %a, %b;"), 32, [](u64 a, u64 b, u64) { return u64{w(a) < w(b)}; });
  op(select("setp.lo.u32 %p, %a, %b;"), 32, [](u64 a, u64 b, u64) { return u64{w(a) < w(b)}; });
  op(select("setp.hs.u64 %p, %a, %b;"), 32, [](u64 a, u64 b, u64) { return u64{a >= b}; });
  op(select("setp.ge.s64 %p, %a, %b;"), 32, [](u64 a, u64 b, u64) { return u64{sl(a) >= sl(b)}; });
  op(select("setp.eq.u16 %p, %a, %b;"), 32, [](u64 a, u64 b, u64) { return u64{(a ^ b) % 65536 == 0}; });
  op(select("setp.ne.b32 %q, %c, 0; setp.le.and.s32 %p, %a, %b, %q;"), 32,
     [](u64 a, u64 b, u64 c) { return u64{s(a) <= s(b) && w(c)}; });
  op(select("setp.ne.b32 %q, %c, 0; setp.gt.or.s32 %p, %a, %b, !%q;"), 32,
     [](u64 a, u64 b, u64 c) { return u64{s(a) > s(b) || !w(c)}; });
  op(select("setp.eq.s32 %q|%p, %a, %b;"), 32, [](u64 a, u64 b, u64) { return u64{s(a) != s(b)}; });
  op("set.gt.u32.s32 %d, %a, %b;", 32, [](u64 a, u64 b, u64) { return s(a) > s(b) ? ~u64{0} : 0; });
  op("slct.u32.s32 %d, %a, %b, %c;", 32, [](u64 a, u64 b, u64 c) { return s(c) >= 0 ? a : b; });
  op(select("setp.lt.s32 %p, %a, 5; setp.gt.s32 %q, %b, 5; and.pred %p, %p, %q; not.pred %p, %p;"), 32,
     [](u64 a, u64 b, u64) { return u64{!(s(a) < 5 && s(b) > 5)}; });
  op(select("setp.lt.s32 %p, %a, 5; setp.gt.s32 %q, %b, 5; xor.pred %p, %p, %q;"), 32,
     [](u64 a, u64 b, u64) { return u64{(s(a) < 5) != (s(b) > 5)}; });
}

TEST(moves) {
  op("mov.b32 {%t0, %t1}, %a; mov.b32 %d, {%t1, %t0};", 32,
     [](u64 a, u64, u64) { return (a >> 16 & 0xFFFF) | a << 16; });
  op("mov.b64 {%t0, %t1}, %a; mov.b64 %d, {%t1, %t0};", 64, [](u64 a, u64, u64) { return a >> 32 | a << 32; });
  op("mov.b64 {_, %t1}, %a; mov.u32 %d, %t1;", 32, [](u64 a, u64, u64) { return a >> 32; });
  op("mov.u32 %d, -1;", 32, [](u64, u64, u64) { return 0xFFFFFFFF; });
}

}  // namespace
}  // namespace ptxsim
