// ldmatrix, stmatrix and mma.sync: fragments of matrices spread over a warp.
#include <cstring>

#include "handlers.h"

namespace ptxsim {
namespace {

using Tile = u16[8][8];

const Operand& part(const Operand& o, int i) {
  return o.kind == OperandKind::vector ? o.items[static_cast<size_t>(i)] : o;
}

// Lane l holds elements (l / 4, 2 (l % 4)) and the next of an 8 x 8 tile.
u64 tile_fragment(const Tile& tile, int lane, bool transposed) {
  const int row = lane / 4, column = lane % 4 * 2;
  const u64 low = transposed ? tile[column][row] : tile[row][column];
  const u64 high = transposed ? tile[column + 1][row] : tile[row][column + 1];
  return high << 16 | low;
}

void count_tile(Executor& ex, const u64* addresses) {
  Counters& c = ex.counters;
  c.shared_wavefronts += count_wavefronts(0xFF, addresses, 16, c.ideal_shared_wavefronts);
}

// Lanes 8 i to 8 i + 7 give the rows of tile i.
void load_matrix(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 at[kLanes];
  ex.addresses(w, in.operands[1], mask, at);
  resolve_space(ex, in, mask, at);
  Lanes result[4];
  for (int i = 0; i < in.vector; ++i) {
    count_tile(ex, at + 8 * i);
    Tile tile;
    for (int row = 0; row < 8; ++row)
      std::memcpy(tile[row], ex.shared_read(w, in, static_cast<u32>(at[8 * i + row]), 16, 8 * i + row), 16);
    for (int lane = 0; lane < kLanes; ++lane)
      result[i][static_cast<size_t>(lane)] = tile_fragment(tile, lane, in.has(kTranspose));
  }
  for (int i = 0; i < in.vector; ++i)
    std::memcpy(ex.destination(w, part(in.operands[0], i)), result[i].data(), sizeof(Lanes));
}

void store_matrix(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  u64 at[kLanes];
  ex.addresses(w, in.operands[0], mask, at);
  resolve_space(ex, in, mask, at);
  for (int i = 0; i < in.vector; ++i) {
    count_tile(ex, at + 8 * i);
    const u64* from = ex.source(w, part(in.operands[1], i));
    Tile tile;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      for (int half = 0; half < 2; ++half)
        (in.has(kTranspose) ? tile[column + half][row] : tile[row][column + half]) =
            static_cast<u16>(from[lane] >> (16 * half));
    }
    for (int row = 0; row < 8; ++row)
      std::memcpy(ex.shared_write(w, in, static_cast<u32>(at[8 * i + row]), 16, 8 * i + row), tile[row], 16);
  }
}

void transpose_matrix(Executor& ex, Warp& w, const Instruction& in, u32) {
  const u64* from = ex.source(w, in.operands[1]);
  Tile tile;
  for (int lane = 0; lane < kLanes; ++lane)
    for (int half = 0; half < 2; ++half)
      tile[lane / 4][lane % 4 * 2 + half] = static_cast<u16>(from[lane] >> (16 * half));
  u64* d = ex.destination(w, in.operands[0]);
  for (int lane = 0; lane < kLanes; ++lane) d[lane] = tile_fragment(tile, lane, true);
}

// The elements that a register of a fragment holds: two of 16 bits, or one of tf32, whose low 13 bits do not count.
template <class T>
struct Element {
  static constexpr int kPerRegister = 2;
  static float at(u64 lane, int i) { return static_cast<float>(widen(get<T>(lane >> (16 * i)))); }
};
template <>
struct Element<float> {
  static constexpr int kPerRegister = 1;
  static float at(u64 lane, int) { return get<float>(lane & 0xFFFFE000); }
};

// D = A B + C with A 16 x K, B K x 8, C and D 16 x 8 in f32. Lane l = 4 g + t: register r of A holds row g + 8 (r % 2)
// and columns n t + (r / 2) 4 n onwards, n elements per register; of B rows n t + 4 n r, column g; of C row g + 8 (r /
// 2) and column 2 t + r % 2. Sums are formed in double and rounded once; a device truncates while it aligns, within the
// tolerances.
template <class T, int K>
void multiply_matrices(Executor& ex, Warp& w, const Instruction& in, u32 mask) {
  if (mask != kAllLanes) ex.fault(in, "divergent-sync", "mma with lanes missing");
  using E = Element<T>;
  constexpr int n = E::kPerRegister, kRegistersA = K / (2 * n), kRegistersB = K / (4 * n);
  float a[16][K], b[K][8];
  double c[16][8];
  for (int r = 0; r < kRegistersA; ++r) {
    const u64* from = ex.source(w, part(in.operands[1], r));
    for (int lane = 0; lane < kLanes; ++lane)
      for (int i = 0; i < n; ++i) a[lane / 4 + r % 2 * 8][lane % 4 * n + r / 2 * 4 * n + i] = E::at(from[lane], i);
  }
  for (int r = 0; r < kRegistersB; ++r) {
    const u64* from = ex.source(w, part(in.operands[2], r));
    for (int lane = 0; lane < kLanes; ++lane)
      for (int i = 0; i < n; ++i) b[lane % 4 * n + r * 4 * n + i][lane / 4] = E::at(from[lane], i);
  }
  for (int r = 0; r < 4; ++r) {
    const u64* from = ex.source(w, part(in.operands[3], r));
    for (int lane = 0; lane < kLanes; ++lane) c[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2] = get<float>(from[lane]);
  }
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < K; ++k)
      for (int j = 0; j < 8; ++j) c[i][j] += static_cast<double>(a[i][k]) * b[k][j];
  for (int r = 0; r < 4; ++r) {
    u64* d = ex.destination(w, part(in.operands[0], r));
    for (int lane = 0; lane < kLanes; ++lane)
      d[lane] = put(static_cast<float>(c[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2]));
  }
  ex.counters.mma_flops += 2ull * 16 * 8 * K;
}

Handler mma_handler(const Instruction& in) {
  if (in.shape[0] != 16 || in.shape[1] != 8 || !in.type.is(Kind::real, 32)) return nullptr;
  const int k = in.shape[2];
  if (in.type2.kind == Kind::bf16)
    return k == 16 ? multiply_matrices<Bf16, 16> : k == 8 ? multiply_matrices<Bf16, 8> : nullptr;
  if (in.type2.is(Kind::real, 16))
    return k == 16 ? multiply_matrices<Half, 16> : k == 8 ? multiply_matrices<Half, 8> : nullptr;
  if (in.type2.kind == Kind::tf32)
    return k == 8 ? multiply_matrices<float, 8> : k == 4 ? multiply_matrices<float, 4> : nullptr;
  return nullptr;
}

}  // namespace

Handler matrix_handler(const Instruction& in) {
  switch (in.op) {
    case Op::ldmatrix:
      return in.type.bits == 16 ? load_matrix : nullptr;
    case Op::stmatrix:
      return in.type.bits == 16 ? store_matrix : nullptr;
    case Op::movmatrix:
      return transpose_matrix;
    case Op::mma:
      return mma_handler(in);
    default:
      return nullptr;
  }
}

}  // namespace ptxsim
