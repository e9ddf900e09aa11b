// A kernel of the host for tensors that are on a device. All its operands are copied to the host before it runs, and
// all of them back afterwards. It waits for the device, so it cannot be recorded.
#pragma once

#include "allocator.h"
#include "backend.h"
#include "thread_pool.h"

namespace sffn {

// Sizes and options are on the host already.
template <class T>
struct HostArgument {
  T value;
  void give_back() const {}
};

template <>
struct HostArgument<Views>;  // no such kernel takes lists

template <>
class HostArgument<View> {
 public:
  HostArgument(View there)
      : there_(there),
        bytes_(there.size * static_cast<int64_t>(size_of(there.dtype))),
        value{there ? bytes_.get() : nullptr, there.size, there.dtype, Device{}} {
    if (there) copy_elements(there, value);
  }
  void give_back() const {
    if (there_) copy_elements(value, there_);
  }

 private:
  const View there_;
  const Scratch<char> bytes_;

 public:
  const View value;
};

template <auto kMember>
struct HostKernel;

template <class... A, void (*Kernels::*kMember)(A...)>
struct HostKernel<kMember> {
  static void run(A... arguments) {
    const auto call = [](const HostArgument<A>&... here) {
      const ComputeScope scope(Device{});
      (cpu_kernels().*kMember)(here.value...);
      (here.give_back(), ...);
    };
    call(HostArgument<A>{arguments}...);
  }
};

}  // namespace sffn
