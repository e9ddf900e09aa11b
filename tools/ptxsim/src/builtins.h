// The functions that device code calls without defining them: printf and assert.
#pragma once
#include "executor.h"

namespace ptxsim {

void call_builtin(Executor& ex, Warp& w, const Instruction& in, const CallSite& site, u32 mask);

}  // namespace ptxsim
