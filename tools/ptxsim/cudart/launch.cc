// Launches and the attributes of kernels.
#include <algorithm>
#include <cstring>

#include "runtime.h"

namespace ptxsim {
namespace {

constexpr u64 kThreadsPerBlock = 1024;

bool valid(dim3 grid, dim3 block) {
  const bool some = grid.x && grid.y && grid.z && block.x && block.y && block.z;
  return some && grid.x <= 0x7FFFFFFF && grid.y <= 65535 && grid.z <= 65535 && block.x <= 1024 && block.y <= 1024 &&
         block.z <= 64 && u64{block.x} * block.y * block.z <= kThreadsPerBlock;
}

std::string describe(const std::string& name, dim3 grid, dim3 block, size_t shared) {
  const auto text = [](dim3 d) { return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z); };
  return name + ": grid " + text(grid) + ", block " + text(block) + ", " + std::to_string(shared) +
         " bytes of dynamic shared memory";
}

// The limits that a device checks before it runs anything. A launch beyond them is also a finding, because hosts may
// miss the error.
cudaError_t check_limits(Runtime& r, Kernel& kernel, const Program& program, dim3 grid, dim3 block, size_t shared) {
  const u64 threads = u64{block.x} * block.y * block.z;
  cudaError_t error = cudaSuccess;
  if (!valid(grid, block))
    error = cudaErrorInvalidConfiguration;
  else if (shared > static_cast<size_t>(kernel.here().max_dynamic_shared) ||
           shared + program.static_shared > static_cast<size_t>(Runtime::get().shared_per_block))
    error = cudaErrorInvalidValue;
  else if (program.max_threads && threads > static_cast<u64>(program.max_threads))
    error = cudaErrorInvalidConfiguration;
  if (error != cudaSuccess) r.find("launch-limits", describe(kernel.name, grid, block, shared));
  return error;
}

cudaError_t launch(Kernel* kernel, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t stream) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  if (!kernel) return r.fail(cudaErrorInvalidDeviceFunction);
  r.load(*kernel);
  cudaError_t error;
  const Program* program = r.program(*kernel, error);
  if (program) error = check_limits(r, *kernel, *program, grid, block, shared);
  if (const auto* s = reinterpret_cast<Stream*>(stream); s && s->device != current_device) {
    r.find("other-device", kernel->name + " is launched on a stream of device " + std::to_string(s->device) +
                               " by a thread of device " + std::to_string(current_device));
    error = cudaErrorInvalidResourceHandle;
  }
  if (error != cudaSuccess) return r.fail(error);
  std::vector<u8> parameters(program->parameter_bytes);
  for (size_t i = 0; i < program->parameters.size(); ++i)
    std::memcpy(&parameters[program->parameters[i].offset], arguments[i], program->parameters[i].size);
  const Dim3 g{grid.x, grid.y, grid.z}, b{block.x, block.y, block.z};
  return r.fail(r.submit(stream, [&r, kernel, g, b, shared, parameters] {
    return r.launch(*kernel, g, b, static_cast<u32>(shared), parameters);
  }));
}

cudaError_t with_program(const void* function, const auto& use) {
  Runtime& r = Runtime::get();
  const Lock lock(r.mutex);
  Kernel* kernel = r.kernel(function);
  if (!kernel) return r.fail(cudaErrorInvalidDeviceFunction);
  r.load(*kernel);
  cudaError_t error;
  const Program* program = r.program(*kernel, error);
  return program ? r.fail(use(*kernel, *program)) : r.fail(error);
}

}  // namespace
}  // namespace ptxsim

using namespace ptxsim;

extern "C" {

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                               cudaStream_t stream) {
  return launch(reinterpret_cast<Kernel*>(kernel), grid, block, arguments, shared, stream);
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                             cudaStream_t stream) {
  return launch(Runtime::get().kernel(function), grid, block, arguments, shared, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    const auto& cluster = attribute.val.clusterDim;
    if (attribute.id == cudaLaunchAttributeClusterDimension && cluster.x * cluster.y * cluster.z > 1)
      return Runtime::get().fail(cudaErrorNotSupported);
  }
  return cudaLaunchKernel(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
                          config->stream);
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return with_program(function, [=](Kernel& kernel, const Program& program) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || value + static_cast<int>(program.static_shared) > Runtime::get().shared_per_block)
      return cudaErrorInvalidValue;
    kernel.here().max_dynamic_shared = value;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* function) {
  return with_program(function, [=](Kernel& kernel, const Program& program) {
    *out = {};
    out->sharedSizeBytes = program.static_shared;
    out->localSizeBytes = program.local_bytes;
    out->maxDynamicSharedSizeBytes = kernel.here().max_dynamic_shared;
    out->maxThreadsPerBlock = program.max_threads ? program.max_threads : static_cast<int>(kThreadsPerBlock);
    out->ptxVersion = kernel.binary->target;
    out->binaryVersion = Runtime::get().compute_capability;
    return cudaSuccess;
  });
}

// By threads and shared memory: PTX does not give the number of registers.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          size_t dynamic_shared) {
  return with_program(function, [=](Kernel&, const Program& program) {
    if (threads <= 0) return cudaErrorInvalidValue;
    const int shared = static_cast<int>(program.static_shared + dynamic_shared) + 1024;
    *blocks = std::min({kThreadsPerMultiprocessor / threads, Runtime::get().shared_per_multiprocessor() / shared, 32});
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                   size_t dynamic_shared, unsigned) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, dynamic_shared);
}
}
