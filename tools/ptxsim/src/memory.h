// Device memory: allocations in an address space that no host pointer falls into, with what is known of every byte.
#pragma once
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "numeric.h"

namespace ptxsim {

/** Zeroed memory whose pages cost nothing until they are touched. */
template <class T>
class ZeroedArray {
 public:
  explicit ZeroedArray(size_t size) : data_(static_cast<T*>(std::calloc(size ? size : 1, sizeof(T)))) {}
  T& operator[](size_t i) { return data_.get()[i]; }
  T* get() { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

/** The last blocks that touched two bytes of memory, as stamps of the launch (see DeviceMemory::begin_launch). */
struct GranuleUse {
  u32 writer;
  u32 reader;
};

struct SectorUse {
  u32 read;  // number of the launch
  u32 written;
};

struct Allocation {
  Allocation(u64 base, u64 size, std::string name);
  bool contains(u64 address, u64 bytes) const { return address - base <= size - bytes && bytes <= size; }

  u64 base, size;
  std::string name;
  ZeroedArray<u8> data;
  ZeroedArray<u8> written;  // 1 for a byte that something wrote
  ZeroedArray<GranuleUse> granules;
  ZeroedArray<SectorUse> sectors;
};

/** The memory of one device; each device has its own range of addresses. */
class DeviceMemory {
 public:
  static constexpr u64 kBase = 0x00F0000000000000;
  static constexpr u64 kRange = u64{1} << 44;

  explicit DeviceMemory(int device = 0) : next_(kBase + static_cast<u64>(device) * kRange), device_(device) {}

  /** The device of an address; only for addresses from kBase on. */
  static int device_of(u64 address) { return static_cast<int>((address - kBase) / kRange); }
  int device() const { return device_; }

  u64 allocate(u64 bytes, const std::string& name);
  bool release(u64 address);
  /** The allocation that holds the byte, or null. */
  Allocation* find(u64 address);
  /** The last allocation that begins at or before the address, to report how far outside an access was; or null. */
  Allocation* before(u64 address);

  /** Copies and fills of the host; false if they leave an allocation. */
  bool upload(u64 to, const void* from, u64 bytes);
  bool download(void* to, u64 from, u64 bytes);
  bool copy(u64 to, u64 from, u64 bytes) { return copy(to, from, bytes, *this); }
  bool copy(u64 to, u64 from, u64 bytes, DeviceMemory& source);
  bool fill(u64 to, int value, u64 bytes);

  /** Bytes of all allocations. */
  u64 used() const { return used_; }

  /** Reserves stamps for the blocks of a launch and returns the one of the first; block b has that plus b. */
  u32 begin_launch(u64 blocks);
  u32 launch() const { return launch_; }

 private:
  Allocation* hold(u64 address, u64 bytes);

  std::map<u64, std::unique_ptr<Allocation>> allocations_;
  u64 next_;
  int device_;
  u64 used_ = 0;
  u32 launch_ = 0;
  u64 next_stamp_ = 1;
};

}  // namespace ptxsim
