// Executes a launch: block after block, warp by warp, 32 lanes at once, checking what a device does not.
//
// Lanes of a warp that diverge form groups by their instruction. The group that is furthest behind runs first, which is
// a legal order since independent thread scheduling. Instructions that need the whole warp wait for the other groups.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "counters.h"
#include "findings.h"
#include "ir.h"
#include "memory.h"
#include "shared_memory.h"

namespace ptxsim {

/** Where shared, local and parameter memory appear among generic addresses. */
inline constexpr u64 kSharedWindow = 0x00E1000000000000;
inline constexpr u64 kLocalWindow = 0x00E2000000000000;
inline constexpr u64 kParamWindow = 0x00E3000000000000;
inline constexpr u64 kWindowBytes = u64{1} << 24;

struct Dim3 {
  u32 x = 1, y = 1, z = 1;
};

enum class Schedule : u8 { forward, reverse, random };

struct Options {
  Schedule schedule = Schedule::forward;
  u64 seed = 1;
  u64 max_instructions = u64{1} << 33;  // of warps in a launch, against endless loops
};

struct LaneGroup {
  int pc;
  u32 mask;
};

struct AsyncCopy {
  u8 lane;
  u32 to;
  u64 from;
  u32 bytes, source_bytes;
};

struct AsyncGroup {
  u32 lanes = 0;
  std::vector<AsyncCopy> copies;
};

/** Of wgmma that have not been waited for: registers of the accumulators, addresses of the 16 bytes of operands. */
struct WgmmaGroup {
  std::vector<int> accumulators;
  std::vector<u32> chunks;
};

struct WgmmaState {
  WgmmaGroup open;
  std::vector<WgmmaGroup> groups;

  bool in_flight() const { return !open.accumulators.empty() || !groups.empty(); }
};

struct Warp {
  int id = 0;
  u32 live = 0;  // lanes that have not exited
  bool done = false;
  std::vector<LaneGroup> groups;  // by ascending pc
  std::vector<u64> registers;     // [register][lane]
  std::vector<u32> predicates;
  u32 carry = 0;                          // the carry flag of every lane
  std::vector<u8> local, frame;           // [lane][byte]
  std::vector<std::vector<int>> returns;  // [lane]: instructions of the calls it is in

  const Instruction* barrier = nullptr;  // what it waits at
  int barrier_id = 0;
  u32 barrier_threads = 0;
  u32 barrier_predicate = 0;

  std::vector<u32> clock;  // vector clock: what of every warp of the block happened before
  u32 sync = 1;
  std::vector<AsyncCopy> uncommitted;
  std::vector<AsyncGroup> async_groups;
  WgmmaState wgmma;

  u64* lanes(int index) { return &registers[static_cast<size_t>(index) * kLanes]; }
};

struct Mbarrier {
  u32 phase = 0, expected = 0, arrived = 0;
  i64 pending_bytes = 0;
  std::vector<u32> clock;
};

/** Threads that passed a bar.arrive, and what they saw. */
struct Arrivals {
  u32 threads = 0, expected = 0;
  std::vector<u32> clock;
};

class Executor {
 public:
  Executor(DeviceMemory& memory, Program& program, const Options& options);

  /** Runs every block; throws Fault where a device would stop. Findings and counters stand in any case. */
  void run(Dim3 grid, Dim3 block, u32 dynamic_shared, const std::vector<u8>& parameters);

  const std::vector<Finding>& findings() const { return findings_.list(); }

  // For the handlers of instructions.
  const u64* source(Warp& w, const Operand& o) const { return o.lanes ? o.lanes->data() : w.lanes(o.index); }
  u64* destination(Warp& w, const Operand& o) const { return w.lanes(o.index); }
  u32 predicate(Warp& w, const Operand& o) const;
  void set_predicate(Warp& w, int index, u32 mask, u32 value);
  void addresses(Warp& w, const Operand& o, u32 mask, u64* out) const;
  void report(const Instruction* in, const std::string& kind, const std::string& message);
  [[noreturn]] void fault(const Instruction& in, const std::string& kind, const std::string& message);

  /** The bytes of a global access after all checks. `writes`/`reads`: what it does; `atomic`: no data race with its
   * like. */
  struct Access {
    u32 bytes;
    bool reads, writes, atomic;
  };
  u8* global(const Instruction& in, u64 address, const Access& access, int lane);
  u8* shared_read(Warp& w, const Instruction& in, u32 address, u32 bytes, int lane);
  u8* shared_write(Warp& w, const Instruction& in, u32 address, u32 bytes, int lane);
  /** Checks the bounds and alignment only. */
  void check_shared(const Instruction& in, u32 address, u32 bytes, const char* what);
  void check_pending(const Instruction& in, u32 address, u32 bytes, bool writes);

  void join(std::vector<u32>& clock, const std::vector<u32>& other) const;
  Mbarrier& mbarrier(const Instruction& in, u64 address);
  void complete(Warp& w, const AsyncCopy& copy);

  DeviceMemory& memory;
  Program& program;
  Counters counters;
  std::optional<SharedMemory> shared;
  std::vector<Warp> warps;
  std::map<u32, Mbarrier> mbarriers;
  std::vector<u8> parameters;
  std::vector<u32> proxy_fences;  // [warp]
  u32 threads = 0;

 private:
  // scheduler.cc
  void run_block(u64 index);
  void start_warp(Warp& w);
  void fill_specials(Warp& w);
  u64 special(const std::string& name, u32 thread) const;
  void end_block();
  [[noreturn]] void report_deadlock();
  u64 random();
  // warp_loop.cc
  void run_warp(Warp& w, u64 budget);
  bool step_control(Warp& w, size_t group, const Instruction& in, u32 active);
  bool can_run(Warp& w, size_t group, const Instruction& in, u32 active);
  void branch(Warp& w, size_t group, const Instruction& in, u32 active);
  void call(Warp& w, size_t group, const Instruction& in, u32 active);
  void return_lanes(Warp& w, size_t group, u32 active);
  void exit_lanes(Warp& w, size_t group, u32 active);
  bool wait_mbarrier(Warp& w, size_t group, const Instruction& in, u32 active);
  void advance(Warp& w, size_t group);
  static void add_group(Warp& w, int pc, u32 mask);
  void check_accumulators(Warp& w, const Instruction& in);
  // barrier.cc
  void enter_barrier(Warp& w, size_t group, const Instruction& in, u32 active);
  void release_barriers();
  bool release(int id, u32 arrived);
  u32 threads_of(const Warp& w) const;

  Findings findings_;
  Options options_;
  Dim3 grid_, block_, block_index_;
  u32 dynamic_shared_ = 0;
  u32 first_stamp_ = 0, stamp_ = 0;
  std::map<int, Arrivals> arrivals_;
  std::vector<Allocation*> hints_;  // per instruction: the allocation it touched last
  u64 random_ = 0;
  u64 spins_ = 0;
  bool progress_ = false;
};

/** f(lane) for every lane in mask; the full warp as a plain loop, which the compiler can vectorise. */
template <class F>
inline void each_lane(u32 mask, F&& f) {
  if (mask == kAllLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
  } else {
    for (; mask; mask &= mask - 1) f(std::countr_zero(mask));
  }
}

}  // namespace ptxsim
