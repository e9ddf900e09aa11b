// A stand-in for libcudart_static.a: same ABI, runs the PTX embedded in the object's fatbin with ptxsim.
// Build the .cu with a PTX entry and --compress-mode=none, link this instead of cudart_static.
#include <cuda_runtime_api.h>
#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include "ptxsim.hpp"
using namespace ptxsim;
namespace {
struct Fat {
  std::string ptx;
  std::unique_ptr<Module> mod;
};
struct Kern {
  Fat* fat;
  std::string name;
  Func* f = nullptr;
  int maxDyn = 49152;
};
void writeReport();
struct Entry {
  std::string kernel;
  Report r;
};
struct Total {
  u64 launches = 0;
  Stats st;
};
struct RT {
  std::vector<Entry> found;
  std::map<std::string, Total> totals;
  std::recursive_mutex mu;
  Device D;
  std::vector<std::unique_ptr<Fat>> fats;
  std::map<const void*, std::unique_ptr<Kern>> kern;
  cudaError_t last = cudaSuccess;
  struct Cfg {
    dim3 g, b;
    size_t sh;
    cudaStream_t s;
  };
  std::vector<Cfg> stk;
  u64 launches = 0, findings = 0;
  std::vector<std::string> log;
  Config cfg;
  bool quiet;
  RT() {
    if (const char* e = getenv("PTXSIM_SCHEDULE")) {
      std::string s = e;
      cfg.sched = s == "reverse" ? 1 : s.rfind("random", 0) == 0 ? 2 : 0;
      if (s.rfind("random:", 0) == 0) cfg.seed = strtoull(s.c_str() + 7, 0, 10);
    }
    quiet = getenv("PTXSIM_VERBOSE") == nullptr;
    atexit(writeReport);
  }
};
RT& rt() {
  static RT* r = new RT;
  return *r;
}
typedef std::lock_guard<std::recursive_mutex> LK;
cudaError_t fail(cudaError_t e) {
  if (e) rt().last = e;
  return e;
}
cudaError_t launch(Kern* k, dim3 g, dim3 b, void** args, size_t sh) {
  RT& r = rt();
  LK l(r.mu);
  if (!k) return fail(cudaErrorInvalidDeviceFunction);
  try {
    if (!k->fat->mod) k->fat->mod = std::make_unique<Module>(k->fat->ptx, &r.D);
    if (!k->f) {
      auto i = k->fat->mod->F.find(k->name);
      if (i == k->fat->mod->F.end()) return fail(cudaErrorInvalidDeviceFunction);
      k->f = i->second.get();
    }
  } catch (std::exception& e) {
    fprintf(stderr, "[ptxsim] %s: %s\n", k->name.c_str(), e.what());
    return fail(cudaErrorInvalidPtx);
  }
  if (!g.x || !g.y || !g.z || !b.x || !b.y || !b.z || (u64)b.x * b.y * b.z > 1024 || g.y > 65535 || g.z > 65535 ||
      b.z > 64)
    return fail(cudaErrorInvalidConfiguration);
  if ((i64)sh > k->maxDyn || sh + k->f->sharedStatic > 232448)
    return fail(cudaErrorInvalidValue);  // 48 KB unless cudaFuncSetAttribute raised it
  std::vector<u8> pb(k->f->paramBytes);
  for (size_t i = 0; i < k->f->params.size(); i++) memcpy(&pb[k->f->params[i].off], args[i], k->f->params[i].size);
  Exec x(r.D, *k->fat->mod, *k->f, r.cfg);
  std::string fault;
  try {
    x.run({g.x, g.y, g.z}, {b.x, b.y, b.z}, (u32)sh, pb);
  } catch (std::exception& e) {
    fault = e.what();
  }
  r.launches++;
  r.findings += x.L.rep.size();
  for (auto& q : x.L.rep) r.found.push_back({k->name, q});
  {
    Total& t = r.totals[k->name];
    t.launches++;
    u64 *a = (u64*)&t.st, *b = (u64*)&x.L.st;
    for (size_t i = 0; i < sizeof(Stats) / 8; i++) a[i] += b[i];
  }
  for (auto& q : x.L.rep) r.log.push_back(k->name + ": " + q.kind + " x" + std::to_string(q.n) + ": " + q.msg);
  if (!r.quiet || !x.L.rep.empty()) {
    fprintf(stderr, "[ptxsim] %s<<<(%u,%u,%u),(%u,%u,%u),%zu>>> %s%s\n", k->name.c_str(), g.x, g.y, g.z, b.x, b.y, b.z,
            sh, x.L.rep.empty() ? "clean" : "FINDINGS", fault.empty() ? "" : (" FAULT " + fault).c_str());
    for (auto& q : x.L.rep)
      fprintf(stderr, "   !! %s x%llu: %s\n", q.kind.c_str(), (unsigned long long)q.n, q.msg.c_str());
  }
  if (!fault.empty()) return fail(cudaErrorIllegalAddress);
  return cudaSuccess;
}

std::string quoted(const std::string& s) {
  std::string o = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') o += '\\';
    if ((u8)c < 32)
      o += ' ';
    else
      o += c;
  }
  return o + "\"";
}
std::string reportJson() {
  RT& r = rt();
  std::string o = "{\"findings\":[";
  bool first = true;
  for (auto& e : r.found) {
    o += std::string(first ? "" : ",") + "\n{\"kernel\":" + quoted(e.kernel) + ",\"kind\":" + quoted(e.r.kind) +
         ",\"message\":" + quoted(e.r.msg) + ",\"count\":" + std::to_string(e.r.n) + "}";
    first = false;
  }
  o += "],\n\"kernels\":[";
  first = true;
  for (auto& k : r.totals) {
    const Stats& s = k.second.st;
    auto f = [&](const char* n, u64 v) { o += std::string(",\"") + n + "\":" + std::to_string(v); };
    o += std::string(first ? "" : ",") + "\n{\"name\":" + quoted(k.first);
    first = false;
    f("launches", k.second.launches);
    f("warpInstructions", s.winst);
    f("mmaFlops", s.mmaFlops);
    f("globalLoadSectors", s.gldSect + s.cpaSect);
    f("globalStoreSectors", s.gstSect);
    f("idealLoadSectors", s.gldIdeal + s.cpaSect);
    f("idealStoreSectors", s.gstIdeal);
    f("sharedWavefronts", s.sldWave + s.sstWave + s.ldmWave + s.cpaWave);
    f("idealSharedWavefronts", s.sldIdeal + s.sstIdeal + s.ldmReq + s.cpaIdeal);
    f("dramBytes", (s.uniqRd + s.uniqWr) * 32);
    o += "}";
  }
  return o + "]}\n";
}
void writeReport() {
  const char* p = getenv("PTXSIM_REPORT");
  if (!p) return;
  std::string path = p;
  size_t at = path.find("%p");
  if (at != std::string::npos) path.replace(at, 2, std::to_string(getpid()));
  if (FILE* f = fopen(path.c_str(), "w")) {
    std::string j = reportJson();
    fwrite(j.data(), 1, j.size(), f);
    fclose(f);
  }
}
}  // namespace
extern "C" {
void** __cudaRegisterFatBinary(void* w) {
  RT& r = rt();
  LK l(r.mu);
  struct W {
    int magic, ver;
    const u8* data;
    void* f;
  }* x = (W*)w;
  auto f = std::make_unique<Fat>();
  const u8* p = x->data;
  u32 magic;
  memcpy(&magic, p, 4);
  if (magic == 0xBA55ED50) {
    u16 hs;
    u64 sz;
    memcpy(&hs, p + 6, 2);
    memcpy(&sz, p + 8, 8);
    const u8 *q = p + hs, *e = q + sz;
    while (q < e) {
      u16 kind;
      u32 eh;
      u64 ps;
      memcpy(&kind, q, 2);
      memcpy(&eh, q + 4, 4);
      memcpy(&ps, q + 8, 8);
      u64 fl;
      memcpy(&fl, q + 40, 8);
      if (kind == 1) {
        const char* t = (const char*)q + eh;
        std::string s(t, strnlen(t, ps));
        if (s.find(".version") != std::string::npos)
          f->ptx = s;
        else
          fprintf(stderr, "[ptxsim] compressed PTX in fatbin (flags %llx): build with --compress-mode=none\n",
                  (unsigned long long)fl);
      }
      q += eh + ps;
    }
  }
  r.fats.push_back(std::move(f));
  return (void**)r.fats.back().get();
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void** h, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  RT& r = rt();
  LK l(r.mu);
  auto k = std::make_unique<Kern>();
  k->fat = (Fat*)h;
  k->name = name;
  r.kern[host] = std::move(k);
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t s, struct CUstream_st* st) {
  RT& r = rt();
  LK l(r.mu);
  r.stk.push_back({g, b, s, st});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* s, void* st) {
  RT& r = rt();
  LK l(r.mu);
  if (r.stk.empty()) return cudaErrorMissingConfiguration;
  auto c = r.stk.back();
  r.stk.pop_back();
  *g = c.g;
  *b = c.b;
  *s = c.sh;
  *(cudaStream_t*)st = c.s;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* k, const void* f) {
  RT& r = rt();
  LK l(r.mu);
  auto i = r.kern.find(f);
  if (i == r.kern.end()) return fail(cudaErrorInvalidDeviceFunction);
  *k = (cudaKernel_t)i->second.get();
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t) {
  return launch((Kern*)k, g, b, a, s);
}
cudaError_t cudaLaunchKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t) {
  RT& r = rt();
  auto i = r.kern.find(f);
  return launch(i == r.kern.end() ? nullptr : i->second.get(), g, b, a, s);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** a) {
  for (unsigned i = 0; i < c->numAttrs; i++)
    if (c->attrs[i].id == cudaLaunchAttributeClusterDimension &&
        c->attrs[i].val.clusterDim.x * c->attrs[i].val.clusterDim.y * c->attrs[i].val.clusterDim.z > 1)
      fprintf(stderr, "[ptxsim] cluster launch >1 is run as independent CTAs\n");
  return cudaLaunchKernel(f, c->gridDim, c->blockDim, a, c->dynamicSmemBytes, c->stream);
}
cudaError_t cudaMemGetInfo(size_t* f, size_t* t) {
  *t = 1ull << 30;
  *f = *t - rt().D.liveBytes;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute a, int v) {
  RT& r = rt();
  auto i = r.kern.find(f);
  if (i == r.kern.end()) return fail(cudaErrorInvalidDeviceFunction);
  if (a == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (v > 232448) return fail(cudaErrorInvalidValue);
    i->second->maxDyn = v;
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* d) {
  *d = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) { return d ? fail(cudaErrorInvalidDevice) : cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "ptxsim (simulated sm_90)");
  p->major = 9;
  p->minor = 0;
  p->multiProcessorCount = 132;
  p->warpSize = 32;
  p->sharedMemPerBlock = 49152;
  p->sharedMemPerBlockOptin = 232448;
  p->sharedMemPerMultiprocessor = 233472;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->totalGlobalMem = 1ull << 30;
  p->l2CacheSize = 50 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int) {
  switch (a) {
    case cudaDevAttrMultiProcessorCount:
      *v = 132;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *v = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *v = 0;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *v = 232448;
      break;
    default:
      *v = 0;
  }
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** p, size_t n) {
  RT& r = rt();
  LK l(r.mu);
  if (r.D.liveBytes + n > (1ull << 30)) {
    *p = nullptr;
    return fail(cudaErrorMemoryAllocation);
  }
  *p = n ? (void*)r.D.alloc(n, ("alloc#" + std::to_string(r.D.A.size())).c_str()) : nullptr;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  RT& r = rt();
  LK l(r.mu);
  if (!p) return cudaSuccess;
  return r.D.free_((u64)p) ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  RT& r = rt();
  LK l(r.mu);
  if (r.last == cudaErrorIllegalAddress) return r.last;
  try {
    if (!n) return cudaSuccess;
    if (k == cudaMemcpyHostToDevice)
      r.D.up((u64)d, s, n);
    else if (k == cudaMemcpyDeviceToHost)
      r.D.down(d, (u64)s, n);
    else if (k == cudaMemcpyDeviceToDevice) {
      std::vector<u8> t(n);
      r.D.down(t.data(), (u64)s, n);
      r.D.up((u64)d, t.data(), n);
    } else
      return fail(cudaErrorInvalidMemcpyDirection);
  } catch (std::exception& e) {
    fprintf(stderr, "[ptxsim] %s\n", e.what());
    return fail(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t) {
  return cudaMemcpy(d, s, n, k);
}
cudaError_t cudaMemset(void* d, int v, size_t n) {
  RT& r = rt();
  LK l(r.mu);
  try {
    r.D.set((u64)d, v, n);
  } catch (...) {
    return fail(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t) { return cudaMemset(d, v, n); }
cudaError_t cudaStreamCreate(cudaStream_t* s) {
  *s = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  *s = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return rt().last == cudaErrorIllegalAddress ? rt().last : cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(0); }
cudaError_t cudaGetLastError() {
  RT& r = rt();
  auto e = r.last;
  r.last = cudaSuccess;
  return e;
}
cudaError_t cudaPeekAtLastError() { return rt().last; }
const char* cudaGetErrorName(cudaError_t e) {
  return e == cudaSuccess               ? "cudaSuccess"
         : e == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress"
         : e == cudaErrorInvalidValue   ? "cudaErrorInvalidValue"
                                        : "cudaError(sim)";
}
const char* cudaGetErrorString(cudaError_t e) { return e == cudaSuccess ? "no error" : "simulated CUDA error"; }
cudaError_t cudaDriverGetVersion(int* v) {
  *v = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = 13000;
  return cudaSuccess;
}
// for the test suite
unsigned long long ptxsim_launches() { return rt().launches; }
unsigned long long ptxsim_findings() { return rt().findings; }
const char* ptxsim_finding(unsigned i) { return i < rt().log.size() ? rt().log[i].c_str() : nullptr; }

cudaError_t cudaMallocHost(void** p, size_t n) {
  *p = malloc(n);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  free(p);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
}
