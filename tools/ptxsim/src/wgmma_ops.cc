// wgmma.mma_async m64nNk16: each warp of a warpgroup computes 16 of the 64 rows; matrix descriptors locate operands in
// shared memory. The product is computed at issue. Checks: it is used only after it was waited for, the operands were
// fenced for the async proxy, and they stay until then.
#include <algorithm>
#include <utility>
#include <vector>

#include "handlers.h"

namespace ptxsim {
namespace {

/** A matrix of 16-bit elements in shared memory, as its descriptor lays it out. */
class SharedMatrix {
 public:
  SharedMatrix(u64 descriptor, bool transposed)
      : start_(field(descriptor, 0)),
        leading_(field(descriptor, 16)),
        stride_(field(descriptor, 32)),
        swizzle_(static_cast<u32>(descriptor >> 62)),
        transposed_(transposed) {}

  /** The address of element (mn, k). A swizzled row is 128, 64 or 32 bytes, whose 16-byte chunks are exchanged. */
  u32 address(u32 mn, u32 k) const {
    static constexpr u32 kRowBytes[] = {16, 128, 64, 32};
    const u32 row = kRowBytes[swizzle_];
    u32 at = start_;
    if (!transposed_)
      at += swizzle_ == 0 ? mn / 8 * stride_ + mn % 8 * 16 + k / 8 * leading_ + k % 8 * 2
                          : mn / 8 * stride_ + mn % 8 * row + k * 2;
    else if (swizzle_ == 0)
      at += mn / 8 * stride_ + mn % 8 * 2 + k / 8 * leading_ + k % 8 * 16;
    else
      at += mn / (row / 2) * leading_ + mn % (row / 2) * 2 + k / 8 * stride_ + k % 8 * row;
    static constexpr u32 kChunkBits[] = {0, 7, 3, 1};
    return at ^ ((at >> 7 & kChunkBits[swizzle_]) << 4);
  }

  bool transposed() const { return transposed_; }

 private:
  static u32 field(u64 descriptor, int shift) { return static_cast<u32>(descriptor >> shift & 0x3FFF) << 4; }
  u32 start_, leading_, stride_, swizzle_;
  bool transposed_;
};

template <class T>
float shared_element(Executor& ex, Warp& w, const Instruction& in, const SharedMatrix& matrix, u32 mn, u32 k) {
  const u32 address = matrix.address(mn, k);
  // Chunks of 16 bytes are checked once, at their first element.
  if ((matrix.transposed() ? mn : k) % 8 == 0) {
    ex.shared_read(w, in, address & ~15u, 16, 0);
    ex.shared->begin_async_read(address & ~15u);
    w.wgmma.open.chunks.push_back(address & ~15u);
    const int writer = ex.shared->unfenced_writer(address & ~15u, 16, ex.proxy_fences);
    if (writer >= 0)
      ex.report(&in, "missing proxy fence",
                "wgmma reads shared " + hex(address) + ", which warp " + std::to_string(writer) +
                    " wrote without a later fence.proxy.async");
  }
  u16 bits;
  std::copy_n(ex.shared->data(address), 2, reinterpret_cast<u8*>(&bits));
  return static_cast<float>(widen(T{bits}));
}

bool flag(const Instruction& in, size_t operand) {
  return in.operands.size() > operand && in.operands[operand].value != 0;
}

float sign(const Instruction& in, size_t operand) {
  return in.operands.size() > operand && static_cast<i64>(in.operands[operand].value) == -1 ? -1.0f : 1.0f;
}

// Operands: accumulators, A (descriptor or registers), B, scale-d, sign of A, sign of B, then which are transposed.
template <class T>
void multiply(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  if (mask != kAllLanes) ex.fault(in, "divergent-sync", "wgmma with lanes missing");
  if (ex.warps.size() < 4) ex.fault(in, "warpgroup", "wgmma needs four warps");
  constexpr u32 kDepth = 16;
  const u32 columns = static_cast<u32>(in.shape[1]), first_row = static_cast<u32>(w.id) % 4 * 16;
  const bool from_registers = in.operands[1].kind == OperandKind::vector;
  const SharedMatrix right(ex.source(w, in.operands[2])[0], flag(in, from_registers ? 6 : 7));
  float a[16][kDepth];
  if (from_registers) {
    for (u32 r = 0; r < 4; ++r) {
      const u64* from = ex.source(w, in.operands[1].items.at(r));
      for (u32 lane = 0; lane < kLanes; ++lane)
        for (u32 i = 0; i < 2; ++i)
          a[lane / 4 + r % 2 * 8][lane % 4 * 2 + r / 2 * 8 + i] =
              static_cast<float>(widen(get<T>(from[lane] >> (16 * i))));
    }
  } else {
    const SharedMatrix left(ex.source(w, in.operands[1])[0], flag(in, 6));
    for (u32 i = 0; i < 16; ++i)
      for (u32 k = 0; k < kDepth; ++k) a[i][k] = shared_element<T>(ex, w, in, left, first_row + i, k);
  }
  std::vector<float> b(kDepth * columns);
  for (u32 k = 0; k < kDepth; ++k)
    for (u32 j = 0; j < columns; ++j) b[k * columns + j] = shared_element<T>(ex, w, in, right, j, k);
  const Operand& scale = in.operands.at(3);
  const bool accumulates =
      (scale.kind == OperandKind::predicate ? ex.predicate(w, scale) : static_cast<u32>(scale.value)) & 1;
  const double factor = static_cast<double>(sign(in, 4)) * sign(in, 5);
  for (u32 i = 0; i < 16; ++i) {
    for (u32 j = 0; j < columns; ++j) {
      double sum = 0;
      for (u32 k = 0; k < kDepth; ++k) sum += static_cast<double>(a[i][k]) * b[k * columns + j];
      const u32 lane = i % 8 * 4 + j % 8 / 2, r = j / 8 * 4 + i / 8 * 2 + j % 2;
      u64& d = ex.destination(w, in.operands[0].items.at(r))[lane];
      d = put(static_cast<float>((accumulates ? get<float>(d) : 0.0f) + factor * sum));
    }
  }
  for (const Operand& o : in.operands[0].items) w.wgmma.open.accumulators.push_back(o.index);
  ex.counters.mma_flops += 2ull * 16 * columns * kDepth;
}

void commit(Executor&, Warp& w, const Instruction&, u32) { w.wgmma.groups.push_back(std::exchange(w.wgmma.open, {})); }

// Operands are read until then.
void wait(Executor& ex, Warp& w, const Instruction& in, u32) {
  auto& groups = w.wgmma.groups;
  for (; static_cast<int>(groups.size()) > in.count; groups.erase(groups.begin())) {
    for (const u32 chunk : groups.front().chunks) {
      ex.shared->end_async_read(chunk);
      ex.shared_read(w, in, chunk, 16, 0);
    }
  }
}

void fence(Executor&, Warp&, const Instruction&, u32) {}

}  // namespace

Handler wgmma_handler(const Instruction& in) {
  switch (in.op) {
    case Op::wgmma:
      if (in.shape[0] != 64 || in.shape[2] != 16 || !in.type.is(Kind::real, 32)) return nullptr;
      return in.type2.kind == Kind::bf16 ? multiply<Bf16> : in.type2.is(Kind::real, 16) ? multiply<Half> : nullptr;
    case Op::wgmma_commit:
      return commit;
    case Op::wgmma_wait:
      return wait;
    case Op::wgmma_fence:
      return fence;
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
