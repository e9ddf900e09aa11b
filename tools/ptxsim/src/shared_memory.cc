#include "shared_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ptxsim {
namespace {

constexpr u8 kPoison = 0xFF;  // NaN in every floating-point format

}  // namespace

SharedMemory::SharedMemory(u32 bytes, u32 granule, u32 warps)
    : data_(bytes),
      written_(bytes),
      pending_(bytes),
      async_readers_(bytes / 16 + 1),
      granule_shift_(static_cast<u32>(std::countr_zero(granule))),
      warps_(warps) {
  const size_t granules = bytes / granule + 1;
  writes_.resize(granules);
  readers_.resize(granules);
  reads_.resize(granules * warps);
}

void SharedMemory::reset() {
  std::fill(data_.begin(), data_.end(), kPoison);
  std::fill(written_.begin(), written_.end(), 0);
  if (pending_granules_) std::fill(pending_.begin(), pending_.end(), 0);
  pending_granules_ = 0;
  std::fill(async_readers_.begin(), async_readers_.end(), 0);
  first_epoch_ = ++epoch_;
}

bool SharedMemory::ordered(const Write& write, const Accessor& who) const {
  if (write.warp != who.warp) return write.clock <= (*who.clock)[write.warp];
  return write.lane == who.lane || write.sync < who.sync;
}

Conflict SharedMemory::check_readers(const Accessor& who, size_t granule) const {
  for (u32 left = readers_[granule].warps; left; left &= left - 1) {
    const u32 warp = static_cast<u32>(std::countr_zero(left));
    const Read& read = reads_[granule * warps_ + warp];
    const bool ordered = warp != who.warp ? read.clock <= (*who.clock)[warp]
                                          : (read.lane == who.lane && !read.several_lanes) || read.sync < who.sync;
    if (!ordered)
      return {Race::write_after_read, static_cast<u32>(granule << granule_shift_), static_cast<u8>(warp), read.lane};
  }
  return {};
}

Conflict SharedMemory::read(const Accessor& who, u32 address, u32 bytes) {
  Conflict conflict;
  const u32 clock = (*who.clock)[who.warp];
  const size_t last = (address + bytes - 1) >> granule_shift_;
  for (size_t g = address >> granule_shift_; g <= last; ++g) {
    const Write& write = writes_[g];
    if (write.epoch == epoch_ && !ordered(write, who) && conflict.race == Race::none)
      conflict = {Race::read_after_write, static_cast<u32>(g << granule_shift_), write.warp, write.lane};
    Readers& readers = readers_[g];
    if (readers.epoch != epoch_) readers = {epoch_, 0};
    Read& read = reads_[g * warps_ + who.warp];
    const bool again = (readers.warps >> who.warp & 1) && read.clock == clock && read.sync == who.sync;
    read = {clock, who.sync, who.lane, again && (read.several_lanes || read.lane != who.lane)};
    readers.warps |= 1u << who.warp;
  }
  return conflict;
}

Conflict SharedMemory::write(const Accessor& who, u32 address, u32 bytes) {
  Conflict conflict;
  const u32 clock = (*who.clock)[who.warp];
  const size_t last = (address + bytes - 1) >> granule_shift_;
  for (size_t g = address >> granule_shift_; g <= last; ++g) {
    Write& write = writes_[g];
    if (write.epoch == epoch_ && !ordered(write, who) && conflict.race == Race::none)
      conflict = {Race::write_after_write, static_cast<u32>(g << granule_shift_), write.warp, write.lane};
    if (readers_[g].epoch == epoch_) {
      if (conflict.race == Race::none) conflict = check_readers(who, g);
      readers_[g].warps = 0;
    }
    write = {epoch_, clock, who.sync, who.proxy_fences, who.warp, who.lane};
  }
  return conflict;
}

void SharedMemory::set_written(u32 address, u32 bytes, bool written) {
  std::memset(&written_[address], written, bytes);
}

i64 SharedMemory::first_unwritten(u32 address, u32 bytes) const {
  const void* gap = std::memchr(&written_[address], 0, bytes);
  return gap ? static_cast<const u8*>(gap) - written_.data() : -1;
}

void SharedMemory::set_pending(u32 address, u32 bytes, int warp) {
  std::memset(&pending_[address], warp + 1, bytes);
  ++pending_granules_;
}

void SharedMemory::clear_pending(u32 address, u32 bytes) {
  std::memset(&pending_[address], 0, bytes);
  --pending_granules_;
}

int SharedMemory::pending(u32 address, u32 bytes) const {
  if (pending_granules_ == 0) return -1;
  for (u32 i = address; i < address + bytes; ++i)
    if (pending_[i]) return pending_[i] - 1;
  return -1;
}

int SharedMemory::unfenced_writer(u32 address, u32 bytes, const std::vector<u32>& proxy_fences) const {
  const size_t last = (address + bytes - 1) >> granule_shift_;
  for (size_t g = address >> granule_shift_; g <= last; ++g) {
    const Write& write = writes_[g];
    if (write.epoch >= first_epoch_ && proxy_fences[write.warp] <= write.proxy_fences) return write.warp;
  }
  return -1;
}

}  // namespace ptxsim
