#include "settings.cuh"

#include <cmath>
#include <cstdlib>

#include "../../thread_pool.h"

namespace sffn::cuda {
namespace {

constexpr std::pair<const char*, Wish> kWishes[] = {{"auto", Wish::automatic}, {"on", Wish::on}, {"off", Wish::off}};
constexpr std::pair<const char*, int> kTiles[] = {{"auto", 0}, {"64", 64}, {"128", 128}};

template <class T, size_t kCount>
T parsed(const std::string& name, const std::string& value, const std::pair<const char*, T> (&choices)[kCount]) {
  std::string expected;
  for (const auto& [text, choice] : choices) {
    if (value == text) return choice;
    expected += (expected.empty() ? "" : ", ");
    expected += text;
  }
  throw Error("ERR_OPTION", name + ": expected one of " + expected + ", got '" + value + "'");
}

template <class T, size_t kCount>
std::string text_of(T value, const std::pair<const char*, T> (&choices)[kCount]) {
  return std::find_if(choices, choices + kCount, [=](const auto& choice) { return choice.second == value; })->first;
}

template <class T, size_t kCount>
T from_environment(const char* variable, const std::pair<const char*, T> (&choices)[kCount]) {
  const char* value = std::getenv(variable);
  return value ? parsed(variable, value, choices) : choices[0].second;
}

Switches& known_switches() {
  static Switches known{.chains = from_environment("STRUCTURED_FFN_CUDA_CHAINS", kWishes),
                        .wgmma = from_environment("STRUCTURED_FFN_CUDA_WGMMA", kWishes),
                        .tile = from_environment("STRUCTURED_FFN_CUDA_TILE", kTiles)};
  return known;
}

Costs& known_costs() {
  static Costs known;
  return known;
}

}  // namespace

const Switches& switches() { return known_switches(); }
const Costs& costs() { return known_costs(); }

}  // namespace sffn::cuda

namespace sffn {

using namespace cuda;

std::map<std::string, std::string> gemm_switches() {
  const ComputeScope scope;
  const Switches& s = switches();
  return {
      {"chains", text_of(s.chains, kWishes)}, {"wgmma", text_of(s.wgmma, kWishes)}, {"tile", text_of(s.tile, kTiles)}};
}

void set_gemm_switches(const std::map<std::string, std::string>& values) {
  const ComputeScope scope;
  Switches changed = switches();
  for (const auto& [name, value] : values) {
    const std::string where = "gemm switch " + name;
    if (name == "chains")
      changed.chains = parsed(where, value, kWishes);
    else if (name == "wgmma")
      changed.wgmma = parsed(where, value, kWishes);
    else if (name == "tile")
      changed.tile = parsed(where, value, kTiles);
    else
      throw Error("ERR_OPTION", "gemm switches: expected chains, wgmma and tile, got '" + name + "'");
  }
  known_switches() = changed;
}

std::map<std::string, double> gemm_costs() {
  const ComputeScope scope;
  std::map<std::string, double> values;
  for (const auto& [name, member] : kCosts) values[name] = costs().*member;
  return values;
}

void set_gemm_costs(const std::map<std::string, double>& values) {
  const ComputeScope scope;
  Costs changed = costs();
  for (const auto& [name, value] : values) {
    const auto known =
        std::find_if(std::begin(kCosts), std::end(kCosts), [&](const auto& cost) { return name == cost.first; });
    if (known == std::end(kCosts)) throw Error("ERR_OPTION", "gemm costs: '" + name + "' is none of them");
    if (!(std::isfinite(value) && value > 0))
      throw Error("ERR_OPTION",
                  "gemm costs: " + name + ": expected a positive finite number, got " + std::to_string(value));
    changed.*known->second = value;
  }
  known_costs() = changed;
}

}  // namespace sffn
