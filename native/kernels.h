// The kernel table: one per backend, and on the CPU one per instruction set.
#pragma once

#include "tensor.h"

namespace sffn {

struct Kernels {
#define KERNEL(name, ...) void (*name)(__VA_ARGS__);
#include "kernels.def"
#undef KERNEL
};

const Kernels& cpu_kernels();  // of the instruction set in use

// Instruction sets of this build that this processor can run, best first, separated by commas.
std::string available_isas();
std::string current_isa();
// Throws Error("ERR_OPTION") for a name that is not available. The initial choice is the environment's
// STRUCTURED_FFN_ISA.
void set_isa(const std::string& name);

}  // namespace sffn
