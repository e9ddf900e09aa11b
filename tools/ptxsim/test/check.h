// What the tests of the executor share: Kernel runs PTX text.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "../../unit/unit.h"
#include "../src/executor.h"
#include "../src/module.h"

namespace ptxsim {

using unit::fail;

/** A PTX module with its own device. */
class Kernel {
 public:
  /** `body`: the statements of a kernel `k` with the parameters p0 to p3 (u64); `before`: what the module declares. */
  explicit Kernel(const std::string& body, const std::string& before = "");

  u64 buffer(const std::vector<u64>& values);
  /** Memory that was never written. */
  u64 empty(u64 bytes);
  std::vector<u64> read(u64 buffer, size_t count);

  void run(const std::vector<u64>& parameters, u32 threads = kLanes, u32 blocks = 1, u32 dynamic_shared = 0);
  /** Whether a finding of the kind was made; a kind "" asks for any. */
  bool found(const std::string& kind) const;
  std::string describe() const;

  Options options;
  DeviceMemory memory;
  std::vector<Finding> findings;
  Counters counters;
  std::string fault;
  Program* program = nullptr;

 private:
  Module module_;
};

using Expected = std::function<u64(u64 a, u64 b, u64 c)>;

/** Runs `statements`, which make %d of %a, %b and %c, on every lane for many choices of the values, and compares the
 * low `bits` of %d. Predicates %p and %q and registers %t0 to %t3 are there for use. */
void check_operation(const std::string& statements, const std::vector<u64>& values, int bits, const Expected& expected);

/** Runs the body on one warp, for %a = the lane's value, and compares %d. */
void check_warp(const std::string& statements, const std::function<u64(u32 lane)>& input,
                const std::function<u64(u32 lane)>& expected);

/** Values at which integer instructions go wrong. */
const std::vector<u64>& integers();

u64 f32(float x);
u64 f64(double x);

}  // namespace ptxsim
