// What the code that nvcc generates calls before main: fat binaries and the kernels in them.
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime.h"

namespace ptxsim {
namespace {

constexpr u32 kFatMagic = 0xBA55ED50;
constexpr u16 kPtxEntry = 1;

template <class T>
T read(const u8* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The compute capability that PTX was made for, if the device can run it: its own must be at least as high, or exactly
// that where the target is architecture-specific (sm_90a). Else 0.
int target_of(const std::string& ptx, int compute_capability) {
  constexpr const char* kTarget = ".target sm_";
  const size_t at = ptx.find(kTarget);
  if (at == std::string::npos) return 0;
  char* end;
  const int target = static_cast<int>(std::strtol(ptx.c_str() + at + std::strlen(kTarget), &end, 10));
  return (*end == 'a' ? target == compute_capability : target <= compute_capability) ? target : 0;
}

// Takes the PTX of the highest compute capability that the device can run. A fat binary: a header (its size at 6, that
// of the rest at 8), then entries, each with kind at 0, header size at 4 and size at 8.
void find_ptx(const u8* data, int compute_capability, FatBinary& binary) {
  if (read<u32>(data) != kFatMagic) return;
  const u8* at = data + read<u16>(data + 6);
  const u8* end = at + read<u64>(data + 8);
  while (at < end) {
    const u32 header = read<u32>(at + 4);
    const u64 size = read<u64>(at + 8);
    if (read<u16>(at) == kPtxEntry) {
      const char* text = reinterpret_cast<const char*>(at + header);
      std::string ptx(text, strnlen(text, size));
      const int target = target_of(ptx, compute_capability);
      if (target > binary.target) binary.ptx = std::move(ptx), binary.target = target;
    }
    at += header + size;
  }
}

struct FatWrapper {
  int magic, version;
  const u8* data;
  void* unused;
};

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};

thread_local std::vector<Configuration> configurations;

}  // namespace
}  // namespace ptxsim

using namespace ptxsim;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  auto binary = std::make_unique<FatBinary>();
  find_ptx(static_cast<FatWrapper*>(wrapper)->data, r.compute_capability, *binary);
  if (binary->ptx.empty())
    r.find("ptx",
           "an object without uncompressed PTX for this device: compile with a PTX entry and --compress-mode=none");
  r.binaries.push_back(std::move(binary));
  return reinterpret_cast<void**>(r.binaries.back().get());
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

void __cudaRegisterFunction(void** binary, const char* host_function, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  auto kernel = std::make_unique<Kernel>();
  kernel->binary = reinterpret_cast<FatBinary*>(binary);
  kernel->name = name;
  r.kernels[host_function] = std::move(kernel);
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (configurations.empty()) return Runtime::get().fail(cudaErrorMissingConfiguration);
  const Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* out, const void* host_function) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  Kernel* kernel = r.kernel(host_function);
  if (!kernel) return r.fail(cudaErrorInvalidDeviceFunction);
  *out = reinterpret_cast<cudaKernel_t>(kernel);
  return cudaSuccess;
}
}
