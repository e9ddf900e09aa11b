// A block's shared memory with its race detector.
//
// Every granule remembers its last write and, per warp, its last read, as clocks of the warps' vector clocks. Two
// accesses of which one writes race unless the later one's warp has seen the earlier one's clock (through a barrier),
// or, within a warp, unless one lane made both or the warp synchronised in between. A barrier that joins every warp of
// the block starts a new epoch: what lies before it is ordered, so that cells of older epochs need neither check nor
// reset.
#pragma once
#include <vector>

#include "numeric.h"

namespace ptxsim {

/** Who makes an access. */
struct Accessor {
  const std::vector<u32>* clock;  // the warp's vector clock
  u32 sync;                       // how often the warp synchronised its lanes
  u32 proxy_fences;               // how often it passed fence.proxy.async
  u8 warp, lane;
};

enum class Race : u8 { none, read_after_write, write_after_read, write_after_write };

/** A conflict: what, with which warp and lane, at which byte. */
struct Conflict {
  Race race = Race::none;
  u32 address = 0;
  u8 warp = 0, lane = 0;
};

class SharedMemory {
 public:
  /** `granule`: bytes (1, 2 or 4) by which accesses are told apart. */
  SharedMemory(u32 bytes, u32 granule, u32 warps);

  u32 size() const { return static_cast<u32>(data_.size()); }
  u8* data(u32 address) { return &data_[address]; }

  /** Forgets everything, for the next block. */
  void reset();
  /** All warps met at a barrier. */
  void new_epoch() { ++epoch_; }

  /** Records an access and returns the first conflict, if any. */
  Conflict read(const Accessor& who, u32 address, u32 bytes);
  Conflict write(const Accessor& who, u32 address, u32 bytes);

  void set_written(u32 address, u32 bytes, bool written);
  /** The first byte of the range that nothing wrote, or -1. */
  i64 first_unwritten(u32 address, u32 bytes) const;

  /** Marks the destination of a cp.async; its warp until it is waited for. */
  void set_pending(u32 address, u32 bytes, int warp);
  void clear_pending(u32 address, u32 bytes);
  /** The warp whose cp.async into the range is pending, or -1. */
  int pending(u32 address, u32 bytes) const;

  /** Marks 16 bytes that a wgmma reads until it is waited for. */
  void begin_async_read(u32 address) { ++async_readers_[address / 16]; }
  void end_async_read(u32 address) { --async_readers_[address / 16]; }
  /** Whether a wgmma reads the 16 bytes that an access, which is aligned to its size, lies in. */
  bool async_read(u32 address) const { return async_readers_[address / 16] > 0; }

  /** The warp that wrote the bytes in this block and has not passed fence.proxy.async since, or -1. */
  int unfenced_writer(u32 address, u32 bytes, const std::vector<u32>& proxy_fences) const;

 private:
  struct Write {
    u32 epoch, clock, sync, proxy_fences;
    u8 warp, lane;
  };
  struct Readers {
    u32 epoch, warps;
  };
  struct Read {
    u32 clock, sync;
    u8 lane;
    bool several_lanes;
  };
  bool ordered(const Write& write, const Accessor& who) const;
  Conflict check_readers(const Accessor& who, size_t granule) const;

  std::vector<u8> data_, written_, pending_;
  std::vector<u32> async_readers_;  // of each 16 bytes
  u32 granule_shift_, warps_;
  u32 epoch_ = 1, first_epoch_ = 1;
  int pending_granules_ = 0;
  std::vector<Write> writes_;
  std::vector<Readers> readers_;
  std::vector<Read> reads_;  // [granule][warp], valid where the granule's readers name the warp
};

}  // namespace ptxsim
