// What a launch did, for static evidence: instructions, memory transactions against their ideal, tensor-core work.
#pragma once
#include "numeric.h"

namespace ptxsim {

struct Counters {
  u64 warp_instructions = 0;
  u64 lane_instructions = 0;
  u64 mma_flops = 0;
  u64 barriers = 0;
  u64 branches = 0;
  u64 divergent_branches = 0;
  u64 global_load_sectors =
      0;  // 32-byte sectors that the warps' requests touch; ideal: as if the lanes were contiguous
  u64 global_store_sectors = 0;
  u64 ideal_load_sectors = 0;
  u64 ideal_store_sectors = 0;
  u64 shared_wavefronts = 0;  // passes over the 32 banks; ideal: as if no two words of a pass shared a bank
  u64 ideal_shared_wavefronts = 0;
  u64 unique_read_sectors = 0;  // distinct in a launch: what DRAM must move
  u64 unique_written_sectors = 0;

  Counters& operator+=(const Counters& other);
};

/** Distinct 32-byte sectors of `bytes` at each address of the lanes in mask. */
u32 count_sectors(u32 mask, const u64* addresses, u32 bytes);

/** Wavefronts that shared memory needs for `bytes` at each address; adds the ideal number to `ideal`. */
u32 count_wavefronts(u32 mask, const u64* addresses, u32 bytes, u64& ideal);

}  // namespace ptxsim
