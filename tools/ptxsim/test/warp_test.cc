// Exchange between lanes, and the special registers.
#include "check.h"

namespace ptxsim {
namespace {

u64 square(u32 lane) { return lane * lane + 3; }

TEST(shuffles) {
  check_warp("shfl.sync.bfly.b32 %d, %a, 5, 31, -1;", square, [](u32 l) { return square(l ^ 5); });
  check_warp("shfl.sync.up.b32 %d, %a, 3, 0, -1;", square, [](u32 l) { return square(l >= 3 ? l - 3 : l); });
  check_warp("shfl.sync.down.b32 %d|%p, %a, 4, 31, -1; @!%p mov.u32 %d, 1000;", square,
             [](u32 l) { return l + 4 < 32 ? square(l + 4) : 1000; });
  check_warp("shfl.sync.idx.b32 %d, %a, 7, 31, -1;", square, [](u32) { return square(7); });
  // Segments of 8 lanes: the mask is 0b11000 and the clamp the last lane of the segment.
  check_warp("shfl.sync.down.b32 %d, %a, 2, 0x181F, -1;", square, [](u32 l) { return square(l % 8 < 6 ? l + 2 : l); });
  check_warp("shfl.sync.idx.b32 %d, %a, 1, 0x181F, -1;", square, [](u32 l) { return square(l / 8 * 8 + 1); });
}

TEST(votes) {
  const std::string odd = "and.b32 %t0, %tid, 1; setp.ne.u32 %p, %t0, 0;";
  check_warp(odd + "vote.sync.ballot.b32 %d, %p, -1;", square, [](u32) { return 0xAAAAAAAA; });
  check_warp(odd + "vote.sync.any.pred %q, %p, -1; selp.u32 %d, 1, 0, %q;", square, [](u32) { return 1; });
  check_warp(odd + "vote.sync.all.pred %q, %p, -1; selp.u32 %d, 1, 0, %q;", square, [](u32) { return 0; });
  check_warp(odd + "vote.sync.uni.pred %q, %p, -1; selp.u32 %d, 1, 0, %q;", square, [](u32) { return 0; });
  check_warp(odd + "vote.sync.any.pred %q, !%p, 0xFFFFFFFF; selp.u32 %d, 1, 0, %q;", square, [](u32) { return 1; });
}

TEST(matches) {
  check_warp(
      "match.any.sync.b32 %d, %a, -1;", [](u32 l) { return u64{l % 4}; },
      [](u32 l) { return u64{0x11111111u << l % 4}; });
  check_warp(
      "match.all.sync.b32 %d|%p, %a, -1; selp.u32 %d, 9, %d, %p;", [](u32) { return u64{4}; }, [](u32) { return 9; });
}

TEST(reductions) {
  check_warp("redux.sync.add.s32 %d, %a, -1;", square, [](u32) {
    u64 sum = 0;
    for (u32 l = 0; l < 32; ++l) sum += square(l);
    return sum;
  });
  check_warp("redux.sync.max.u32 %d, %a, -1;", square, [](u32) { return square(31); });
  check_warp("redux.sync.min.s32 %d, %a, -1;", square, [](u32) { return square(0); });
  check_warp(
      "redux.sync.xor.b32 %d, %a, -1;", [](u32 l) { return u64{l}; }, [](u32) { return 0; });
}

TEST(lanes) {
  check_warp("mov.u32 %d, %laneid;", square, [](u32 l) { return u64{l}; });
  check_warp("mov.u32 %d, %lanemask_lt;", square, [](u32 l) { return (u64{1} << l) - 1; });
  check_warp("mov.u32 %d, %lanemask_ge;", square, [](u32 l) { return 0xFFFFFFFF & ~((u64{1} << l) - 1); });
  check_warp("activemask.b32 %d;", square, [](u32) { return 0xFFFFFFFF; });
  check_warp("elect.sync %t0|%p, -1; selp.u32 %d, 1, 0, %p;", square, [](u32 l) { return u64{l == 0}; });
  check_warp("mov.u32 %t0, %ntid.x; mov.u32 %t1, %nctaid.x; mad.lo.u32 %d, %t0, 10, %t1;", square,
             [](u32) { return 321; });
}

TEST(divergent_lanes_of_a_mask) {
  // Lanes below 16 exchange among themselves while the others are elsewhere.
  check_warp("setp.lt.u32 %p, %tid, 16; mov.u32 %d, 0; @!%p bra over; shfl.sync.bfly.b32 %d, %a, 1, 31, 0xFFFF; over:",
             square, [](u32 l) { return l < 16 ? square(l ^ 1) : 0; });
}

}  // namespace
}  // namespace ptxsim
