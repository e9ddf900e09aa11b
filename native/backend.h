// What computes, seen alike: one record for each kind of device, in one table (backends.cc).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include "kernels.h"
#include "memory.h"

namespace sffn {

// Work of a device that is recorded once and launched again and again: from Backend::record to finish() the kernels of
// this thread on that device are not run but recorded, and it computes on no other device of the kind. The thread holds
// the device's compute_mutex meanwhile. Memory that is allocated in between belongs to the recording; other memory that
// the kernels use must stay what it is. What would wait for the device, or copy from or to another one, throws
// Error("ERR_RECORDING"). Destroyed before it is finished, it leaves everything as if nothing had been recorded.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void finish() = 0;
  virtual void launch() = 0;
};

// By name: what the kernels of a device go by beside sizes, or what is told about them.
using Setting = std::variant<std::string, double>;
using Settings = std::map<std::string, Setting>;

// Where an index may be -1 it is that of the kind's default device. What may be null says so. A kind that this build
// has not answers with a name, a status and no devices: nothing else is asked of it.
struct Backend {
  const char* name;
  bool computes_bfloat16;
  // The kernels that it leaves to the host (native/host_kernel.h).
  std::span<const char* const> host_kernels;

  int (*count)();
  // Whether the device (or -1) can be used; what it is, or what is missing, in one sentence.
  bool (*available)(int index);
  std::string (*status)(int index);
  int (*default_index)();
  // Throws Error("ERR_DEVICE") once a device is in use; null: there is nothing to choose.
  void (*set_default)(int index);

  Memory& (*memory)(int index);
  // All elements, between devices of this kind or between one and the host. May return before it is done.
  void (*copy)(View from, View to);
  const Kernels& (*kernels)();

  // set_settings throws Error("ERR_OPTION") at an unknown name or a value that cannot be, and changes nothing then.
  // Null: there are none.
  Settings (*settings)(int index);
  void (*set_settings)(int index, const Settings& values);

  // Makes the device this thread's; returns the one before, or -1. leave goes back to it. Null: all threads share it.
  int (*select)(int index);
  void (*leave)(int before) noexcept;

  // Those that follow are called inside a ComputeScope of the device.

  // Waits for everything launched so far. Throws what went wrong in it, which is the only moment at which that is
  // known. Null: a device that is always done.
  void (*synchronize)();
  // Null: there are no recordings.
  std::unique_ptr<Recording> (*record)();
  // How something would be computed, of its name and its sizes: the kernel and what the choice went by. Null: nobody
  // chooses.
  Settings (*plan)(const std::string& what, std::span<const int64_t> sizes);
};

// By kind.
extern const Backend* const kBackends[];
constexpr size_t kKinds = 2;

inline const Backend& backend_of(DeviceKind kind) { return *kBackends[static_cast<size_t>(kind)]; }
inline const Backend& backend_of(Device device) { return backend_of(device.kind); }
inline Memory& memory_of(Device device) { return backend_of(device).memory(device.index); }

// The name of the kind, and of those that are not the default one the index: 'cuda', 'cuda:1'.
std::string name_of(Device device);
// A device that can be used: everything that lives on one was opened before. Throws Error("ERR_DEVICE").
Device open_device(DeviceKind kind, int index);
// Copies all elements between any two devices.
void copy_elements(View from, View to);

}  // namespace sffn
