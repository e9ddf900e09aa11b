// Activations against their formulas in float64, their derivatives against central differences of these.
#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "cuda/activation.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

double formula(Activation kind, double a, double up) {
  const double silu = a / (1 + std::exp(-a));
  switch (kind) {
    case Activation::gelu:
      return 0.5 * a * (1 + std::tanh(std::sqrt(2 / M_PI) * (a + 0.044715 * a * a * a)));
    case Activation::silu:
      return silu;
    case Activation::relu:
      return std::fmax(a, 0);
    case Activation::swiglu:
      return silu * up;
    default:
      return a;
  }
}

// By a; by up where `by_up`. Wide steps are as good where the formula is as good as linear.
double difference(Activation kind, double a, double up, bool by_up) {
  const double step = 1e-4 * std::fmax(1, std::abs(by_up ? up : a) / 10), half = step / 2;
  const auto at = [&](double shift) { return by_up ? formula(kind, a, up + shift) : formula(kind, a + shift, up); };
  return (at(half) - at(-half)) / step;
}

// Up to where a² is still a float: beyond, the derivative of gelu is no number.
std::vector<float> arguments() {
  std::vector<float> all = {0, -0.f};
  for (int i = 1; i <= 12 * 64; ++i)
    for (const float sign : {1.f, -1.f}) all.push_back(sign * static_cast<float>(i) / 64);
  for (const float size : {1e-40f, 1e-30f, 1e-10f, 1e-4f, 15.f, 20.f, 50.f, 88.f, 89.f, 104.f, 1e4f, 1e10f, 1e19f})
    for (const float sign : {1.f, -1.f}) all.push_back(sign * size);
  return all;
}

constexpr Activation kOfOne[] = {Activation::none, Activation::gelu, Activation::silu, Activation::relu};

// How far off a value may be. gelu by tanh is as exact as 1 is in its tail; silu has all its bits until e^-a is too
// large for a float.
double tolerance(Activation kind, double a, double up) {
  switch (kind) {
    case Activation::gelu:
      return 4e-7 * std::abs(a);
    case Activation::silu:
      return 1e-6 * std::abs(formula(kind, a, up)) + 1e-36;
    case Activation::swiglu:
      return tolerance(Activation::silu, a, 0) * std::abs(up);
    default:
      return 0;
  }
}

bool close(float value, double expected, double tolerance) { return std::abs(value - expected) <= tolerance; }

void fail_at(Activation kind, float a) {
  unit::fail(__FILE__, __LINE__, "kind " + std::to_string(static_cast<int>(kind)) + " at " + std::to_string(a));
}

void check_values(Activation kind) {
  for (const float a : arguments())
    if (!close(activated(kind, a), formula(kind, a, 0), tolerance(kind, a, 0))) return fail_at(kind, a);
}

TEST(activations_are_their_formulas) {
  for (const Activation kind : kOfOne) check_values(kind);
}

bool gradient_is_right(Activation kind, float dy, float a, float up) {
  const bool gated = kind == Activation::swiglu;
  const double size = gated ? std::abs(up) : 1;
  const Gradient gradient = gradient_of(kind, dy, a, up);
  const double by_gate = dy * difference(kind, a, up, false), by_up = gated ? dy * difference(kind, a, up, true) : 0;
  return close(gradient.activated, formula(kind, a, up), tolerance(kind, a, up)) &&
         close(gradient.gate, by_gate, 3e-6 * std::abs(dy) * size) &&
         close(gradient.up, by_up, 2 * tolerance(Activation::silu, a, 0) * std::abs(dy));
}

void check_gradients(Activation kind) {
  for (const float a : arguments()) {
    if (kind == Activation::relu && std::abs(a) < 1e-3f) continue;
    for (const float dy : {-1.5f, 0.f, 1e-3f, 2e5f})
      for (const float up : {-2.5f, 0.f, 1.f, 3e4f})
        if (!gradient_is_right(kind, dy, a, up)) return fail_at(kind, a);
  }
}

TEST(gradients_are_differences) {
  for (const Activation kind : kOfOne) check_gradients(kind);
  check_gradients(Activation::swiglu);
}

TEST(relu_at_its_corner) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  CHECK(relu(tiny) == tiny && relu(-tiny) == 0 && relu(0) == 0);
  CHECK(relu_derivative(tiny) == 1 && relu_derivative(-tiny) == 0 && relu_derivative(0) == 0);
}

TEST(infinities_where_there_is_a_limit) {
  CHECK(sigmoid(kInfinity) == 1 && sigmoid(-kInfinity) == 0);
  for (const Activation kind : kOfOne) CHECK(activated(kind, kInfinity) == kInfinity);
  CHECK(relu(-kInfinity) == 0);
  CHECK(relu_derivative(kInfinity) == 1 && relu_derivative(-kInfinity) == 0);
}

TEST(activations_keep_nan) {
  for (const Activation kind : kOfOne) CHECK(std::isnan(activated(kind, kNaN)));
  for (const Activation kind : {Activation::gelu, Activation::silu, Activation::swiglu})
    CHECK(std::isnan(gradient_of(kind, 1, kNaN, 1).gate) && std::isnan(gradient_of(kind, 1, kNaN, 1).activated));
  CHECK(std::isnan(gradient_of(Activation::swiglu, 1, 1, kNaN).gate));
  CHECK(std::isnan(gradient_of(Activation::swiglu, 1, kNaN, 1).up));
}

}  // namespace
}  // namespace sffn::cuda
