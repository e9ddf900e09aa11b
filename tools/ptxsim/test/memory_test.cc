// Loads, stores, atomics, address spaces, cp.async.
#include "check.h"

namespace ptxsim {
namespace {

const std::string kPointers =
    ".reg .b64 %in, %out, %at, %x, %y; .reg .b32 %i, %j, %s, %v<8>; .reg .pred %p;\n"
    "ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1]; mov.u32 %i, %tid.x;\n";
const std::string kStoreY = "mad.wide.u32 %at, %i, 8, %out; st.global.u64 [%at], %y; ret;";

/** Runs the body on one warp; returns %y of every lane, or the findings as a failure. */
std::vector<u64> run(const std::string& body, const std::vector<u64>& input, const std::string& before = "") {
  Kernel kernel(kPointers + body + kStoreY, before);
  const u64 out = kernel.empty(kLanes * 8);
  kernel.run({kernel.buffer(input), out});
  if (kernel.found("") || !kernel.fault.empty()) fail(__FILE__, __LINE__, body + kernel.describe());
  return kernel.read(out, kLanes);
}

std::vector<u64> sequence(u64 count, u64 factor) {
  std::vector<u64> values;
  for (u64 i = 0; i < count; ++i) values.push_back(i * factor);
  return values;
}

const std::vector<u64> kInput = sequence(kLanes * 2, 0x1122334455667789);

TEST(loads_extend_by_type) {
  const auto signed16 = run("mad.wide.u32 %at, %i, 8, %in; ld.global.s16 %y, [%at];", kInput);
  const auto unsigned8 = run("mad.wide.u32 %at, %i, 8, %in; ld.global.nc.u8 %y, [%at+1];", kInput);
  const auto signed32 = run("mad.wide.u32 %at, %i, 8, %in; ld.global.L1::no_allocate.s32 %y, [%at+4];", kInput);
  for (u32 i = 0; i < kLanes; ++i) {
    CHECK(signed16[i] == static_cast<u64>(static_cast<int16_t>(kInput[i])));
    CHECK(unsigned8[i] == (kInput[i] >> 8 & 0xFF));
    CHECK(signed32[i] == static_cast<u64>(static_cast<int32_t>(kInput[i] >> 32)));
  }
}

TEST(vector_loads_and_stores) {
  const auto sums =
      run("mad.wide.u32 %at, %i, 16, %in; ld.global.v4.u32 {%v0, %v1, %v2, %v3}, [%at]; mov.b64 %x, {%v0, %v1};"
          "mov.b64 %y, {%v2, %v3}; xor.b64 %y, %x, %y;",
          kInput);
  for (u32 i = 0; i < kLanes; ++i) CHECK(sums[i] == (kInput[2 * i] ^ kInput[2 * i + 1]));
  Kernel kernel(kPointers + "mad.wide.u32 %at, %i, 16, %out; st.global.v2.u64 [%at], {%in, 5}; ret;");
  const u64 out = kernel.empty(kLanes * 16);
  kernel.run({77, out});
  CHECK(kernel.read(out, 64)[62] == 77 && kernel.read(out, 64)[63] == 5);
}

TEST(constants_and_globals) {
  const auto values = run("mov.u64 %x, table; cvta.global.u64 %x, %x; mad.wide.u32 %at, 1, 4, %x; ld.s32 %y, [%at];",
                          kInput, ".const .align 4 .b32 table[3] = {7, -9, 11};");
  CHECK(values[0] == static_cast<u64>(-9));
}

TEST(local_memory) {
  const auto values =
      run(".local .align 8 .b8 depot[32]; mov.u64 %x, depot; cvta.local.u64 %x, %x; mad.wide.u32 %at, 1, 8, %x;"
          "cvt.u64.u32 %y, %i; st.u64 [%at], %y; mov.u64 %y, 0; ld.local.u64 %y, [depot+8];",
          kInput);
  for (u32 i = 0; i < kLanes; ++i) CHECK(values[i] == i);
}

TEST(parameters_by_address) {
  const auto values = run("mov.b64 %x, p0; ld.param.u64 %y, [%x]; sub.u64 %y, %y, %in;", kInput);
  CHECK(values[5] == 0);
}

TEST(shared_memory) {
  const auto values = run(
      "mov.u32 %s, tile; mad.lo.u32 %s, %i, 4, %s; st.shared.u32 [%s], %i; bar.sync 0;"
      "mov.u64 %x, tile; cvta.shared.u64 %x, %x; sub.u32 %j, 31, %i; mad.wide.u32 %at, %j, 4, %x; ld.u32 %y, [%at];",
      kInput, ".shared .align 16 .b8 tile[128];");
  for (u32 i = 0; i < kLanes; ++i) CHECK(values[i] == 31 - i);
}

TEST(dynamic_shared_memory_follows_the_static) {
  Kernel kernel(kPointers + "mov.u32 %v0, fixed; mov.u32 %v1, dynamic; mov.b64 %y, {%v0, %v1};" + kStoreY,
                ".shared .align 4 .b8 fixed[20]; .extern .shared .align 16 .b8 dynamic[];");
  const u64 out = kernel.empty(kLanes * 8);
  kernel.run({0, out}, kLanes, 1, 64);
  CHECK(kernel.read(out, 1)[0] == u64{32} << 32);
}

// Every lane on one cell: the lanes come one after the other.
u64 atomics(const std::string& text, u64 initial) {
  Kernel kernel(kPointers + "cvt.u64.u32 %x, %i; " + text + " ret;");
  const u64 cell = kernel.buffer({initial});
  kernel.run({cell, 0});
  CHECK(!kernel.found(""));
  return kernel.read(cell, 1)[0];
}

TEST(atomics_of_global_memory) {
  CHECK(atomics("atom.global.add.u32 %y, [%in], %i;", 1) == 497);
  CHECK(atomics("red.global.add.u64 [%in], %x;", u64{1} << 40) == (u64{1} << 40) + 496);
  CHECK(atomics("atom.global.max.s32 %y, [%in], %i;", 3) == 31);
  CHECK(atomics("atom.global.min.u32 %y, [%in], %i;", 3) == 0);
  CHECK(atomics("atom.global.and.b32 %y, [%in], %i;", 0xFFFFFFFF) == 0);
  CHECK(atomics("atom.global.or.b32 %y, [%in], %i;", 32) == 63);
  CHECK(atomics("atom.global.xor.b32 %y, [%in], %i;", 5) == 5);
  CHECK(atomics("atom.global.exch.b32 %y, [%in], %i;", 5) == 31);
  CHECK(atomics("atom.global.cas.b32 %y, [%in], %i, 100;", 7) == 100);
  CHECK(atomics("atom.global.inc.u32 %y, [%in], 30;", 0) == 1);
  CHECK(atomics("atom.global.dec.u32 %y, [%in], 9;", 0) == 8);
  CHECK(atomics("red.global.add.f32 [%in], 0f3F000000;", f32(1)) == f32(17));
  CHECK(atomics("atom.global.add.f64 %y, [%in], 0d3FE0000000000000;", f64(1)) == f64(17));
  CHECK(atomics("red.global.add.noftz.bf16x2 [%in], %v0;" + std::string(), 0x3F803F80) != 0);
}

TEST(atomics_of_shared_memory) {
  const auto values =
      run("setp.eq.u32 %p, %i, 0; @%p st.shared.u32 [cell], 100; bar.sync 0; atom.shared.add.u32 %y, [cell], 1;",
          kInput, ".shared .align 4 .b32 cell;");
  for (u32 i = 0; i < kLanes; ++i) CHECK(values[i] == 100 + i);
}

TEST(asynchronous_copies) {
  const std::string copy = "mov.u32 %s, tile; mad.lo.u32 %s, %i, 16, %s; mad.wide.u32 %at, %i, 16, %in;";
  const std::string tile = ".shared .align 16 .b8 tile[512];";
  const auto whole = run(copy +
                             "cp.async.cg.shared.global [%s], [%at], 16; cp.async.commit_group;"
                             "cp.async.wait_group 0; ld.shared.u64 %y, [%s+8];",
                         kInput, tile);
  const auto part =
      run(copy + "cp.async.ca.shared.global [%s], [%at], 16, 8; cp.async.wait_all; ld.shared.u64 %y, [%s+8];", kInput,
          tile);
  const auto first = run(copy +
                             "cp.async.ca.shared.global [%s], [%at], 8; cp.async.commit_group;"
                             "cp.async.ca.shared.global [%s+8], [%at], 8; cp.async.commit_group;"
                             "cp.async.wait_group 1; ld.shared.u64 %y, [%s]; cp.async.wait_group 0;",
                         kInput, tile);
  for (u32 i = 0; i < kLanes; ++i) {
    CHECK(whole[i] == kInput[2 * i + 1]);
    CHECK(part[i] == 0);
    CHECK(first[i] == kInput[2 * i]);
  }
}

TEST(sectors_and_wavefronts) {
  const auto count = [](u32 stride) {
    Kernel kernel(kPointers + "mad.wide.u32 %at, %i, " + std::to_string(stride) +
                      ", %in; ld.global.u32 %v0, [%at];"
                      "mov.u32 %s, tile; mad.lo.u32 %s, %i, " +
                      std::to_string(stride) + ", %s; st.shared.u32 [%s], %v0; ret;",
                  ".shared .align 16 .b8 tile[4096];");
    kernel.run({kernel.buffer(std::vector<u64>(512)), 0});
    CHECK(!kernel.found(""));
    return kernel.counters;
  };
  CHECK(count(4).global_load_sectors == 4 && count(4).ideal_load_sectors == 4);
  CHECK(count(32).global_load_sectors == 32 && count(32).ideal_load_sectors == 4);
  CHECK(count(4).shared_wavefronts == 1 && count(128).shared_wavefronts == 32);
  CHECK(count(8).shared_wavefronts == 2 && count(8).ideal_shared_wavefronts == 1);
  CHECK(count(32).unique_read_sectors == 32);
}

}  // namespace
}  // namespace ptxsim
