#include "counters.h"

#include <algorithm>
#include <bit>

namespace ptxsim {

Counters& Counters::operator+=(const Counters& other) {
  warp_instructions += other.warp_instructions;
  lane_instructions += other.lane_instructions;
  mma_flops += other.mma_flops;
  barriers += other.barriers;
  branches += other.branches;
  divergent_branches += other.divergent_branches;
  global_load_sectors += other.global_load_sectors;
  global_store_sectors += other.global_store_sectors;
  ideal_load_sectors += other.ideal_load_sectors;
  ideal_store_sectors += other.ideal_store_sectors;
  shared_wavefronts += other.shared_wavefronts;
  ideal_shared_wavefronts += other.ideal_shared_wavefronts;
  unique_read_sectors += other.unique_read_sectors;
  unique_written_sectors += other.unique_written_sectors;
  return *this;
}

u32 count_sectors(u32 mask, const u64* addresses, u32 bytes) {
  u64 sectors[kLanes * 2];
  int size = 0;
  bool ascending = true;
  for (; mask; mask &= mask - 1) {
    const u64 address = addresses[std::countr_zero(mask)];
    for (u64 sector = address / 32; sector <= (address + bytes - 1) / 32; ++sector) {
      if (size > 0 && sectors[size - 1] == sector) continue;
      ascending &= size == 0 || sectors[size - 1] < sector;
      sectors[size++] = sector;
    }
  }
  if (ascending) return static_cast<u32>(size);
  std::sort(sectors, sectors + size);
  return static_cast<u32>(std::unique(sectors, sectors + size) - sectors);
}

namespace {

// Wavefronts of one pass: the most distinct words that fall into one bank.
u32 conflicts(u32 mask, const u64* addresses, u32 words) {
  u64 first[kLanes];
  u32 used = 0;
  bool conflict = false;
  u64 all[kLanes * 4];
  int size = 0;
  for (; mask; mask &= mask - 1) {
    const u64 word = addresses[std::countr_zero(mask)] / 4;
    for (u32 w = 0; w < words; ++w) {
      const u32 bank = static_cast<u32>(word + w) % 32;
      all[size++] = word + w;
      if (!(used >> bank & 1)) {
        used |= 1u << bank;
        first[bank] = word + w;
      } else {
        conflict |= first[bank] != word + w;
      }
    }
  }
  if (!conflict) return 1;
  std::sort(all, all + size);
  size = static_cast<int>(std::unique(all, all + size) - all);
  u32 per_bank[kLanes] = {};
  for (int i = 0; i < size; ++i) ++per_bank[all[i] % 32];
  return *std::max_element(per_bank, per_bank + kLanes);
}

}  // namespace

// 8-byte accesses are served by half warps, 16-byte ones by quarters.
u32 count_wavefronts(u32 mask, const u64* addresses, u32 bytes, u64& ideal) {
  const u32 lanes = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  const u32 pass_mask = lanes == 32 ? kAllLanes : (1u << lanes) - 1;
  u32 total = 0;
  for (u32 start = 0; start < kLanes; start += lanes) {
    const u32 part = mask & (pass_mask << start);
    if (!part) continue;
    total += conflicts(part, addresses, std::max(bytes / 4, 1u));
    ++ideal;
  }
  return total;
}

}  // namespace ptxsim
