// Tensor storage as JavaScript sees it: a handle, which is a plain number that names a block of the allocator.
//
// A number costs nothing to pass. Each slot counts its generations, so a stale handle is recognised: a tensor used
// after dispose() is an error, never a read of freed memory. Each JavaScript environment has a table: the storage of a
// worker thread is freed when the worker ends.
#pragma once

#include <node_api.h>

#include <memory>
#include <vector>

#include "backend.h"

namespace sffn {

struct Buffer;

// What keeps a buffer's memory for an ArrayBuffer over it: JavaScript may keep the ArrayBuffer longer than the tensor.
struct Exposure {
  std::shared_ptr<Buffer> owner;
};

// One block, owned by the table, by its ArrayBuffer, and by every asynchronous job that uses it.
struct Buffer {
  Buffer(int64_t size, DType dtype, Device device)
      : size(size), dtype(dtype), device(device), data(memory_of(device).allocate(bytes())) {}
  ~Buffer() { memory_of(device).release(data, bytes()); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t bytes() const { return static_cast<size_t>(size) * size_of(dtype); }
  View view() const { return {data, size, dtype, device}; }

  const int64_t size;
  const DType dtype;
  const Device device;
  void* const data;
  const uint64_t serial = next_serial();  // buffers made later have a larger one
  static uint64_t next_serial();
  // The hold of the latest ArrayBuffer. Detaching drops it at once: V8 would report the detached memory only a turn
  // later.
  Exposure* exposure = nullptr;
};

class BufferTable {
 public:
  explicit BufferTable(napi_env env) : env_(env) {}

  double create(int64_t size, DType dtype, Device device);
  // The buffer goes in a sweep after `owner` was collected, if nobody releases it before.
  void set_owner(double handle, napi_value owner);
  // Throws Error("ERR_DISPOSED") for a handle whose buffer was released.
  const std::shared_ptr<Buffer>& get(double handle) const;
  // What was freed: nothing for a handle that is already released.
  struct Released {
    int64_t bytes = 0;
    Device device;
  };
  Released release(double handle);

  // Whether there are enough new buffers for a sweep to be worth its time: it looks at every slot.
  bool sweep_due() const { return live_ > 2 * survivors_ + kFewBuffers; }
  // Releases each buffer whose owner was collected, and hands `report` what was freed.
  template <class Report>
  void sweep(Report report) {
    for (Slot& slot : slots_)
      if (slot.owner && is_collected(slot.owner)) report(release(slot));
    survivors_ = live_;
  }

 private:
  static constexpr size_t kFewBuffers = 1024;

  struct Slot {
    std::shared_ptr<Buffer> buffer;
    uint32_t generation = 1;
    // Weak: costs a quarter of a FinalizationRegistry's entry, and waits for no turn of the event loop.
    napi_ref owner = nullptr;
  };
  const Slot* find(double handle) const;
  bool is_collected(napi_ref owner) const;
  Released release(Slot& slot);

  const napi_env env_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t live_ = 0, survivors_ = 0;
};

}  // namespace sffn
