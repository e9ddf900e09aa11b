// One interface to everything that computes: a record for each kind of device, in one table (backends.cc).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include "kernels.h"
#include "memory.h"

namespace sffn {

// Work of a device that is recorded once and launched many times. From Backend::record to finish(), the kernels of this
// thread on that device are recorded instead of run, and the thread computes on no other device of the kind. It holds
// the device's compute_mutex meanwhile. Memory that is allocated in between belongs to the recording. Other memory that
// the kernels use must stay in place. Waiting for the device, and copying from or to another one, throws
// Error("ERR_RECORDING"). If it is destroyed before it is finished, everything is as if nothing had been recorded.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void finish() = 0;
  virtual void launch() = 0;
};

// Values by name: what the choice of a device's kernels depends on besides sizes, or facts about its kernels.
using Setting = std::variant<std::string, double>;
using Settings = std::map<std::string, Setting>;

// An index of -1, where allowed, is the kind's default device. Functions that may be null say so. A kind that this
// build does not have gives a name, a status and no devices; nothing else of it is called.
struct Backend {
  const char* name;
  // The kernels that it leaves to the host (native/host_kernel.h).
  std::span<const char* const> host_kernels = {};

  int (*count)();
  // Whether the device (or -1) can be used; what it is, or what is missing, in one sentence.
  bool (*available)(int index);
  std::string (*status)(int index);
  int (*default_index)();
  // Throws Error("ERR_DEVICE") once a device is in use; null: there is nothing to choose.
  void (*set_default)(int index) = nullptr;

  Memory& (*memory)(int index) = nullptr;
  // Copies all elements, between devices of this kind or between one and the host. May return before it is done.
  void (*copy)(View from, View to) = nullptr;
  const Kernels& (*kernels)() = nullptr;

  // set_settings throws Error("ERR_OPTION") for an unknown name or an impossible value, and then changes nothing. Null:
  // there are no settings.
  Settings (*settings)(int index) = nullptr;
  void (*set_settings)(int index, const Settings& values) = nullptr;

  // Makes the device this thread's; returns the one before, or -1. leave goes back to it. Null: all threads share it.
  int (*select)(int index) = nullptr;
  void (*leave)(int before) noexcept = nullptr;

  // The functions that follow are called inside a ComputeScope of the device.

  // Waits for everything launched so far. Throws the error of a kernel among it: only here does that error show. Null:
  // the device never has work left to wait for.
  void (*synchronize)() = nullptr;
  // Null: the device cannot record.
  std::unique_ptr<Recording> (*record)() = nullptr;
  // How something would be computed, given its name and sizes: the kernel, and what the choice was based on. Null:
  // there is no choice.
  Settings (*plan)(const std::string& what, std::span<const int64_t> sizes) = nullptr;
};

// By kind.
extern const Backend* const kBackends[];
constexpr size_t kKinds = 2;

inline const Backend& backend_of(DeviceKind kind) { return *kBackends[static_cast<size_t>(kind)]; }
inline const Backend& backend_of(Device device) { return backend_of(device.kind); }
inline Memory& memory_of(Device device) { return backend_of(device).memory(device.index); }

// The name of a device: its kind, and its index unless it is the default one: 'cuda', 'cuda:1'.
std::string name_of(Device device);
// A device that can be used. Every tensor's device was opened here before. Throws Error("ERR_DEVICE").
Device open_device(DeviceKind kind, int index);
// Copies all elements between any two devices.
void copy_elements(View from, View to);

}  // namespace sffn
