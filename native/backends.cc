// The table of backends.
#include "backend.h"

#include <cstring>

#include "allocator.h"
#include "thread_pool.h"

namespace sffn {
namespace {

void copy_here(View from, View to) {
  const ComputeScope scope(Device{});
  std::memcpy(to.data, from.data, static_cast<size_t>(from.size) * size_of(from.dtype));
}

constexpr Backend cpu = {
    .name = "cpu",
    .count = [] { return 1; },
    .available = [](int index) { return index <= 0; },
    .status = [](int index) -> std::string { return index <= 0 ? "available" : "not available: there is one"; },
    .default_index = [] { return 0; },
    .memory = [](int) -> Memory& { return host_memory(); },
    .copy = copy_here,
    .kernels = cpu_kernels,
};

}  // namespace

#ifdef STRUCTURED_FFN_WITH_CUDA
extern const Backend cuda_backend;
#else
static constexpr Backend cuda_backend = {
    .name = "cuda",
    .count = [] { return 0; },
    .available = [](int) { return false; },
    .status = [](int) -> std::string { return "not built: the binary was compiled without nvcc (npm run build:cuda)"; },
    .default_index = [] { return 0; },
};
#endif

const Backend* const kBackends[] = {&cpu, &cuda_backend};
static_assert(std::size(kBackends) == kKinds && kDeviceSlots == kKinds * kMostDevices);

std::string name_of(Device device) {
  const Backend& backend = backend_of(device);
  const bool is_default = device.index == backend.default_index();
  return is_default ? backend.name : std::string(backend.name) + ":" + std::to_string(device.index);
}

Device open_device(DeviceKind kind, int index) {
  const Backend& backend = backend_of(kind);
  if (!backend.available(index)) {
    const std::string which = index < 0 ? "" : ":" + std::to_string(index);
    throw Error("ERR_DEVICE", std::string("device '") + backend.name + which + "' is " + backend.status(index));
  }
  return {kind, static_cast<uint8_t>(index < 0 ? backend.default_index() : index)};
}

void copy_elements(View from, View to) {
  const Device other = from.device.kind == DeviceKind::cpu ? to.device : from.device;
  backend_of(other).copy(from, to);
}

}  // namespace sffn
