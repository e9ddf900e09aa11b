#include "handlers.h"

namespace ptxsim {
namespace {

void no_operation(Executor&, Warp&, const Instruction&, u32) {}

void trap(Executor& ex, Warp&, const Instruction& in, u32) { ex.fault(in, "trap", "trap executed"); }

}  // namespace

Handler find_handler(const Instruction& in) {
  if (in.has(kControl) || in.op == Op::nop) return no_operation;
  if (in.op == Op::trap) return trap;
  for (const auto find : {integer_handler, bit_handler, float_handler, compare_handler, convert_handler, move_handler,
                          memory_handler, atomic_handler, warp_handler, async_handler, matrix_handler, wgmma_handler})
    if (const Handler handler = find(in)) return handler;
  throw PtxError("not supported");
}

}  // namespace ptxsim
