// The decoded program: types, operands, instructions, functions.
#pragma once
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "numeric.h"

namespace ptxsim {

/** PTX that cannot be read, or that uses what the executor does not have. */
struct PtxError : std::runtime_error {
  using runtime_error::runtime_error;
};

/** Execution cannot go on: what a device reports as a failed launch. */
struct Fault : std::runtime_error {
  using runtime_error::runtime_error;
};

enum class Kind : u8 { none, uint, sint, real, bits, predicate, bf16, bf16x2, f16x2, tf32 };

struct Type {
  Kind kind = Kind::none;
  u8 bits = 0;
  int bytes() const { return bits / 8; }
  bool is(Kind k, int width) const { return kind == k && bits == width; }
  bool is_float() const {
    return kind == Kind::real || kind == Kind::bf16 || kind == Kind::bf16x2 || kind == Kind::f16x2;
  }
  bool is_signed() const { return kind == Kind::sint; }
};

/** The type a modifier such as "f32" names; Kind::none if it names none. */
Type parse_type(const std::string& name);

enum class Space : u8 { generic, global, shared, local, param, frame, constant };

enum class OperandKind : u8 { none, reg, predicate, constant, memory, vector, label, sink };

using Lanes = std::array<u64, kLanes>;

struct Operand {
  OperandKind kind = OperandKind::none;
  bool negated = false;          // !p
  int index = -1;                // of the register or predicate
  int second = -1;               // predicate q of p|q
  int base = -1;                 // memory: register of the address, -1 for none
  i64 offset = 0;                // memory: added to the base; label: added to the symbol
  u64 value = 0;                 // constant
  const Lanes* lanes = nullptr;  // constant, once for every lane
  std::string symbol;
  std::vector<Operand> items;  // vector: the elements; memory: what follows the address
};

// clang-format off
enum class Op : u16 {
  nop, add, sub, addc, subc, mul, mad, madc, fma, div, rem, min, max, abs, neg, and_, or_, xor_, not_, shl, shr, shf, bfe, bfi, bfind,
  popc, clz, brev, prmt, lop3, sad, mul24, mad24, dp4a, cnot, selp, slct, setp, set, cvt, cvta, isspacep, mov,
  ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh, copysign, testp,
  shfl, vote, match, redux, activemask, elect, bar_warp, bar, ld, st, atom, red,
  cp_async, cp_async_commit, cp_async_wait, cp_bulk, ldmatrix, stmatrix, movmatrix, mma,
  bra, brx, ret, exit, trap, call,
  mbarrier_init, mbarrier_arrive, mbarrier_expect, mbarrier_wait, mbarrier_inval,
  wgmma, wgmma_fence, wgmma_commit, wgmma_wait, fence_proxy,
};
// clang-format on

enum Flag : u32 {
  kHigh = 1 << 0,
  kWide = 1 << 1,
  kLow = 1 << 2,
  kFlushSubnormal = 1 << 3,
  kSaturate = 1 << 4,
  kToNearest = 1 << 5,   // .rni
  kToZero = 1 << 6,      // .rz, .rzi
  kDown = 1 << 7,        // .rm, .rmi
  kUp = 1 << 8,          // .rp, .rpi
  kWrap = 1 << 9,        // shf
  kLeft = 1 << 10,       // shf.l
  kTranspose = 1 << 11,  // ldmatrix.trans
  kTo = 1 << 12,         // cvta.to
  kRelu = 1 << 13,
  kCarryOut = 1 << 14,
  kArrive = 1 << 15,        // bar.arrive
  kNanWins = 1 << 16,       // min.NaN
  kSynchronises = 1 << 17,  // volatile, relaxed, acquire, release: not a data race
  kConverged = 1 << 18,     // needs the lanes of the warp, or of its member mask, together
  kControl = 1 << 19,       // handled by the warp loop, not by a handler
  kAll = 1 << 20,           // match.all
  kReduce = 1 << 21,        // bar.red
  kShift = 1 << 22,         // bfind.shiftamt
};

enum class Compare : u8 { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan, lo, ls, hi, hs };
enum class Combine : u8 { none, and_, or_, xor_ };
enum class Reduction : u8 { add, min, max, and_, or_, xor_, exchange, compare, increment, decrement, popc };
enum class Shuffle : u8 { up, down, butterfly, index };
enum class Vote : u8 { ballot, any, all, uniform };

class Executor;
struct Warp;
struct Instruction;
using Handler = void (*)(Executor&, Warp&, const Instruction&, u32 mask);

struct Instruction {
  Op op = Op::nop;
  Type type, type2;
  u8 vector = 1;
  Space space = Space::generic;
  u32 flags = 0;
  u8 mode = 0;  // Compare, Reduction, Shuffle, Vote: by op
  Combine combine = Combine::none;
  int guard = -1;
  bool guard_negated = false;
  int target = -1;           // bra, call: index of the instruction
  std::vector<int> targets;  // brx
  int shape[3] = {0, 0, 0};  // mma: m, n, k
  int count = 0;             // cp.async.wait_group, wgmma.wait_group
  int member = -1;           // operand with the member mask
  int line = 0;
  Handler handler = nullptr;
  std::vector<Operand> operands;
  std::string text;

  bool has(u32 flag) const { return (flags & flag) != 0; }
};

struct Symbol {
  Space space = Space::generic;
  u64 address = 0;
  u64 size = 0;
  u32 alignment = 1;
};

struct Parameter {
  std::string name;
  u32 offset = 0;
  u32 size = 0;
};

/** Bytes handed over per lane at a call: from one place of the frame to another. */
struct FrameCopy {
  u32 from = 0;
  u32 to = 0;
  u32 size = 0;
};

struct SpecialRegister {
  std::string name;
  int index;
};

/** A .entry or .func as parsed: registers, labels and memory numbered from 0. */
struct Function {
  std::string name;
  bool entry = false;
  bool defined = false;
  std::vector<Parameter> parameters, results;
  u32 parameter_bytes = 0;
  std::vector<Instruction> code;
  int registers = 0;
  int predicates = 0;
  std::map<std::string, Symbol> symbols;  // .shared, .local and call parameters of this function
  std::map<std::string, std::vector<std::string>> branch_targets;
  std::map<std::string, int> labels;
  std::vector<SpecialRegister> specials;
  u32 shared_bytes = 0;
  u32 local_bytes = 0;
  u32 frame_bytes = 0;
  int max_threads = 0;
};

/** A call's parameters and results, as places of the frame. */
struct CallSite {
  std::string callee;
  std::vector<FrameCopy> parameters, results;
  std::vector<u32> parameter_offsets;  // in the caller's part of the frame, for the built-in functions
};

/** A kernel with all it calls, ready to run. */
struct Program {
  std::string name;
  std::vector<Instruction> code;
  std::vector<CallSite> calls;  // by Instruction::count of a call
  std::vector<Parameter> parameters;
  u32 parameter_bytes = 0;
  int registers = 0;
  int predicates = 0;
  std::vector<SpecialRegister> specials;
  u32 static_shared = 0;  // bytes, the dynamic ones begin here
  u32 local_bytes = 0;
  u32 frame_bytes = 0;
  u32 granule = 4;  // smallest element of a shared access: what races are told apart by
  int max_threads = 0;
  std::deque<Lanes> constants;
  std::vector<u64> executions;  // per instruction
};

/** The function that executes an instruction; throws PtxError for one that is not supported. */
Handler find_handler(const Instruction& instruction);

}  // namespace ptxsim
