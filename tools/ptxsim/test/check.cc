#include "check.h"

#include <cstdio>
#include <cstring>

namespace ptxsim {
namespace {

const std::string kHeader = ".version 9.0\n.target sm_90a\n.address_size 64\n";

std::string kernel_text(const std::string& body, const std::string& before) {
  return kHeader + before + "\n.visible .entry k(.param .u64 p0, .param .u64 p1, .param .u64 p2, .param .u64 p3)\n{\n" +
         body + "\n}\n";
}

const std::string kOperands =
    ".reg .b64 %a, %b, %c, %d, %in, %out, %at; .reg .b32 %tid, %t<4>; .reg .pred %p, %q;\n"
    "ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1]; mov.u32 %tid, %tid.x;\n"
    "mad.wide.u32 %at, %tid, 32, %in;\n"
    "ld.global.u64 %a, [%at]; ld.global.u64 %b, [%at+8]; ld.global.u64 %c, [%at+16]; mov.b64 %d, 0;\n";
const std::string kResult = "\nmad.wide.u32 %at, %tid, 8, %out; st.global.u64 [%at], %d; ret;";

u64 low(u64 x, int bits) { return bits >= 64 ? x : x & ((u64{1} << bits) - 1); }

}  // namespace

Kernel::Kernel(const std::string& body, const std::string& before) : module_(kernel_text(body, before), memory) {
  program = module_.kernel("k");
}

u64 Kernel::buffer(const std::vector<u64>& values) {
  const u64 address = memory.allocate(values.size() * 8, "buffer");
  memory.upload(address, values.data(), values.size() * 8);
  return address;
}

u64 Kernel::empty(u64 bytes) { return memory.allocate(bytes, "empty"); }

std::vector<u64> Kernel::read(u64 buffer, size_t count) {
  std::vector<u64> values(count);
  memory.download(values.data(), buffer, count * 8);
  return values;
}

void Kernel::run(const std::vector<u64>& parameters, u32 threads, u32 blocks, u32 dynamic_shared) {
  std::vector<u8> bytes(32);
  std::memcpy(bytes.data(), parameters.data(), parameters.size() * 8);
  Executor executor(memory, *program, options);
  fault.clear();
  try {
    executor.run({blocks, 1, 1}, {threads, 1, 1}, dynamic_shared, bytes);
  } catch (const Fault& failure) {
    fault = failure.what();
  }
  findings = executor.findings();
  counters = executor.counters;
}

bool Kernel::found(const std::string& kind) const {
  for (const Finding& f : findings)
    if (kind.empty() || f.kind == kind) return true;
  return false;
}

std::string Kernel::describe() const {
  std::string text = fault;
  for (const Finding& f : findings) text += " | " + f.kind + ": " + f.message;
  return text;
}

void check_operation(const std::string& statements, const std::vector<u64>& values, int bits,
                     const Expected& expected) {
  Kernel kernel(kOperands + statements + kResult);
  u64 random = 1;
  const auto pick = [&] {
    random = random * 6364136223846793005 + 1442695040888963407;
    return values[(random >> 33) % values.size()];
  };
  constexpr u32 kThreads = 512;
  std::vector<u64> input;
  for (u32 i = 0; i < kThreads * 4; ++i) input.push_back(pick());
  const u64 in = kernel.buffer(input), out = kernel.empty(kThreads * 8);
  kernel.run({in, out}, kThreads);
  if (kernel.found("") || !kernel.fault.empty()) return fail(__FILE__, __LINE__, statements + ": " + kernel.describe());
  const std::vector<u64> actual = kernel.read(out, kThreads);
  for (u32 i = 0; i < kThreads; ++i) {
    const u64 a = input[4 * i], b = input[4 * i + 1], c = input[4 * i + 2], want = low(expected(a, b, c), bits);
    if (low(actual[i], bits) == want) continue;
    return fail(__FILE__, __LINE__,
                statements + " of " + hex(a) + ", " + hex(b) + ", " + hex(c) + ": " + hex(low(actual[i], bits)) +
                    ", expected " + hex(want));
  }
}

void check_warp(const std::string& statements, const std::function<u64(u32 lane)>& input,
                const std::function<u64(u32 lane)>& expected) {
  Kernel kernel(kOperands + statements + kResult);
  std::vector<u64> values(kLanes * 4);
  for (u32 lane = 0; lane < kLanes; ++lane) values[4 * lane] = input(lane);
  const u64 in = kernel.buffer(values), out = kernel.empty(kLanes * 8);
  kernel.run({in, out});
  if (kernel.found("") || !kernel.fault.empty()) return fail(__FILE__, __LINE__, statements + ": " + kernel.describe());
  const std::vector<u64> actual = kernel.read(out, kLanes);
  for (u32 lane = 0; lane < kLanes; ++lane)
    if (actual[lane] != expected(lane))
      return fail(__FILE__, __LINE__,
                  statements + ": lane " + std::to_string(lane) + " has " + hex(actual[lane]) + ", expected " +
                      hex(expected(lane)));
}

const std::vector<u64>& integers() {
  static const std::vector<u64> values = {0,
                                          1,
                                          2,
                                          3,
                                          7,
                                          8,
                                          15,
                                          16,
                                          31,
                                          32,
                                          33,
                                          63,
                                          64,
                                          100,
                                          127,
                                          128,
                                          255,
                                          256,
                                          0x7FFF,
                                          0x8000,
                                          0xFFFF,
                                          0x10000,
                                          0x12345678,
                                          0x7FFFFFFF,
                                          0x80000000,
                                          0x80000001,
                                          0xFFFFFFFE,
                                          0xFFFFFFFF,
                                          0x100000000,
                                          0x123456789ABCDEF0,
                                          0x7FFFFFFFFFFFFFFF,
                                          0x8000000000000000,
                                          0xFFFFFFFFFFFFFFFF,
                                          0xFEDCBA9876543210};
  return values;
}

u64 f32(float x) { return std::bit_cast<u32>(x); }
u64 f64(double x) { return std::bit_cast<u64>(x); }

}  // namespace ptxsim
