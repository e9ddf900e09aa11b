// Which instruction set the kernels use: the best one of the processor, or the one asked for.
#include <atomic>
#include <cstdlib>

#include "../kernels.h"

namespace sffn {

namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace avx512bf16 {
extern const Kernels kernels;
}

namespace {

struct Isa {
  const char* name;
  const Kernels* kernels;
  bool available;
};

#if defined(__x86_64__)
bool has_avx512() {
#ifdef SFFN_EMULATED_AVX512
  return true;
#else
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#endif
}
bool has_bf16() {
#ifdef SFFN_EMULATED_AVX512
  return true;
#else
  return __builtin_cpu_supports("avx512bf16");
#endif
}
#endif

std::span<const Isa> isas() {
  static const Isa table[] = {
#if defined(__x86_64__)
    {"avx512bf16", &avx512bf16::kernels, has_avx512() && has_bf16()},
    {"avx512", &avx512::kernels, has_avx512()},
    {"avx2", &avx2::kernels,
     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")},
#endif
#if defined(__aarch64__)
    {"neon", &baseline::kernels, true},
#else
    {"baseline", &baseline::kernels, true},
#endif
  };
  return table;
}

const Isa* find(const std::string& name) {
  for (const Isa& isa : isas())
    if (isa.available && name == isa.name) return &isa;
  throw Error("ERR_OPTION", "STRUCTURED_FFN_ISA: expected one of " + available_isas() + ", got '" + name + "'");
}

const Isa* first_choice() {
  if (const char* wanted = std::getenv("STRUCTURED_FFN_ISA")) return find(wanted);
  const Isa* isa = isas().data();
  while (!isa->available) ++isa;
  return isa;
}

std::atomic<const Isa*>& current() {
  static std::atomic<const Isa*> isa{first_choice()};
  return isa;
}

}  // namespace

const Kernels& cpu_kernels() { return *current().load(std::memory_order_relaxed)->kernels; }

std::string available_isas() {
  std::string names;
  for (const Isa& isa : isas())
    if (isa.available) names += (names.empty() ? "" : ",") + std::string(isa.name);
  return names;
}

std::string current_isa() { return current().load()->name; }

void set_isa(const std::string& name) { current().store(find(name)); }

}  // namespace sffn
