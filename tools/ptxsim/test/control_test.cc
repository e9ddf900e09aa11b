// Branches, calls, barriers, mbarriers, schedules.
#include "check.h"

namespace ptxsim {
namespace {

u64 identity(u32 lane) { return lane; }

TEST(loops_and_divergence) {
  // Every lane runs the loop as often as its number says.
  check_warp(
      "mov.u32 %t0, 0; loop: setp.ge.u32 %p, %t0, %a; @%p bra done; add.u32 %d, %d, %t0; add.u32 %t0, %t0, 1;"
      "bra loop; done:",
      identity, [](u32 l) { return l > 0 ? u64{l} * (l - 1) / 2 : 0; });
  check_warp(
      "setp.lt.u32 %p, %a, 10; @%p bra small; mov.u32 %d, 2; bra join; small: mov.u32 %d, 1; join: add.u32 %d, %d, 10;",
      identity, [](u32 l) { return l < 10 ? 11 : 12; });
}

TEST(branch_tables) {
  check_warp(
      "rem.u32 %t0, %a, 3; ts: .branchtargets L0, L1, L2; brx.idx %t0, ts;"
      "L0: mov.u32 %d, 100; bra end; L1: mov.u32 %d, 200; bra end; L2: mov.u32 %d, 300; end:",
      identity, [](u32 l) { return u64{100} * (l % 3 + 1); });
}

const std::string kFunction =
    ".func (.param .b32 result) twice_plus(.param .b32 x, .param .b64 y) { .reg .b32 %r<4>; .reg .b64 %y;"
    "ld.param.u32 %r1, [x]; ld.param.u64 %y, [y]; cvt.u32.u64 %r2, %y; mad.lo.u32 %r3, %r1, 2, %r2;"
    "st.param.b32 [result], %r3; ret; }";

TEST(calls) {
  Kernel kernel(
      ".reg .b32 %i, %r; .reg .b64 %out, %at; .reg .pred %p; ld.param.u64 %out, [p0]; mov.u32 %i, %tid.x; mov.u32 %r, "
      "7;"
      "setp.gt.u32 %p, %i, 20; @%p bra skip;"
      "{ .param .b32 a; .param .b64 b; .param .b32 c; st.param.b32 [a], %i; st.param.b64 [b], 5;"
      "call.uni (c), twice_plus, (a, b); ld.param.b32 %r, [c]; }"
      "skip: mad.wide.u32 %at, %i, 8, %out; cvt.u64.u32 %at, %r; mad.wide.u32 %out, %i, 8, %out; st.global.u64 [%out], "
      "%at; ret;",
      kFunction);
  const u64 out = kernel.empty(kLanes * 8);
  kernel.run({out});
  CHECK(!kernel.found(""));
  for (u32 l = 0; l < kLanes; ++l) CHECK(kernel.read(out, kLanes)[l] == (l > 20 ? 7 : 2 * l + 5));
}

// Warps hand values on through shared memory, two barriers per step; each schedule must give the same.
TEST(barriers_in_every_schedule) {
  const std::string body =
      ".reg .b32 %i, %j, %s, %r, %v, %k; .reg .b64 %out, %at; .reg .pred %p; ld.param.u64 %out, [p0]; mov.u32 %i, "
      "%tid.x;"
      "mov.u32 %v, %i; mov.u32 %k, 0; mov.u32 %s, tile; mad.lo.u32 %s, %i, 4, %s; add.u32 %j, %i, 33; rem.u32 %j, %j, "
      "128;"
      "mov.u32 %r, tile; mad.lo.u32 %r, %j, 4, %r;"
      "loop: st.shared.u32 [%s], %v; bar.sync 0; ld.shared.u32 %v, [%r]; bar.sync 0; add.u32 %k, %k, 1;"
      "setp.lt.u32 %p, %k, 5; @%p bra loop; cvt.u64.u32 %at, %v; mad.wide.u32 %out, %i, 8, %out; st.global.u64 [%out], "
      "%at; ret;";
  for (const Schedule schedule : {Schedule::forward, Schedule::reverse, Schedule::random}) {
    Kernel kernel(body, ".shared .align 4 .b8 tile[512];");
    kernel.options.schedule = schedule;
    const u64 out = kernel.empty(128 * 8);
    kernel.run({out}, 128);
    if (kernel.found("")) fail(__FILE__, __LINE__, kernel.describe());
    for (u32 i = 0; i < 128; ++i) CHECK(kernel.read(out, 128)[i] == (i + 165) % 128);
  }
}

TEST(reducing_barriers) {
  Kernel kernel(
      ".reg .b32 %i, %r; .reg .b64 %out, %v; .reg .pred %p, %q, %s; ld.param.u64 %out, [p0]; mov.u32 %i, %tid.x;"
      "setp.lt.u32 %p, %i, 40; barrier.cta.red.popc.aligned.u32 %r, 0, %p; bar.red.or.pred %q, 0, %p; bar.red.and.pred "
      "%s, 0, %p;"
      "selp.u32 %i, 1000, 0, %q; add.u32 %r, %r, %i; selp.u32 %i, 5000, 0, %s; add.u32 %r, %r, %i; cvt.u64.u32 %v, %r;"
      "mov.u32 %i, %tid.x; mad.wide.u32 %out, %i, 8, %out; st.global.u64 [%out], %v; ret;");
  const u64 out = kernel.empty(64 * 8);
  kernel.run({out}, 64);
  CHECK(!kernel.found(""));
  CHECK(kernel.read(out, 64)[50] == 1040);
}

// A producer warp fills two buffers in turn by bulk copies; consumers wait for the full ones and hand back the empty
// ones.
TEST(mbarriers_and_bulk_copies) {
  const std::string body =
      ".reg .b32 %i, %w, %t, %slot, %phase, %s, %full, %empty, %v, %sum, %x; .reg .b64 %in, %out, %at; .reg .pred %p, "
      "%q;"
      "ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1]; mov.u32 %i, %tid.x; shr.u32 %w, %i, 5; setp.ne.u32 %p, %i, 0; "
      "@%p bra ready;"
      "mbarrier.init.shared.b64 [fulls], 1; mbarrier.init.shared.b64 [fulls+8], 1; mbarrier.init.shared.b64 [empties], "
      "32;"
      "mbarrier.init.shared.b64 [empties+8], 32; fence.proxy.async.shared::cta;"
      "ready: bar.sync 0; mov.u32 %t, 0; mov.u32 %sum, 0;"
      "loop: and.b32 %slot, %t, 1; shr.u32 %phase, %t, 1; and.b32 %phase, %phase, 1; mov.u32 %full, fulls; mad.lo.u32 "
      "%full, %slot, 8, %full;"
      "mov.u32 %empty, empties; mad.lo.u32 %empty, %slot, 8, %empty; mov.u32 %s, tiles; mad.lo.u32 %s, %slot, 128, %s;"
      "setp.ne.u32 %p, %w, 0; @%p bra consume; setp.ne.u32 %p, %i, 0; @%p bra next; setp.lt.u32 %p, %t, 2; @%p bra "
      "issue;"
      "xor.b32 %x, %phase, 1; wait1: mbarrier.try_wait.parity.shared.b64 %q, [%empty], %x; @!%q bra wait1;"
      "issue: mbarrier.arrive.expect_tx.shared.b64 _, [%full], 128; mad.wide.u32 %at, %t, 128, %in;"
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%s], [%at], 128, [%full]; bra next;"
      "consume: mbarrier.try_wait.parity.shared.b64 %q, [%full], %phase; @!%q bra consume; and.b32 %v, %i, 31; "
      "mad.lo.u32 %v, %v, 4, %s;"
      "ld.shared.u32 %v, [%v]; add.u32 %sum, %sum, %v; mbarrier.arrive.shared.b64 _, [%empty];"
      "next: add.u32 %t, %t, 1; setp.lt.u32 %p, %t, 6; @%p bra loop; setp.eq.u32 %p, %w, 0; @%p ret;"
      "cvt.u64.u32 %at, %sum; and.b32 %v, %i, 31; mad.wide.u32 %out, %v, 8, %out; st.global.u64 [%out], %at; ret;";
  for (const Schedule schedule : {Schedule::forward, Schedule::reverse, Schedule::random}) {
    Kernel kernel(
        body, ".shared .align 16 .b8 tiles[256]; .shared .align 8 .b64 fulls[2]; .shared .align 8 .b64 empties[2];");
    kernel.options.schedule = schedule;
    std::vector<u64> input;
    for (u64 i = 0; i < 96; ++i) input.push_back((2 * i) | (2 * i + 1) << 32);  // 192 words, word i holding i
    const u64 out = kernel.empty(kLanes * 8);
    kernel.run({kernel.buffer(input), out}, 64);
    if (kernel.found("") || !kernel.fault.empty()) fail(__FILE__, __LINE__, kernel.describe());
    for (u32 l = 0; l < kLanes; ++l) CHECK(kernel.read(out, kLanes)[l] == 6 * l + 32 * 15);
  }
}

TEST(unknown_ptx_is_refused) {
  const auto refused = [](const std::string& body) {
    try {
      Kernel kernel(".reg .b32 %r<4>; " + body);
      return false;
    } catch (const PtxError&) {
      return true;
    }
  };
  CHECK(refused("frobnicate.u32 %r1, %r2;"));
  CHECK(refused("sqrt.rz.f32 %r1, %r2;"));
  CHECK(refused("bra nowhere;"));
  CHECK(refused("add.u32 %r1, %r2, unknown;"));
  CHECK(!refused("ret;"));
}

TEST(executions_are_counted) {
  Kernel kernel(
      ".reg .b32 %i; .reg .pred %p;\nmov.u32 %i, 0;\nloop: add.u32 %i, %i, 1;\nsetp.lt.u32 %p, %i, 9;\n@%p bra "
      "loop;\nret;");
  kernel.run({});
  CHECK(kernel.program->executions[0] == 1 && kernel.program->executions[1] == 9);
}

}  // namespace
}  // namespace ptxsim
