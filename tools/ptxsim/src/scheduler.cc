// Blocks of a grid and warps of a block, in the order of the schedule.
#include <algorithm>
#include <numeric>

#include "executor.h"

namespace ptxsim {
namespace {

constexpr u64 kSlice = u64{1} << 20;  // instructions after which another warp may run, so that spinning ends
constexpr u64 kRandomSlice = 200;

}  // namespace

Executor::Executor(DeviceMemory& memory, Program& program, const Options& options)
    : memory(memory), program(program), findings_(program.name), options_(options), random_(options.seed) {
  hints_.resize(program.code.size());
}

u64 Executor::random() {
  random_ = random_ * 6364136223846793005 + 1442695040888963407;
  return random_ >> 33;
}

void Executor::run(Dim3 grid, Dim3 block, u32 dynamic_shared, const std::vector<u8>& launch_parameters) {
  grid_ = grid;
  block_ = block;
  dynamic_shared_ = dynamic_shared;
  parameters = launch_parameters;
  threads = block.x * block.y * block.z;
  const u32 count = (threads + kLanes - 1) / kLanes;
  shared.emplace(program.static_shared + dynamic_shared, program.granule, count);
  warps.resize(count);
  proxy_fences.assign(count, 0);
  for (u32 w = 0; w < count; ++w) {
    warps[w].id = static_cast<int>(w);
    warps[w].registers.assign(static_cast<size_t>(program.registers) * kLanes, 0xDEADBEEFDEADBEEF);
    warps[w].predicates.assign(static_cast<size_t>(program.predicates) + 1, 0);
    warps[w].local.resize(static_cast<size_t>(program.local_bytes) * kLanes);
    warps[w].frame.resize(static_cast<size_t>(program.frame_bytes) * kLanes);
  }
  const u64 blocks = u64{grid.x} * grid.y * grid.z;
  first_stamp_ = memory.begin_launch(blocks);
  for (u64 i = 0; i < blocks; ++i) run_block(options_.schedule == Schedule::reverse ? blocks - 1 - i : i);
}

u64 Executor::special(const std::string& name, u32 thread) const {
  const u32 lane = thread % kLanes;
  const auto of = [&](const char* prefix, const Dim3& d, u64& out) {
    if (name.size() != std::char_traits<char>::length(prefix) + 2 || !name.starts_with(prefix)) return false;
    out = name.back() == 'x' ? d.x : name.back() == 'y' ? d.y : d.z;
    return name[name.size() - 2] == '.';
  };
  const Dim3 index{thread % block_.x, thread / block_.x % block_.y, thread / block_.x / block_.y};
  u64 value = 0;
  if (of("%tid", index, value) || of("%ntid", block_, value) || of("%ctaid", block_index_, value) ||
      of("%nctaid", grid_, value))
    return value;
  if (name == "%laneid") return lane;
  if (name == "%warpid") return thread / kLanes;
  if (name == "%nwarpid") return warps.size();
  if (name == "%lanemask_eq") return 1u << lane;
  if (name == "%lanemask_lt") return (1u << lane) - 1;
  if (name == "%lanemask_le") return static_cast<u32>((u64{2} << lane) - 1);
  if (name == "%lanemask_ge") return ~((1u << lane) - 1);
  if (name == "%lanemask_gt") return ~static_cast<u32>((u64{2} << lane) - 1);
  if (name == "%dynamic_smem_size") return dynamic_shared_;
  if (name == "%total_smem_size") return shared->size();
  if (name == "%nsmid" || name.starts_with("%cluster_nctaid") || name == "%cluster_nctarank") return 1;
  if (name == "%smid" || name == "%clock" || name == "%clock_hi" || name == "%clock64" || name == "%globaltimer" ||
      name == "%gridid" || name.starts_with("%cluster_ctaid") || name == "%cluster_ctarank" ||
      name == "%is_explicit_cluster")
    return 0;
  throw PtxError("the special register " + name + " is not supported");
}

void Executor::start_warp(Warp& w) {
  const u32 first = static_cast<u32>(w.id) * kLanes;
  w.live = threads_of(w) == kLanes ? kAllLanes : (1u << threads_of(w)) - 1;
  w.done = false;
  w.groups = {{0, w.live}};
  w.barrier = nullptr;
  w.clock.assign(warps.size(), 0);
  w.clock[w.id] = 1;
  w.sync = 1;
  w.returns.assign(program.calls.empty() ? 0 : kLanes, {});
  w.uncommitted.clear();
  w.async_groups.clear();
  w.wgmma = {};
  for (const SpecialRegister& s : program.specials)
    for (u32 lane = 0; lane < kLanes; ++lane) w.lanes(s.index)[lane] = special(s.name, first + lane);
}

void Executor::run_block(u64 index) {
  block_index_ = {static_cast<u32>(index % grid_.x), static_cast<u32>(index / grid_.x % grid_.y),
                  static_cast<u32>(index / grid_.x / grid_.y)};
  stamp_ = first_stamp_ + static_cast<u32>(index);
  shared->reset();
  mbarriers.clear();
  arrivals_.clear();
  for (Warp& w : warps) start_warp(w);
  std::vector<u32> order(warps.size());
  std::iota(order.begin(), order.end(), 0);
  if (options_.schedule == Schedule::reverse) std::reverse(order.begin(), order.end());
  while (true) {
    if (options_.schedule == Schedule::random)
      for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[random() % (i + 1)]);
    bool any = false, all_done = true;
    for (const u32 id : order) {
      Warp& w = warps[id];
      if (w.done) continue;
      all_done = false;
      if (w.barrier) continue;
      progress_ = false;
      run_warp(w, options_.schedule == Schedule::random ? 1 + random() % kRandomSlice : kSlice);
      release_barriers();
      any |= progress_;
    }
    if (all_done) break;
    if (!any) report_deadlock();
  }
  end_block();
}

void Executor::end_block() {
  for (const Warp& w : warps) {
    bool open = !w.uncommitted.empty();
    for (const AsyncGroup& group : w.async_groups) open |= !group.copies.empty();
    if (open) report(nullptr, "cp.async-unwaited", "a thread exits with copies that it never waited for");
    if (w.wgmma.in_flight()) report(nullptr, "wgmma-unwaited", "a warp exits with wgmma that it never waited for");
  }
}

void Executor::report_deadlock() {
  std::string where;
  for (const Warp& w : warps) {
    if (w.done) continue;
    const Instruction& in = program.code[w.groups[0].pc];
    where += " warp " + std::to_string(w.id) + " at line " + std::to_string(in.line) + (w.barrier ? " (barrier)" : "");
  }
  report(nullptr, "deadlock", "no warp can go on:" + where);
  throw Fault("deadlock");
}

}  // namespace ptxsim
