// A model of the time that a launch takes, by which the kernel of a product is chosen, and its constants. Nobody has
// measured them: they are reckoned from sizes, data sheets and guesses, until `structured-ffn tune --device cuda` fits
// them to a GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "../common.cuh"

namespace sffn::cuda {

// Cycles of a multiprocessor, or any other unit of time, but for the last three.
struct Costs {
  // A step of a tile by each kernel, 64 terms of bf16 operands or 16 of f32 ones, where blocks of threads wait for each
  // other's multiply-adds, or for what these read from shared memory (128 bytes a cycle).
  double bf16_64 = 384, bf16_128 = 1024, wgmma = 640, tf32_64 = 192, tf32_128 = 512, f32 = 512;
  double latency = 1500;  // of a block: until its first operands have come, and its last results have left
  double stall = 8;       // of a step: its barriers, and instructions that wait for each other
  double store = 2;       // 128 bytes of results, in sectors of 32
  // How many times as long as single batches those of a group may take: what else a partly written sector costs (memory
  // that corrects errors reads the rest of it) is not in the model.
  double group_patience = 2;
  // The same of one launch for two products: it leaves out a launch and reading Z.
  double chain_patience = 1.125;
  double split_depth = 128;  // terms that a part of a split sum has at least
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

// What a launch does. resident: blocks that a multiprocessor holds at once. steps, work: of a block; its work is what
// occupies the multiprocessor, steps and stores.
struct Work {
  int64_t blocks;
  int resident;
  double steps, work;
};

// The busiest multiprocessor has n = blocks / multiprocessors of them to compute, in waves of those that are resident.
// Resident blocks share its tensor cores and its shared memory, so n take n times the work of one, and it is busy all
// the time but for the first latency. But blocks also wait, for their operands and at barriers; others can work
// meanwhile, and a block that is alone leaves the multiprocessor idle: a wave takes as long as one of its blocks takes
// by itself. The time is the longer of the two.
inline double time_of(const Work& w, const Costs& costs, int multiprocessors) {
  const auto each = static_cast<double>(ceil_div(w.blocks, multiprocessors));
  const auto waves = static_cast<double>(ceil_div(w.blocks, int64_t{multiprocessors} * std::max(w.resident, 1)));
  return std::max(costs.latency + each * w.work, waves * (costs.latency + w.steps * costs.stall + w.work));
}

}  // namespace sffn::cuda
