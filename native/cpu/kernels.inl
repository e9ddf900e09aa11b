// Every CPU kernel, written once; each isa_*.cc includes this under its own target and namespace.
#include "simd.inl"
#include "pending.inl"

extern const Kernels kernels;
const Kernels kernels = {
#define KERNEL(name, ...) name,
#include "../kernels.def"
#undef KERNEL
};
