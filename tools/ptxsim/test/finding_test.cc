// Planted bugs: every check reports its bug in every schedule, and the correct program passes.
#include "check.h"

namespace ptxsim {
namespace {

const std::string kShared = ".shared .align 16 .b8 tile[1024];";
const std::string kPrefix =
    ".reg .b32 %i, %j, %s, %r, %v, %w<4>; .reg .b64 %in, %out, %at, %x, %a, %b; .reg .f32 %f<32>; .reg .pred %p, %q;"
    "ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1]; mov.u32 %i, %tid.x; mov.u32 %s, tile; mad.lo.u32 %s, %i, 4, %s;"
    "mov.u32 %r, tile; xor.b32 %j, %i, 63; mad.lo.u32 %r, %j, 4, %r;";

struct Shape {
  u32 threads = 64;
  u32 blocks = 1;
};

/** Runs the body under the three schedules; each must make a finding of the kind, or none at all for "". */
void expect(const std::string& kind, const std::string& body, Shape shape = {}) {
  for (const Schedule schedule : {Schedule::forward, Schedule::reverse, Schedule::random}) {
    Kernel kernel(kPrefix + body + " ret;", kShared);
    kernel.options.schedule = schedule;
    kernel.options.max_instructions = 1000000;
    const u64 in = kernel.buffer(std::vector<u64>(128, 1)), out = kernel.empty(1024);
    kernel.run({in, out}, shape.threads, shape.blocks);
    const bool right = kind.empty() ? !kernel.found("") && kernel.fault.empty() : kernel.found(kind);
    if (!right) fail(__FILE__, __LINE__, "expected '" + kind + "' of " + body + ", found" + kernel.describe());
  }
}

TEST(global_bounds) {
  expect("", "mad.wide.u32 %at, %i, 16, %out; st.global.u32 [%at], 1;");
  expect("global-out-of-bounds", "mad.wide.u32 %at, %i, 20, %out; st.global.u32 [%at], 1;");
  expect("global-out-of-bounds", "ld.global.u32 %v, [%in+-4];");
  expect("global-out-of-bounds", "mov.u64 %at, 0; ld.global.u32 %v, [%at];");
  expect("misaligned", "ld.global.u32 %v, [%in+2];");
  expect("misaligned", "ld.global.v4.u32 {%w0, %w1, %w2, %w3}, [%in+8];");
}

TEST(shared_bounds) {
  expect("shared-out-of-bounds", "st.shared.u32 [%s+1000], %i;");
  expect("misaligned", "st.shared.u64 [%s+4], %in;");
}

TEST(local_and_parameter_bounds) {
  expect("local-out-of-bounds", ".local .align 4 .b8 depot[16]; st.local.u32 [depot+16], %i;");
  expect("parameter-out-of-bounds", "ld.param.u64 %x, [p3+8];");
}

TEST(uninitialised_reads) {
  expect("global-uninitialised", "ld.global.u32 %v, [%out];");
  expect("global-uninitialised", "atom.global.add.u32 %v, [%out], 1;");
  expect("shared-uninitialised", "ld.shared.u32 %v, [%s];");
  expect("shared-uninitialised", "atom.shared.add.u32 %v, [%s], 1;");
}

TEST(shared_races) {
  expect("", "st.shared.u32 [%s], %i; bar.sync 0; ld.shared.u32 %v, [%r];");
  expect("", "st.shared.u32 [%s], %i; bar.sync 0; ld.shared.u32 %v, [%r]; bar.sync 0; st.shared.u32 [%s], %v;");
  // No barrier: read after write, or a read of what is not there yet; write after read; write after write.
  expect("shared race", "st.shared.u32 [%s], %i; bar.sync 0; st.shared.u32 [%s], 5; ld.shared.u32 %v, [%r];");
  expect("shared race", "st.shared.u32 [%s], %i; bar.sync 0; ld.shared.u32 %v, [%r]; st.shared.u32 [%s], %v;");
  expect("shared race", "mov.u32 %s, tile; shr.u32 %j, %i, 5; st.shared.u32 [%s], %j;");
}

TEST(races_within_a_warp) {
  const std::string neighbour =
      "xor.b32 %j, %i, 1; mov.u32 %r, tile; mad.lo.u32 %r, %j, 4, %r; st.shared.u32 [%s], %i;";
  expect("", neighbour + "bar.warp.sync -1; ld.shared.u32 %v, [%r];");
  expect("shared race within a warp", neighbour + "ld.shared.u32 %v, [%r];");
}

TEST(neighbouring_halves_do_not_race) {
  expect("", "mov.u32 %s, tile; shl.b32 %j, %i, 1; add.u32 %s, %s, %j; st.shared.u16 [%s], %i;");
  expect("", "mov.u32 %s, tile; add.u32 %s, %s, %i; st.shared.u8 [%s], %i;");
}

TEST(named_barriers) {
  // Warp 0 arrives, warp 1 waits and reads what warp 0 wrote.
  const std::string producer =
      "setp.lt.u32 %p, %i, 32; @!%p bra consume; st.shared.u32 [%s], %i; bar.arrive 1, 64; ret; consume:";
  expect("", producer + "bar.sync 1, 64; ld.shared.u32 %v, [%r];");
  expect("barrier-count", "bar.sync 1, 48;");
  Kernel kernel(kPrefix + producer +
                    "mov.u32 %v, 0; loop: add.u32 %v, %v, 1; setp.lt.u32 %q, %v, 1000; @%q bra loop;"
                    "ld.shared.u32 %v, [%r]; bar.sync 1, 64; ret;",
                kShared);
  kernel.run({kernel.buffer({1}), kernel.empty(8)}, 64);
  CHECK(kernel.found("shared race"));
}

TEST(named_barriers_order_only_their_warps) {
  // Warps 0 and 1 meet; warp 2 reads what warp 0 wrote before.
  expect("shared race",
         "st.shared.u32 [%s], %i; bar.sync 0; setp.lt.u32 %p, %i, 64; @!%p bra other; st.shared.u32 [%s], 5; bar.sync "
         "1, 64; ret;"
         "other: ld.shared.u32 %v, [tile];",
         {96});
}

TEST(races_between_blocks) {
  const std::string own = "mov.u32 %j, %ctaid.x; mad.lo.u32 %j, %j, 64, %i; mad.wide.u32 %at, %j, 4, %out;";
  expect("", own + "st.global.u32 [%at], 1;", {64, 2});
  expect("inter-block race", "mad.wide.u32 %at, %i, 4, %out; st.global.u32 [%at], 1;", {64, 2});
  // One block reads what the other writes.
  expect("inter-block race",
         "mov.u32 %j, %ctaid.x; setp.eq.u32 %p, %j, 0; @%p st.global.u32 [%in], %i; @!%p ld.global.u32 %v, [%in];",
         {1, 2});
  expect("", "atom.global.add.u32 %v, [%in], 1;", {64, 2});
  expect("inter-block race",
         "mov.u32 %j, %ctaid.x; setp.eq.u32 %p, %j, 0; @%p red.global.add.u32 [%in], 1; @!%p st.global.u32 [%in], 2;",
         {1, 2});
}

TEST(asynchronous_copies) {
  const std::string copy =
      "mad.wide.u32 %at, %i, 4, %in; cp.async.ca.shared.global [%s], [%at], 4; cp.async.commit_group;";
  expect("", copy + "cp.async.wait_group 0; bar.sync 0; ld.shared.u32 %v, [%r];");
  expect("cp.async-unwaited-read", copy + "ld.shared.u32 %v, [%s]; cp.async.wait_group 0;");
  expect("cp.async-unwaited-read", copy + "cp.async.wait_group 1; ld.shared.u32 %v, [%s]; cp.async.wait_group 0;");
  expect("cp.async-overwritten", copy + "st.shared.u32 [%s], 1; cp.async.wait_group 0;");
  expect("cp.async-unwaited", copy);
  // Waited for, but by other threads than those that read: only a barrier makes it visible.
  expect("shared race",
         copy + "cp.async.wait_group 0; bar.sync 0;" + copy + "cp.async.wait_group 0; ld.shared.u32 %v, [%r];");
  expect("cp.async-size", "cp.async.ca.shared.global [%s], [%in], 4, 5; cp.async.wait_all;");
  expect("misaligned", "cp.async.ca.shared.global [%s], [%in+2], 4; cp.async.wait_all;");
  expect("global-out-of-bounds", "cp.async.ca.shared.global [%s], [%in+1024], 4; cp.async.wait_all;");
}

TEST(divergence) {
  expect("divergent-barrier", "setp.lt.u32 %p, %i, 40; @%p bar.sync 0;");
  expect("divergent-barrier", "setp.lt.u32 %p, %i, 40; @!%p bra over; bar.sync 0; over:");
  expect("divergent-barrier", "setp.lt.u32 %p, %i, 40; @!%p ret; bar.sync 0;");
  expect("divergent-sync",
         "and.b32 %j, %i, 1; setp.ne.u32 %p, %j, 0; @!%p bra other; shfl.sync.bfly.b32 %v, %i, 2, 31, -1; bra over;"
         "other: shfl.sync.bfly.b32 %v, %i, 2, 31, -1; over:");
  expect("sync-mask", "and.b32 %j, %i, 1; setp.ne.u32 %p, %j, 0; @%p ret; shfl.sync.bfly.b32 %v, %i, 2, 31, -1;");
  expect("sync-mask", "shfl.sync.idx.b32 %v, %i, 0, 31, 0xFFFF;");
  expect("shuffle-inactive",
         "setp.lt.u32 %p, %i, 16; @!%p bra over; shfl.sync.bfly.b32 %v, %i, 16, 31, 0xFFFF; over:", {32});
  expect("divergent-sync",
         "setp.lt.u32 %p, %i, 8; @!%p bra other; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%v}, [tile]; bra over;"
         "other: ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%v}, [tile]; over:");
}

TEST(deadlocks) {
  expect("deadlock", "setp.lt.u32 %p, %i, 32; @!%p bra other; bar.sync 1, 64; bra over; other: bar.sync 2, 64; over:");
  expect("deadlock",
         "mbarrier.init.shared.b64 [tile], 500; bar.sync 0; wait: mbarrier.try_wait.parity.shared.b64 %p, [tile], 0; "
         "@!%p bra wait;");
  expect("endless", "loop: bra loop;");
}

TEST(mbarrier_misuse) {
  expect("mbarrier", "mbarrier.arrive.shared.b64 _, [tile];");
  expect("misaligned", "mbarrier.init.shared.b64 [tile+4], 1;");
}

// One warpgroup, operands in shared memory without swizzle: descriptor of tile, strides of 128 bytes.
TEST(proxy_fences_and_wgmma) {
  std::string list = "{%f0";
  for (int i = 1; i < 4; ++i) list += ", %f" + std::to_string(i);
  list += "}";
  const std::string fill =
      "mad.lo.u32 %s, %i, 4, %s; mov.u32 %s, tile; mad.lo.u32 %s, %i, 8, %s; mov.u64 %x, 0x3F803F803F803F80;"
      "st.shared.u64 [%s], %x;";
  // All operands lie within the 1024 bytes: A's blocks overlap, which does not change the sums of ones.
  const std::string product =
      "bar.sync 0; cvt.u64.u32 %x, tile; shr.u64 %x, %x, 4; mov.u64 %a, 0x0000000100080000; or.b64 %a, %a, %x;"
      "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 " +
      list +
      ", %a, %a, 0, 1, 1, 0, 0;"
      "wgmma.commit_group.sync.aligned;";
  const std::string wait = "wgmma.wait_group.sync.aligned 0;";
  const std::string use = "mad.wide.u32 %at, %i, 4, %out; st.global.f32 [%at], %f0;";
  expect("", fill + "fence.proxy.async;" + product + wait + use, {128});
  expect("missing proxy fence", fill + product + wait + use, {128});
  expect("wgmma-unwaited", fill + "fence.proxy.async;" + product + use + wait, {128});
  expect("wgmma-unwaited", fill + "fence.proxy.async;" + product, {128});
  const std::string overwrite = "bar.sync 0; st.shared.u64 [%s], %x;";
  expect("", fill + "fence.proxy.async;" + product + wait + overwrite, {128});
  expect("wgmma-overwritten", fill + "fence.proxy.async;" + product + overwrite + wait, {128});
}

TEST(traps_and_asserts) {
  expect("trap", "trap;");
  expect("branch-index", "ts: .branchtargets L0; mov.u32 %v, 1; brx.idx %v, ts; L0:");
  expect("address-space", "mov.u64 %x, 64; cvta.to.shared.u64 %x, %x;");
  Kernel kernel(
      ".param .b64 a; .param .b64 b; .param .b32 c; .param .b64 d; .param .b64 e; .reg .b64 %x; mov.u64 %x, text;"
      "st.param.b64 [a], %x; st.param.b64 [b], %x; st.param.b32 [c], 12; st.param.b64 [d], %x; st.param.b64 [e], 1;"
      "call.uni __assertfail, (a, b, c, d, e); ret;",
      ".extern .func __assertfail (.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);"
      ".global .align 1 .b8 text[4] = {120, 62, 48, 0};");
  kernel.run({});
  CHECK(kernel.found("assert") && kernel.describe().find("x>0 in x>0:12") != std::string::npos);
}

}  // namespace
}  // namespace ptxsim
