#include "memory.h"

#include <cstring>

namespace ptxsim {
namespace {

constexpr u64 kAlignment = 256;
constexpr u64 kGap = 4096;                 // between allocations, so that running over the end hits nothing
constexpr u64 kStampLimit = u64{1} << 30;  // two bits of a stamp are flags

}  // namespace

Allocation::Allocation(u64 base, u64 size, std::string name)
    : base(base),
      size(size),
      name(std::move(name)),
      data(size),
      written(size),
      granules(size / 2 + 1),
      sectors(size / 32 + 1) {}

u64 DeviceMemory::allocate(u64 bytes, const std::string& name) {
  const u64 base = next_;
  allocations_[base] = std::make_unique<Allocation>(base, bytes, name);
  next_ += (bytes + kAlignment - 1) / kAlignment * kAlignment + kGap;
  used_ += bytes;
  return base;
}

bool DeviceMemory::release(u64 address) {
  const auto found = allocations_.find(address);
  if (found == allocations_.end()) return false;
  used_ -= found->second->size;
  allocations_.erase(found);
  return true;
}

Allocation* DeviceMemory::before(u64 address) {
  auto after = allocations_.upper_bound(address);
  return after == allocations_.begin() ? nullptr : std::prev(after)->second.get();
}

Allocation* DeviceMemory::find(u64 address) {
  Allocation* allocation = before(address);
  return allocation && allocation->contains(address, 1) ? allocation : nullptr;
}

Allocation* DeviceMemory::hold(u64 address, u64 bytes) {
  Allocation* allocation = find(address);
  return allocation && allocation->contains(address, bytes) ? allocation : nullptr;
}

bool DeviceMemory::upload(u64 to, const void* from, u64 bytes) {
  if (bytes == 0) return true;
  Allocation* a = hold(to, bytes);
  if (!a) return false;
  std::memcpy(&a->data[to - a->base], from, bytes);
  std::memset(&a->written[to - a->base], 1, bytes);
  return true;
}

bool DeviceMemory::download(void* to, u64 from, u64 bytes) {
  if (bytes == 0) return true;
  Allocation* a = hold(from, bytes);
  if (a) std::memcpy(to, &a->data[from - a->base], bytes);
  return a != nullptr;
}

bool DeviceMemory::copy(u64 to, u64 from, u64 bytes, DeviceMemory& source) {
  if (bytes == 0) return true;
  Allocation* a = hold(to, bytes);
  Allocation* b = source.hold(from, bytes);
  if (!a || !b) return false;
  std::memmove(&a->data[to - a->base], &b->data[from - b->base], bytes);
  std::memmove(&a->written[to - a->base], &b->written[from - b->base], bytes);
  return true;
}

bool DeviceMemory::fill(u64 to, int value, u64 bytes) {
  if (bytes == 0) return true;
  Allocation* a = hold(to, bytes);
  if (!a) return false;
  std::memset(&a->data[to - a->base], value, bytes);
  std::memset(&a->written[to - a->base], 1, bytes);
  return true;
}

u32 DeviceMemory::begin_launch(u64 blocks) {
  if (next_stamp_ + blocks >= kStampLimit) {
    for (auto& [base, a] : allocations_) std::memset(a->granules.get(), 0, (a->size / 2 + 1) * sizeof(GranuleUse));
    next_stamp_ = 1;
  }
  const u32 first = static_cast<u32>(next_stamp_);
  next_stamp_ += blocks;
  ++launch_;
  return first;
}

}  // namespace ptxsim
