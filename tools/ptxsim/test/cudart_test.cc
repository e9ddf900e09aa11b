// The stand-in for the CUDA runtime: registration, launches and their limits, late errors, memory, graphs.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>

#include "check.h"

extern "C" {
void** __cudaRegisterFatBinary(void* wrapper);
void __cudaRegisterFunction(void** binary, const char* host_function, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*);
const char* ptxsim_findings_json();
}

namespace ptxsim {
namespace {

// add(u32* p): p[i] += 1; p[1000] of anything smaller lies outside.
const char kPtx[] =
    ".version 9.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry add(.param .u64 p) .maxntid 128, 1, 1 { .reg .b32 %i, %v; .reg .b64 %at; ld.param.u64 %at, [p];\n"
    "mov.u32 %i, %tid.x; mad.wide.u32 %at, %i, 4, %at; ld.global.u32 %v, [%at]; add.u32 %v, %v, 1; st.global.u32 "
    "[%at], %v; ret; }\n";

// which(u32* p): *p is the compute capability that the PTX is for.
std::string which(const std::string& target, int value) {
  return ".version 9.0\n.target sm_" + target + "\n.address_size 64\n" +
         ".visible .entry which(.param .u64 p) { .reg .b64 %at; ld.param.u64 %at, [p];\nst.global.u32 [%at], " +
         std::to_string(value) + "; ret; }\n";
}

const char kAdd = 0, kWhich = 0;  // their addresses stand for the host's functions
constexpr size_t kMemory = 1 << 20;

/** Registers a kernel as the code of nvcc does: with a wrapper around a fat binary with an entry for each PTX. */
void add_kernel(const char* function, const char* name, const std::vector<std::string>& modules) {
  constexpr u32 kHeader = 16, kEntry = 64;
  static std::vector<std::vector<u8>> binaries;
  std::vector<u8> fat(kHeader);
  const auto write = [&](size_t at, auto value) { std::memcpy(&fat[at], &value, sizeof value); };
  for (const std::string& ptx : modules) {
    const size_t at = fat.size();
    fat.resize(at + kEntry + ptx.size() + 1);
    write(at, u16{1});
    write(at + 4, u32{kEntry});
    write(at + 8, u64{ptx.size() + 1});
    std::memcpy(&fat[at + kEntry], ptx.c_str(), ptx.size() + 1);
  }
  write(0, u32{0xBA55ED50});
  write(6, u16{kHeader});
  write(8, u64{fat.size() - kHeader});
  binaries.push_back(std::move(fat));
  struct {
    int magic = 0x466243b1, version = 1;
    const u8* data = binaries.back().data();
    void* unused = nullptr;
  } wrapper;
  __cudaRegisterFunction(__cudaRegisterFatBinary(&wrapper), function, nullptr, name, -1, nullptr, nullptr, nullptr,
                         nullptr, nullptr);
}

/** Registers the kernels once. */
void prepare() {
  static const bool done = [] {
    setenv("PTXSIM_MEMORY_BYTES", std::to_string(kMemory).c_str(), 1);
    setenv("PTXSIM_STRICT", "1", 1);
    setenv("PTXSIM_DEVICES", "2", 1);
    setenv("PTXSIM_MULTIPROCESSORS", "8", 1);
    setenv("PTXSIM_SHARED_BYTES", "101376", 1);
    add_kernel(&kAdd, "add", {kPtx});
    add_kernel(&kWhich, "which", {which("80", 80), which("90a", 90), which("100", 100), which("70", 70)});
    return true;
  }();
  static_cast<void>(done);
}

cudaError_t launch(void* p, unsigned threads, size_t shared = 0, cudaStream_t stream = nullptr) {
  void* arguments[] = {&p};
  return cudaLaunchKernel(&kAdd, dim3(1), dim3(threads), arguments, shared, stream);
}

bool reported(const char* kind) { return std::strstr(ptxsim_findings_json(), kind) != nullptr; }

/** Device memory for n words of zero. */
void* zeros(size_t n) {
  void* p = nullptr;
  CHECK(cudaMalloc(&p, n * 4) == cudaSuccess && cudaMemset(p, 0, n * 4) == cudaSuccess);
  return p;
}

u32 first(void* p) {
  u32 value = 0;
  CHECK(cudaMemcpy(&value, p, 4, cudaMemcpyDeviceToHost) == cudaSuccess);
  return value;
}

TEST(launches_run) {
  prepare();
  void* p = zeros(64);
  CHECK(launch(p, 64) == cudaSuccess && launch(p, 64) == cudaSuccess);
  CHECK(first(p) == 2);
  CHECK(cudaFree(p) == cudaSuccess && cudaFree(p) == cudaErrorInvalidValue);
}

TEST(sizes_of_the_device_are_given) {
  prepare();
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(properties.multiProcessorCount == 8 && properties.sharedMemPerBlockOptin == 101376);
}

TEST(the_latest_ptx_that_the_device_can_run_is_taken) {
  prepare();
  void* p = zeros(1);
  void* arguments[] = {&p};
  CHECK(cudaLaunchKernel(&kWhich, dim3(1), dim3(1), arguments, 0, nullptr) == cudaSuccess && first(p) == 90);
  cudaFuncAttributes attributes;
  CHECK(cudaFuncGetAttributes(&attributes, &kWhich) == cudaSuccess);
  CHECK(attributes.ptxVersion == 90 && attributes.binaryVersion == 90);
  cudaFree(p);
}

TEST(limits_of_launches) {
  prepare();
  void* p = zeros(128);
  CHECK(launch(p, 0) == cudaErrorInvalidConfiguration);
  CHECK(reported("launch-limits"));
  CHECK(launch(p, 1025) == cudaErrorInvalidConfiguration);
  CHECK(launch(p, 129) == cudaErrorInvalidConfiguration);  // more than .maxntid
  CHECK(launch(p, 128, 50000) == cudaErrorInvalidValue);   // more than 48 KiB unless asked for
  CHECK(cudaFuncSetAttribute(&kAdd, cudaFuncAttributeMaxDynamicSharedMemorySize, 50000) == cudaSuccess);
  cudaDeviceSynchronize();
  cudaGetLastError();
  CHECK(launch(p, 128, 50000) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess);
  CHECK(cudaFuncSetAttribute(&kAdd, cudaFuncAttributeMaxDynamicSharedMemorySize, 101376) == cudaSuccess);
  CHECK(cudaFuncSetAttribute(&kAdd, cudaFuncAttributeMaxDynamicSharedMemorySize, 101377) == cudaErrorInvalidValue);
  cudaGetLastError();
  cudaFree(p);
}

TEST(faults_arrive_late) {
  prepare();
  void* p = zeros(64);
  CHECK(launch(p, 128) == cudaSuccess);  // 64 words too many
  CHECK(cudaDeviceSynchronize() != cudaSuccess);
  CHECK(cudaGetLastError() != cudaSuccess && cudaGetLastError() == cudaSuccess);
  CHECK(reported("global-out-of-bounds"));
  CHECK(launch(p, 64) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess);
  cudaFree(p);
}

TEST(memory_has_a_limit) {
  prepare();
  void* p = nullptr;
  size_t free = 0, total = 0;
  CHECK(cudaMalloc(&p, kMemory + 1) == cudaErrorMemoryAllocation && p == nullptr);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess && total == kMemory && free <= total);
  CHECK(cudaMalloc(&p, 1000) == cudaSuccess && cudaFree(p) == cudaSuccess);
}

TEST(copies_have_bounds) {
  prepare();
  void* p = zeros(4);
  u32 words[8] = {};
  CHECK(cudaMemcpy(p, words, 32, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(reported("copy-out-of-bounds"));
  CHECK(cudaMemset(p, 0, 32) == cudaErrorInvalidValue);
  CHECK(reported("fill-out-of-bounds"));
  cudaDeviceSynchronize();
  cudaGetLastError();
  cudaFree(p);
}

TEST(graphs_replay) {
  prepare();
  void* p = zeros(64);
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  cudaStreamCreate(&stream);
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(launch(p, 64, 0, stream) == cudaSuccess && launch(p, 32, 0, stream) == cudaSuccess);
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK(first(p) == 0);
  CHECK(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess && cudaGraphLaunch(executable, stream) == cudaSuccess);
  CHECK(first(p) == 4);
  cudaGraphExecDestroy(executable);
  cudaStreamDestroy(stream);
  cudaGetLastError();
  cudaFree(p);
}

/** How many findings have this in their message. */
int reports_of(const std::string& message) {
  const std::string all = ptxsim_findings_json();
  int count = 0;
  for (size_t at = all.find(message); at != std::string::npos; at = all.find(message, at + 1)) ++count;
  return count;
}

/** Records `body` on a new stream and returns what ending the capture gives. Errors that the body left are cleared. */
cudaError_t capture(const std::function<void(cudaStream_t)>& body) {
  cudaStream_t stream;
  cudaGraph_t graph = nullptr;
  cudaStreamCreate(&stream);
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  body(stream);
  const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
  CHECK((graph != nullptr) == (ended == cudaSuccess));
  if (graph) cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  cudaDeviceSynchronize();
  cudaGetLastError();
  return ended;
}

TEST(waiting_ends_a_capture) {
  prepare();
  cudaStream_t other;
  cudaStreamCreate(&other);
  for (const bool device : {false, true})
    CHECK(capture([&](cudaStream_t stream) {
            CHECK(cudaStreamSynchronize(other) == cudaSuccess);
            CHECK((device ? cudaDeviceSynchronize() : cudaStreamSynchronize(stream)) ==
                  cudaErrorStreamCaptureUnsupported);
          }) == cudaErrorStreamCaptureInvalidated);
  cudaStreamDestroy(other);
}

TEST(what_a_capture_must_not_hold_is_reported) {
  prepare();
  void* p = zeros(64);
  const char *freed = "memory is freed", *unlocked = "not page-locked", *foreign = "another thread",
             *loaded = "is loaded while a stream records";
  CHECK(capture([&](cudaStream_t) {
          void* q = nullptr;
          CHECK(cudaMalloc(&q, 4) == cudaSuccess && reports_of(freed) == 0);
          cudaFree(q);
        }) == cudaSuccess);
  CHECK(reports_of(freed) == 1);
  u32 here = 0;
  void* locked = nullptr;
  CHECK(cudaMallocHost(&locked, 8) == cudaSuccess);
  capture([&](cudaStream_t stream) {
    CHECK(cudaMemcpyAsync(static_cast<char*>(locked) + 4, p, 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    CHECK(reports_of(unlocked) == 0);
    CHECK(cudaMemcpyAsync(&here, p, 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  });
  CHECK(reports_of(unlocked) == 1);
  CHECK(launch(p, 64) == cudaSuccess);
  capture([&](cudaStream_t stream) {
    CHECK(launch(p, 64, 0, stream) == cudaSuccess && reports_of(foreign) == 0);
    std::thread([&] { launch(p, 64, 0, stream); }).join();
  });
  CHECK(reports_of(foreign) == 1);
  static const char kNew = 0;
  add_kernel(&kNew, "add", {kPtx});
  capture([&](cudaStream_t stream) {
    void* arguments[] = {&p};
    CHECK(reports_of(loaded) == 0);
    cudaLaunchKernel(&kNew, dim3(1), dim3(64), arguments, 0, stream);
  });
  CHECK(reports_of(loaded) == 1);
  cudaFreeHost(locked);
  cudaFree(p);
}

TEST(a_failure_shows_in_later_calls) {
  prepare();
  void *p = zeros(64), *q = nullptr;
  CHECK(launch(p, 128) == cudaSuccess);  // 64 words too many
  CHECK(cudaMalloc(&q, 4) != cudaSuccess && cudaMalloc(&q, 4) != cudaErrorMemoryAllocation);
  CHECK(cudaDeviceSynchronize() != cudaSuccess && cudaMalloc(&q, 4) == cudaSuccess);
  cudaGetLastError();
  cudaFree(q);
  cudaFree(p);
}

/** Runs `body` with the second device as this thread's. */
void on_second(const std::function<void()>& body) {
  int before = -1;
  CHECK(cudaGetDevice(&before) == cudaSuccess && before == 0 && cudaSetDevice(1) == cudaSuccess);
  body();
  CHECK(cudaSetDevice(before) == cudaSuccess);
}

TEST(there_are_as_many_devices_as_asked_for) {
  prepare();
  int count = 0, value = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess && count == 2);
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 1) == cudaSuccess && value == 8);
  for (const int index : {-1, 2}) {
    cudaDeviceProp properties;
    CHECK(cudaSetDevice(index) == cudaErrorInvalidDevice);
    CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, index) == cudaErrorInvalidDevice);
    CHECK(cudaGetDeviceProperties(&properties, index) == cudaErrorInvalidDevice);
  }
  cudaGetLastError();
  on_second([] {
    std::thread([] {
      int other = -1;  // each thread starts on the first
      CHECK(cudaGetDevice(&other) == cudaSuccess && other == 0);
    }).join();
  });
}

TEST(devices_have_memory_and_kernels_of_their_own) {
  prepare();
  void *here = zeros(64), *there = nullptr;
  size_t before = 0, free = 0, total = 0;
  cudaMemGetInfo(&before, &total);
  on_second([&] {
    there = zeros(64);
    CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess && free == total - 256);
    CHECK(launch(there, 64) == cudaSuccess && first(there) == 1);
    CHECK(launch(there, 128, 50000) == cudaErrorInvalidValue);  // the request on the first device does not count here
    cudaDeviceSynchronize();
    cudaGetLastError();
  });
  CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess && free == before && first(here) == 0);
  u32 value = 0;
  CHECK(cudaMemcpyPeerAsync(here, 0, there, 1, 256, nullptr) == cudaSuccess && first(here) == 1);
  CHECK(cudaMemcpy(&value, there, 4, cudaMemcpyDeviceToHost) == cudaSuccess && value == 1);
  const int known = reports_of("of device 0 from");
  CHECK(cudaMemcpyPeerAsync(here, 0, there, 0, 256, nullptr) == cudaErrorInvalidValue);
  CHECK(reports_of("of device 0 from") == known + 1);
  cudaDeviceSynchronize();
  cudaGetLastError();
  CHECK(cudaFree(there) == cudaSuccess && cudaFree(here) == cudaSuccess);
}

