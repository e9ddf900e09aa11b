// Matrix decompositions of tensors on the device, computed on the host. They initialise and compress layers, once, and
// are sequences of small dependent steps in float64, in which a device has little to win: what counts is that they are
// those of native/linalg.cc, value for value. They wait for the device, so no recorded graph may hold them.
#include "../linalg.h"

#include "common.cuh"

namespace sffn::cuda {
namespace {

// A copy on the host of a device's float32 tensor, or room for one.
class HostCopy {
 public:
  explicit HostCopy(int64_t size) : memory_(size), size_(size) {}
  View view() const { return {memory_.get(), size_, DType::f32, Device::cpu}; }
  const HostCopy& from(View device) const {
    cuda_copy(device, view());
    return *this;
  }
  void to(View device) const { cuda_copy(view(), device); }

 private:
  Scratch<float> memory_;
  int64_t size_;
};

}  // namespace

void svd(View a, View u, View s, View vt, int64_t batch, int64_t m, int64_t n, int64_t rank) {
  const HostCopy a_host(a.size), u_host(u.size), s_host(s.size), vt_host(vt.size);
  sffn::svd(a_host.from(a).view(), u_host.view(), s_host.view(), vt_host.view(), batch, m, n, rank);
  u_host.to(u);
  s_host.to(s);
  vt_host.to(vt);
}

void polar(View a, View y, int64_t batch, int64_t m, int64_t n) {
  const HostCopy a_host(a.size), y_host(y.size);
  sffn::polar(a_host.from(a).view(), y_host.view(), batch, m, n);
  y_host.to(y);
}

}  // namespace sffn::cuda
