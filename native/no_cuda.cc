#include "devices.h"
#include "kernels.h"

namespace sffn {
namespace {

[[noreturn]] void refuse() { throw Error("ERR_DEVICE", "device 'cuda' is " + cuda_status()); }

}  // namespace

bool cuda_available() { return false; }
std::string cuda_status() { return "not built: the binary was compiled without nvcc (npm run build:cuda)"; }
void set_cuda_device(int64_t) { refuse(); }
bool cuda_tf32() { return false; }
void set_cuda_tf32(bool) { refuse(); }
std::map<std::string, std::string> gemm_switches() { refuse(); }
void set_gemm_switches(const std::map<std::string, std::string>&) { refuse(); }
std::map<std::string, double> gemm_costs() { refuse(); }
void set_gemm_costs(const std::map<std::string, double>&) { refuse(); }
GemmPlan plan_gemm(int64_t, int64_t, int64_t, DType) { refuse(); }
ChainPlan plan_chain(int64_t, int64_t, int64_t, int64_t) { refuse(); }
CachingAllocator& cuda_memory() { refuse(); }
void cuda_copy(View, View) { refuse(); }
void cuda_synchronize() { refuse(); }
const Kernels& cuda_kernels() { refuse(); }

}  // namespace sffn