TEST(what_belongs_to_another_device_is_reported) {
  prepare();
  void* there = nullptr;
  cudaStream_t foreign;
  cudaEvent_t event;
  on_second([&] {
    there = zeros(64);
    cudaStreamCreate(&foreign);
  });
  CHECK(!reported("global-other-device") && launch(there, 64) == cudaSuccess);
  CHECK(cudaDeviceSynchronize() != cudaSuccess && reported("global-other-device"));
  on_second([] { CHECK(cudaDeviceSynchronize() == cudaSuccess); });
  void* here = zeros(64);
  CHECK(launch(here, 64, 0, foreign) == cudaErrorInvalidResourceHandle);
  CHECK(cudaDeviceSynchronize() != cudaSuccess && first(here) == 0);  // a finding fails what follows, and nothing ran
  CHECK(reports_of("on a stream of device 1 by a thread of device 0") == 1);
  CHECK(cudaEventCreate(&event) == cudaSuccess && cudaEventRecord(event, nullptr) == cudaSuccess);
  CHECK(cudaEventRecord(event, foreign) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamWaitEvent(foreign, event, 0) == cudaSuccess);
  cudaDeviceSynchronize();
  cudaGetLastError();
  cudaEventDestroy(event);
  cudaStreamDestroy(foreign);
  cudaFree(there);
  cudaFree(here);
}

TEST(one_device_records_while_another_computes) {
  prepare();
  void* there = nullptr;
  on_second([&] { there = zeros(64); });
  CHECK(capture([&](cudaStream_t) {
          on_second([&] {
            CHECK(launch(there, 64) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess && first(there) == 1);
            CHECK(cudaFree(there) == cudaSuccess);
          });
        }) == cudaSuccess);
}

}  // namespace
}  // namespace ptxsim
