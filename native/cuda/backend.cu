// The CUDA backend's record in the table of backends: which devices there are, and their functions.
#include <algorithm>
#include <iterator>

#include "../host_kernel.h"
#include "device.cuh"
#include "graph.cuh"

namespace sffn {
namespace cuda {
namespace {

constexpr int kLeastMajor = 8;  // of compute capabilities: the kernels need tensor cores for bfloat16, and cp.async

const Kernels table = {
#define KERNEL(name, ...) cuda::name,
#define HOST_KERNEL(name, ...) HostKernel<&Kernels::name>::run,
#include "../kernels.def"
#undef KERNEL
};

constexpr const char* kHostKernels[] = {
#define KERNEL(name, ...)
#define HOST_KERNEL(name, ...) #name,
#include "../kernels.def"
#undef KERNEL
};

int device_count(cudaError_t& status) {
  int count = 0;
  status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return std::min(count, kMostDevices);
  cudaGetLastError();
  return 0;
}

int count() {
  cudaError_t status;
  return device_count(status);
}

std::string described(int index) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "reading the device");
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", " + std::to_string(properties.totalGlobalMem >> 20) + " MiB";
}

// Why a device cannot be used, in one sentence; empty if it can.
std::string obstacle_to(int index) {
  cudaError_t status;
  const int count = device_count(status);
  if (status == cudaErrorInsufficientDriver)
    return "no NVIDIA driver is installed, or one older than this build's CUDA " +
           std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  if (index < 0 || index >= count)
    return "device " + std::to_string(index) + " was asked for, the driver reports " + std::to_string(count);
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "reading the device");
  if (major >= kLeastMajor) return "";
  return "compute capability " + std::to_string(kLeastMajor) + ".0 or later is needed, device " +
         std::to_string(index) + " is " + described(index);
}

// The same for any device or -1. If the choice of the default device makes no sense, no device can be used: nothing
// would say which one is 'cuda'.
std::string obstacle(int index) {
  try {
    const std::string problem = obstacle_to(default_index());
    return problem.empty() && index >= 0 ? obstacle_to(index) : problem;
  } catch (const Error& error) {
    return error.what();
  }
}

bool available(int index) {
  if (is_open(index)) return true;
  try {
    if (index < 0 && is_open(default_index())) return true;
  } catch (const Error&) {
    return false;
  }
  return obstacle(index).empty();
}

std::string status(int index) {
  const std::string problem = obstacle(index);
  if (!problem.empty()) return "not available: " + problem;
  return "available: " + described(index < 0 ? default_index() : index);
}

void set_default(int index) {
  const std::string problem = obstacle_to(index);
  if (!problem.empty()) throw Error("ERR_DEVICE", "setCudaDevice: " + problem);
  for (int other = 0; other < kMostDevices; ++other)
    if (is_open(other) && index != default_index())
      throw Error("ERR_DEVICE",
                  "CUDA device " + std::to_string(other) + " is in use already; choose before the first tensor");
  set_default_index(index);
}

Settings settings(int index) {
  Settings values = gemm_settings(index);
  values["tf32"] = tf32_is_allowed() ? "on" : "off";
  return values;
}

void set_settings(int index, const Settings& given) {
  Settings values = given;
  const auto tf32 = values.find("tf32");
  if (tf32 == values.end()) return set_gemm_settings(index, values);
  const bool on = tf32->second == Setting("on");
  if (!on && tf32->second != Setting("off")) throw Error("ERR_OPTION", "tf32: expected one of on, off");
  values.erase(tf32);
  set_gemm_settings(index, values);
  allow_tf32(on);
}

Settings plan(const std::string& what, std::span<const int64_t> sizes) {
  if (what == "product" && sizes.size() == 4)
    return plan_product(sizes[0], sizes[1], sizes[2], static_cast<DType>(sizes[3]));
  if (what == "chain" && sizes.size() == 4) return plan_chain(sizes[0], sizes[1], sizes[2], sizes[3]);
  throw Error("ERR_OPTION", "plan: expected product or chain, and four sizes, got '" + what + "'");
}

std::unique_ptr<Recording> record() {
  // Work before a recording leaves cached memory that the recording cannot use.
  state().segments->empty_cache();
  return std::make_unique<Graph>();
}

}  // namespace
}  // namespace cuda

extern const Backend cuda_backend;
const Backend cuda_backend = {
    .name = "cuda",
    .host_kernels = cuda::kHostKernels,
    .count = cuda::count,
    .available = cuda::available,
    .status = cuda::status,
    .default_index = cuda::default_index,
    .set_default = cuda::set_default,
    .memory = [](int index) -> Memory& { return *cuda::state_of(index).segments; },
    .copy = cuda::transfer,
    .kernels = []() -> const Kernels& { return cuda::table; },
    .settings = cuda::settings,
    .set_settings = cuda::set_settings,
    .select = cuda::select,
    .leave = cuda::leave,
    .synchronize = cuda::synchronize,
    .record = cuda::record,
    .plan = cuda::plan,
};

}  // namespace sffn
