#include "settings.cuh"

#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "../../thread_pool.h"
#include "../device.cuh"

namespace sffn::cuda {
namespace {

constexpr std::pair<const char*, Wish> kWishes[] = {{"auto", Wish::automatic}, {"on", Wish::on}, {"off", Wish::off}};
constexpr std::pair<const char*, int> kTiles[] = {{"auto", 0}, {"64", 64}, {"128", 128}};

template <class T, size_t kCount>
T parsed(const std::string& name, const std::string* value, const std::pair<const char*, T> (&choices)[kCount]) {
  std::string expected;
  for (const auto& [text, choice] : choices) {
    if (value && *value == text) return choice;
    expected += (expected.empty() ? "" : ", ");
    expected += text;
  }
  throw Error("ERR_OPTION",
              name + ": expected one of " + expected + ", got " + (value ? "'" + *value + "'" : "a number"));
}

template <class T, size_t kCount>
std::string text_of(T value, const std::pair<const char*, T> (&choices)[kCount]) {
  return std::find_if(choices, choices + kCount, [=](const auto& choice) { return choice.second == value; })->first;
}

template <class T, size_t kCount>
T from_environment(const char* variable, const std::pair<const char*, T> (&choices)[kCount]) {
  const char* value = std::getenv(variable);
  if (!value) return choices[0].second;
  const std::string text = value;
  return parsed(variable, &text, choices);
}

auto member_of(const std::string& name) -> double Costs::* {
  for (const auto& [known, member] : kCosts)
    if (name == known) return member;
  throw Error("ERR_OPTION", "settings: '" + name + "' is none of them");
}

double checked_cost(const std::string& name, const Setting& value) {
  const double* const number = std::get_if<double>(&value);
  if (number && std::isfinite(*number) && *number > 0) return *number;
  throw Error("ERR_OPTION", name + ": expected a positive finite number, got " +
                                (number ? std::to_string(*number) : "'" + std::get<std::string>(value) + "'"));
}

// Read and written under the compute_mutex of the device.
GemmSettings& known_settings(int index) {
  static std::mutex making;
  static std::unique_ptr<GemmSettings> known[kMostDevices];
  const std::lock_guard lock(making);
  if (!known[index]) known[index] = std::make_unique<GemmSettings>();
  return *known[index];
}

std::recursive_mutex& mutex_of(int index) { return compute_mutex({DeviceKind::cuda, static_cast<uint8_t>(index)}); }

}  // namespace

GemmSettings::GemmSettings()
    : switches{.chains = from_environment("STRUCTURED_FFN_CUDA_CHAINS", kWishes),
               .wgmma = from_environment("STRUCTURED_FFN_CUDA_WGMMA", kWishes),
               .tile = from_environment("STRUCTURED_FFN_CUDA_TILE", kTiles)} {}

const Switches& switches() { return state().gemm.switches; }
const Costs& costs() { return state().gemm.costs; }

const GemmSettings& gemm_settings_of(int index) { return known_settings(index); }

Settings gemm_settings(int index) {
  const std::lock_guard lock(mutex_of(index));
  const auto& [s, costs] = known_settings(index);
  Settings values{{"use_chains", text_of(s.chains, kWishes)},
                  {"use_wgmma", text_of(s.wgmma, kWishes)},
                  {"tile", text_of(s.tile, kTiles)}};
  for (const auto& [name, member] : kCosts) values[name] = costs.*member;
  return values;
}

void set_gemm_settings(int index, const Settings& values) {
  const std::lock_guard lock(mutex_of(index));
  GemmSettings changed = known_settings(index);
  for (const auto& [name, value] : values) {
    const std::string* const text = std::get_if<std::string>(&value);
    if (name == "use_chains")
      changed.switches.chains = parsed(name, text, kWishes);
    else if (name == "use_wgmma")
      changed.switches.wgmma = parsed(name, text, kWishes);
    else if (name == "tile")
      changed.switches.tile = parsed(name, text, kTiles);
    else
      changed.costs.*member_of(name) = checked_cost(name, value);
  }
  known_settings(index) = changed;
}

}  // namespace sffn::cuda
