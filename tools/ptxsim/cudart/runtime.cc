#include "runtime.h"

#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace ptxsim {
namespace {

std::string variable(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value ? value : fallback;
}

// A setting that is not understood would test the wrong thing: the process ends.
[[noreturn]] void refuse(const char* name, const std::string& expected) {
  std::fprintf(stderr, "[ptxsim] %s: expected %s, got '%s'\n", name, expected.c_str(), variable(name, "").c_str());
  std::_Exit(2);
}

std::optional<u64> parse(std::string_view text) {
  u64 number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && stop == end ? std::optional(number) : std::nullopt;
}

u64 number(const char* name, u64 fallback, u64 least, u64 most = INT32_MAX) {
  const std::optional<u64> given = parse(variable(name, std::to_string(fallback).c_str()));
  if (!given || *given < least || *given > most)
    refuse(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return *given;
}

bool enabled(const char* name) { return number(name, 0, 0, 1) == 1; }

Options options_from_environment() {
  Options options;
  const std::string schedule = variable("PTXSIM_SCHEDULE", "forward"), random = "random:";
  const std::optional<u64> seed = schedule.starts_with(random) ? parse(schedule.substr(random.size())) : std::nullopt;
  if (seed) {
    options.schedule = Schedule::random;
    options.seed = *seed;
  } else if (schedule == "reverse") {
    options.schedule = Schedule::reverse;
  } else if (schedule != "forward") {
    refuse("PTXSIM_SCHEDULE", "forward, reverse or random:SEED");
  }
  options.max_instructions = number("PTXSIM_MAX_INSTRUCTIONS", options.max_instructions, 1, UINT64_MAX);
  return options;
}

}  // namespace

// Never destroyed: the host's static destructors may still free device memory.
Runtime& Runtime::get() {
  static Runtime& instance = *[] {
    auto* runtime = new Runtime;
    std::atexit([] { get().write_report(); });
    return runtime;
  }();
  return instance;
}

Runtime::Runtime()
    : memory_limit(number("PTXSIM_MEMORY_BYTES", u64{1} << 30, 0, UINT64_MAX)),
      compute_capability(static_cast<int>(number("PTXSIM_COMPUTE_CAPABILITY", 90, 10))),
      multiprocessors(static_cast<int>(number("PTXSIM_MULTIPROCESSORS", 132, 1))),
      shared_per_block(static_cast<int>(number("PTXSIM_SHARED_BYTES", 232448, 48 << 10))),
      options_(options_from_environment()),
      report_path_(variable("PTXSIM_REPORT", "")),
      strict_(enabled("PTXSIM_STRICT")),
      coverage_(enabled("PTXSIM_COVERAGE")),
      verbose_(enabled("PTXSIM_VERBOSE")) {
  const int count = static_cast<int>(number("PTXSIM_DEVICES", 1, 1, kMostDevices));
  for (int index = 0; index < count; ++index) devices.push_back(std::make_unique<Device>(index));
  if (const size_t at = report_path_.find("%p"); at != std::string::npos)
    report_path_.replace(at, 2, std::to_string(getpid()));
}

cudaError_t Runtime::fail(cudaError_t error) {
  if (error != cudaSuccess) last_ = error;
  return error;
}

cudaError_t Runtime::synchronize(Device& device) {
  const cudaError_t error = device.late;
  device.late = cudaSuccess;
  return fail(error);
}

DeviceMemory* Runtime::memory_of(u64 address) {
  if (address < DeviceMemory::kBase) return nullptr;
  const auto index = static_cast<size_t>(DeviceMemory::device_of(address));
  return index < devices.size() ? &devices[index]->memory : nullptr;
}

cudaError_t Runtime::take_last_error() {
  const cudaError_t error = last_;
  last_ = cudaSuccess;
  return error;
}

cudaError_t Runtime::submit(cudaStream_t stream, Work work) {
  auto* s = reinterpret_cast<Stream*>(stream);
  if (!s || !s->capture) return work();
  if (std::this_thread::get_id() != s->recorder)
    find("capture", "work of another thread than the one that records gets into the graph");
  s->capture->work.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t Runtime::wait_for(Stream& stream) {
  Device& device = *devices[static_cast<size_t>(stream.device)];
  return device.recording == &stream ? wait_for(device) : synchronize(device);
}

cudaError_t Runtime::wait_for(Device& device) {
  if (!device.recording) return synchronize(device);
  device.recording->invalid = true;
  return fail(cudaErrorStreamCaptureUnsupported);
}

void Runtime::load(Kernel& kernel) {
  if (here().recording && !kernel.here().loaded) find("capture", kernel.name + " is loaded while a stream records");
  kernel.here().loaded = true;
}

Kernel* Runtime::kernel(const void* host_function) {
  const auto found = kernels.find(host_function);
  return found == kernels.end() ? nullptr : found->second.get();
}

Program* Runtime::program(Kernel& kernel, cudaError_t& error) {
  try {
    std::unique_ptr<Module>& module = kernel.binary->modules[current_device];
    if (!module) module = std::make_unique<Module>(kernel.binary->ptx, here().memory);
    Program* program = module->kernel(kernel.name);
    error = program ? cudaSuccess : cudaErrorInvalidDeviceFunction;
    return program;
  } catch (const PtxError& failure) {
    find("ptx", kernel.name + ": " + failure.what());
    error = cudaErrorInvalidPtx;
    return nullptr;
  }
}

void Runtime::find(const std::string& kind, const std::string& message) {
  const size_t known = report_.findings().size();
  report_.add(Finding{"", kind, message, 1});
  after_findings(known);
}

// Findings are written at once: a process that is killed must not lose them.
void Runtime::after_findings(size_t known) {
  const std::vector<Finding>& all = report_.findings();
  if (all.size() == known) return;
  for (size_t i = known; i < all.size(); ++i)
    std::fprintf(stderr, "[ptxsim] !! %s: %s x%llu: %s\n", all[i].kernel.c_str(), all[i].kind.c_str(),
                 static_cast<unsigned long long>(all[i].count), all[i].message.c_str());
  if (strict_) fail_later(cudaErrorLaunchFailure);
  write_report();
}

cudaError_t Runtime::launch(Kernel& kernel, Dim3 grid, Dim3 block, u32 dynamic_shared,
                            const std::vector<u8>& parameters) {
  cudaError_t error;
  Program* code = program(kernel, error);
  if (!code) return error;
  Executor executor(here().memory, *code, options_);
  std::string fault;
  try {
    executor.run(grid, block, dynamic_shared, parameters);
  } catch (const Fault& failure) {
    fault = failure.what();
    fail_later(fault.starts_with("misaligned") ? cudaErrorMisalignedAddress
               : fault.starts_with("global")   ? cudaErrorIllegalAddress
                                               : cudaErrorLaunchFailure);
  } catch (const PtxError& failure) {
    executor.report(nullptr, "ptx", failure.what());
    fail_later(cudaErrorInvalidPtx);
  }
  const size_t known = report_.findings().size();
  report_.add(*code, executor.findings(), executor.counters, dynamic_shared);
  if (verbose_)
    std::fprintf(stderr, "[ptxsim] %s<<<(%u,%u,%u),(%u,%u,%u),%u>>> %llu warp instructions %s\n", code->name.c_str(),
                 grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic_shared,
                 static_cast<unsigned long long>(executor.counters.warp_instructions), fault.c_str());
  after_findings(known);
  return cudaSuccess;
}

void Runtime::write_report() const {
  if (report_path_.empty()) return;
  std::FILE* file = std::fopen(report_path_.c_str(), "w");
  if (!file) return;
  const std::string json = report_json();
  std::fwrite(json.data(), 1, json.size(), file);
  std::fclose(file);
}

}  // namespace ptxsim

extern "C" {

/** The report so far as JSON text, valid until the next call. */
__attribute__((visibility("default"))) const char* ptxsim_findings_json() {
  static std::string text;
  ptxsim::Runtime& r = ptxsim::Runtime::get();
  const ptxsim::Lock lock(r.mutex);
  text = r.report_json();
  return text.c_str();
}
}
