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
Memory& cuda_memory() { refuse(); }
void cuda_copy(View, View) { refuse(); }
void cuda_synchronize() { refuse(); }
std::unique_ptr<Recording> cuda_record() { refuse(); }
const Kernels& cuda_kernels() { refuse(); }

}  // namespace sffn
