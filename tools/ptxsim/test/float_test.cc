// Floating-point instructions against the host's arithmetic and the functions' definitions.
#include <cmath>
#include <limits>

#include "check.h"

namespace ptxsim {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const std::vector<float> kReals = {
    0.0f,   -0.0f,       1.0f, -1.0f,           0.5f,     1.5f,  -2.75f,    3.14159274f, 1e-3f, 1e10f, -7e-20f,
    1e-40f, 16777216.0f, 0.1f, 1.0f + 0x1p-23f, 65504.0f, 1e30f, kInfinity, -kInfinity,  kNan};

float x32(u64 lane) { return get<float>(lane); }
double x64(u64 lane) { return get<double>(lane); }

// NaNs compare as one.
u64 canonical(float x) { return x != x ? f32(kNan) : f32(x); }

void op32(const std::string& text, const std::function<float(float, float, float)>& expected) {
  std::vector<u64> values;
  for (const float x : kReals) values.push_back(f32(x));
  check_operation(text + " setp.nan.f32 %p, %d, %d; selp.b32 %d, 0x7FC00000, %d, %p;", values, 32,
                  [&](u64 a, u64 b, u64 c) { return canonical(expected(x32(a), x32(b), x32(c))); });
}

void op64(const std::string& text, const std::function<double(double, double, double)>& expected) {
  const std::vector<double> reals = {0.0, 1.0, -1.0, 0.1, 3.0, 1e300, 1e-300, -2.5, 1.0 + 0x1p-52, 12345.678};
  std::vector<u64> values;
  for (const double x : reals) values.push_back(f64(x));
  check_operation(text, values, 64, [&](u64 a, u64 b, u64 c) { return f64(expected(x64(a), x64(b), x64(c))); });
}

// Values that bf16 and f16 hold.
void op16(const std::string& text, bool bf16, const std::function<double(double, double, double)>& expected) {
  std::vector<u64> values;
  for (const float x : {0.0f, 1.0f, -1.0f, 0.5f, 1.5f, -2.75f, 100.0f, 0.0078125f, 255.0f, 1.0078125f, 3.0f})
    values.push_back(bf16 ? float_to_bf16(x) : float_to_half(x));
  const auto wide = [=](u64 x) { return bf16 ? widen(get<Bf16>(x)) : widen(get<Half>(x)); };
  check_operation(text, values, 16, [&](u64 a, u64 b, u64 c) {
    const double y = expected(wide(a), wide(b), wide(c));
    return bf16 ? narrow<Bf16>(y) : narrow<Half>(y);
  });
}

TEST(arithmetic_f32) {
  op32("add.f32 %d, %a, %b;", [](float a, float b, float) { return a + b; });
  op32("sub.f32 %d, %a, %b;", [](float a, float b, float) { return a - b; });
  op32("mul.rn.f32 %d, %a, %b;", [](float a, float b, float) { return a * b; });
  op32("fma.rn.f32 %d, %a, %b, %c;", [](float a, float b, float c) { return std::fma(a, b, c); });
  op32("div.rn.f32 %d, %a, %b;", [](float a, float b, float) { return a / b; });
  op32("div.full.f32 %d, %a, %b;", [](float a, float b, float) { return a / b; });
  op32("neg.f32 %d, %a;", [](float a, float, float) { return -a; });
  op32("abs.f32 %d, %a;", [](float a, float, float) { return std::fabs(a); });
  op32("rcp.rn.f32 %d, %a;", [](float a, float, float) { return 1 / a; });
  op32("sqrt.rn.f32 %d, %a;", [](float a, float, float) { return std::sqrt(a); });
  op32("copysign.f32 %d, %a, %b;", [](float a, float b, float) { return std::copysign(b, a); });
  op32("add.sat.f32 %d, %a, %b;", [](float a, float b, float) {
    const float x = a + b;
    return x > 1 ? 1.0f : x > 0 ? x : 0.0f;
  });
  op32("add.ftz.f32 %d, %a, %b;", [](float a, float b, float) {
    const auto flush = [](float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; };
    return flush(flush(a) + flush(b));
  });
}

TEST(minimum_and_maximum_f32) {
  const auto least = [](float a, float b, float) {
    if (a == 0 && b == 0) return std::signbit(a) ? a : b;
    return std::fmin(a, b);
  };
  const auto most = [](float a, float b, float) {
    if (a == 0 && b == 0) return std::signbit(a) ? b : a;
    return std::fmax(a, b);
  };
  op32("min.f32 %d, %a, %b;", least);
  op32("max.f32 %d, %a, %b;", most);
  op32("max.NaN.f32 %d, %a, %b;", [=](float a, float b, float c) { return a != a || b != b ? kNan : most(a, b, c); });
}

// The neighbour of the nearest float on the side asked for, by long double.
float rounded(long double x, int direction) {
  const float nearest = static_cast<float>(x);
  if (direction > 0 && nearest < x) return std::nextafter(nearest, kInfinity);
  if (direction < 0 && nearest > x) return std::nextafter(nearest, -kInfinity);
  return nearest;
}

TEST(directed_rounding) {
  std::vector<u64> values;
  for (const float x : {1.0f, 0.1f, -0.3f, 3.14159274f, 12582912.0f, -7.5f, 1.0f / 3, 0.7071f})
    values.push_back(f32(x));
  const auto check = [&](const std::string& text, int direction) {
    check_operation(text, values, 32, [=](u64 a, u64 b, u64 c) {
      const long double exact = static_cast<long double>(x32(a)) * x32(b) + x32(c);
      const int side = direction ? direction : exact > 0 ? -1 : 1;
      return f32(rounded(exact, side));
    });
  };
  check("fma.rm.f32 %d, %a, %b, %c;", -1);
  check("fma.rp.f32 %d, %a, %b, %c;", 1);
  check("fma.rz.f32 %d, %a, %b, %c;", 0);
  check_operation("add.rz.f32 %d, %a, %b;", values, 32, [](u64 a, u64 b, u64) {
    const long double exact = static_cast<long double>(x32(a)) + x32(b);
    return f32(rounded(exact, exact > 0 ? -1 : 1));
  });
}

TEST(functions_f32) {
  op32("ex2.approx.f32 %d, %a;", [](float a, float, float) { return std::exp2(a); });
  op32("ex2.approx.ftz.f32 %d, %a;", [](float a, float, float) {
    const float y = std::exp2(a);
    return y < 0x1p-126f ? 0.0f : y;
  });
  op32("lg2.approx.f32 %d, %a;", [](float a, float, float) { return std::log2(a); });
  op32("rsqrt.approx.f32 %d, %a;",
       [](float a, float, float) { return static_cast<float>(1 / std::sqrt(static_cast<double>(a))); });
  op32("sin.approx.f32 %d, %a;", [](float a, float, float) { return std::sin(a); });
  op32("cos.approx.f32 %d, %a;", [](float a, float, float) { return std::cos(a); });
  op32("tanh.approx.f32 %d, %a;", [](float a, float, float) { return std::tanh(a); });
}

TEST(arithmetic_f64) {
  op64("add.f64 %d, %a, %b;", [](double a, double b, double) { return a + b; });
  op64("mul.f64 %d, %a, %b;", [](double a, double b, double) { return a * b; });
  op64("fma.rn.f64 %d, %a, %b, %c;", [](double a, double b, double c) { return std::fma(a, b, c); });
  op64("div.rn.f64 %d, %a, %b;", [](double a, double b, double) { return a / b; });
  op64("sqrt.rn.f64 %d, %a; abs.f64 %d, %d;", [](double a, double, double) { return std::fabs(std::sqrt(a)); });
  op64("max.f64 %d, %a, %b;", [](double a, double b, double) { return std::fmax(a, b); });
  op64("neg.f64 %d, %a;", [](double a, double, double) { return -a; });
}

TEST(arithmetic_16_bit) {
  for (const bool bf16 : {true, false}) {
    const std::string t = bf16 ? "bf16" : "f16";
    op16("add." + t + " %d, %a, %b;", bf16, [](double a, double b, double) { return a + b; });
    op16("sub." + t + " %d, %a, %b;", bf16, [](double a, double b, double) { return a - b; });
    op16("mul." + t + " %d, %a, %b;", bf16, [](double a, double b, double) { return a * b; });
    op16("fma.rn." + t + " %d, %a, %b, %c;", bf16, [](double a, double b, double c) { return std::fma(a, b, c); });
    op16("max." + t + " %d, %a, %b;", bf16, [](double a, double b, double) { return std::fmax(a, b); });
    op16("neg." + t + " %d, %a;", bf16, [](double a, double, double) { return -a; });
  }
}

TEST(arithmetic_of_pairs) {
  const std::vector<u64> values = {0x3F803F80, 0x40003F00, 0xBF804049, 0x00003FC0, 0x42C83DCC, 0xC0A03F81};
  const auto halves = [](u64 a, u64 b, u64 c, double (*f)(double, double, double)) {
    const auto at = [](u64 x, int half) { return widen(get<Bf16>(x >> (16 * half))); };
    return narrow<Bf16>(f(at(a, 0), at(b, 0), at(c, 0))) | narrow<Bf16>(f(at(a, 1), at(b, 1), at(c, 1))) << 16;
  };
  check_operation("fma.rn.bf16x2 %d, %a, %b, %c;", values, 32, [=](u64 a, u64 b, u64 c) {
    return halves(a, b, c, [](double x, double y, double z) { return x * y + z; });
  });
  check_operation("add.bf16x2 %d, %a, %b;", values, 32, [=](u64 a, u64 b, u64 c) {
    return halves(a, b, c, [](double x, double y, double) { return x + y; });
  });
  check_operation("max.bf16x2 %d, %a, %b;", values, 32, [=](u64 a, u64 b, u64 c) {
    return halves(a, b, c, [](double x, double y, double) { return std::fmax(x, y); });
  });
}

TEST(comparisons_of_floats) {
  const auto compare = [](const std::string& how, const std::function<bool(float, float)>& expected) {
    std::vector<u64> values;
    for (const float x : kReals) values.push_back(f32(x));
    check_operation("setp." + how + ".f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", values, 32,
                    [&](u64 a, u64 b, u64) { return u64{expected(x32(a), x32(b))}; });
  };
  const auto unordered = [](float a, float b) { return a != a || b != b; };
  compare("lt", [](float a, float b) { return a < b; });
  compare("ge", [](float a, float b) { return a >= b; });
  compare("eq", [](float a, float b) { return a == b; });
  compare("ne", [=](float a, float b) { return !unordered(a, b) && a != b; });
  compare("neu", [](float a, float b) { return a != b; });
  compare("equ", [=](float a, float b) { return unordered(a, b) || a == b; });
  compare("ltu", [=](float a, float b) { return unordered(a, b) || a < b; });
  compare("leu", [=](float a, float b) { return unordered(a, b) || a <= b; });
  compare("gtu", [=](float a, float b) { return unordered(a, b) || a > b; });
  compare("geu", [=](float a, float b) { return unordered(a, b) || a >= b; });
  compare("num", [=](float a, float b) { return !unordered(a, b); });
  compare("nan", [=](float a, float b) { return unordered(a, b); });
}

TEST(properties_of_floats) {
  const auto property = [](const std::string& name, bool (*expected)(float)) {
    std::vector<u64> values;
    for (const float x : kReals) values.push_back(f32(x));
    check_operation("testp." + name + ".f32 %p, %a; selp.u32 %d, 1, 0, %p;", values, 32,
                    [=](u64 a, u64, u64) { return u64{expected(x32(a))}; });
  };
  property("finite", [](float x) { return std::isfinite(x); });
  property("infinite", [](float x) { return std::isinf(x); });
  property("number", [](float x) { return x == x; });
  property("notanumber", [](float x) { return x != x; });
  property("normal", [](float x) { return std::isnormal(x); });
  property("subnormal", [](float x) { return x != 0 && std::fabs(x) < 0x1p-126f; });
}

}  // namespace
}  // namespace ptxsim
