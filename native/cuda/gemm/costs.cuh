// A model of the time of a launch, with its constants. The kernel of a product is chosen by it. The constants are not
// measured: they come from sizes, data sheets and guesses, until `structured-ffn tune --device cuda` fits them to a
// GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "../common.cuh"

namespace sffn::cuda {

// Cycles of a multiprocessor, or any other unit of time, except for the last three.
struct Costs {
  // A step of a tile by each kernel: 64 terms of bf16 operands or 16 of f32 ones. Blocks of threads wait for each
  // other's multiply-adds, or for what these read from shared memory (128 bytes a cycle).
  double bf16_64 = 384, bf16_128 = 1024, wgmma = 640, tf32_64 = 192, tf32_128 = 512, f32 = 512;
  double latency = 1500;  // of a block: until its first operands arrive, and its last results are written
  double stall = 8;       // of a step: its barriers, and instructions that wait for each other
  double store = 2;       // 128 bytes of results, in sectors of 32
  // How many times as long as single batches a group may take. The model leaves out a cost of partly written sectors:
  // memory that corrects errors reads the rest of them.
  double group_patience = 2;
  // The same for one launch of two products, which saves a launch and reading Z.
  double chain_patience = 1.125;
  double split_depth = 128;  // the least number of terms in a part of a split sum
};

constexpr std::pair<const char*, double Costs::*> kCosts[] = {
    {"bf16_64", &Costs::bf16_64},
    {"bf16_128", &Costs::bf16_128},
    {"wgmma", &Costs::wgmma},
    {"tf32_64", &Costs::tf32_64},
    {"tf32_128", &Costs::tf32_128},
    {"f32", &Costs::f32},
    {"latency", &Costs::latency},
    {"stall", &Costs::stall},
    {"store", &Costs::store},
    {"group_patience", &Costs::group_patience},
    {"chain_patience", &Costs::chain_patience},
    {"split_depth", &Costs::split_depth},
};
static_assert(std::size(kCosts) * sizeof(double) == sizeof(Costs));

// What a launch does. resident: blocks that a multiprocessor holds at once. steps, work: of a block. Its work is what
// occupies the multiprocessor: steps and stores.
struct Work {
  int64_t blocks;
  int resident;
  double steps, work;
};

// The busiest multiprocessor has to compute n = blocks / multiprocessors of them, in waves of resident blocks. Resident
// blocks share its tensor cores and its shared memory. So n blocks take n times the work of one, and the multiprocessor
// is busy all the time except for the first latency. But blocks also wait, for their operands and at barriers. Others
// can work meanwhile; a block that is alone leaves the multiprocessor idle. So a wave takes at least as long as one of
// its blocks takes by itself. The time is the longer of the two.
inline double time_of(const Work& w, const Costs& costs, int multiprocessors) {
  const auto each = static_cast<double>(ceil_div(w.blocks, multiprocessors));
  const auto waves = static_cast<double>(ceil_div(w.blocks, int64_t{multiprocessors} * std::max(w.resident, 1)));
  return std::max(costs.latency + each * w.work, waves * (costs.latency + w.steps * costs.stall + w.work));
}

}  // namespace sffn::cuda
