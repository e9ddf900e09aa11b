// Where operands and results lie in shared memory: every element has a place of its own inside what is reserved, and
// the lanes of an access meet no bank twice.
#include <set>
#include <vector>

#include "banks.h"
#include "cuda/gemm/chain_interleaved.cuh"
#include "cuda/gemm/tile_bf16.cuh"
#include "cuda/gemm/tile_tf32.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

// The bf16 tiles. Lines: rows of the operand where k is contiguous, else terms; a line has chunks of 16 bytes.

template <class Tile, bool kKContiguous, int kSpan>
struct Bf16Stage {
  static constexpr int kLines = kKContiguous ? kSpan : Tile::kDepth;
  static constexpr int kChunks = (kKContiguous ? Tile::kDepth : kSpan) / Tile::kChunk;

  static int64_t at(int line, int chunk) { return Tile::template place<kKContiguous, kSpan>(line, chunk); }

  static bool places_are_distinct() {
    std::set<int64_t> places;
    for (int line = 0; line < kLines; ++line)
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int64_t place = at(line, chunk);
        if (place % 16 != 0 || place < 0 || place + 16 > Tile::kOperandBytes) return false;
        if (!places.insert(place).second) return false;
      }
    return true;
  }
  // ldmatrix reads one chunk of eight lines at a time.
  static bool matrix_loads_are_conflict_free() {
    for (int first = 0; first + 8 <= kLines; ++first)
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        std::vector<int64_t> places;
        for (int line = first; line < first + 8; ++line) places.push_back(at(line, chunk));
        if (!conflict_free(places, 16)) return false;
      }
    return true;
  }
  // Eight lanes copy neighbouring chunks of a line.
  static bool copies_are_conflict_free() {
    for (int i = 0; i < kLines * kChunks; i += 8) {
      std::vector<int64_t> places;
      for (int lane = i; lane < i + 8; ++lane) places.push_back(at(lane / kChunks, lane % kChunks));
      if (!conflict_free(places, 16)) return false;
    }
    return true;
  }
  static bool right() {
    return places_are_distinct() && matrix_loads_are_conflict_free() && copies_are_conflict_free();
  }
};

TEST(bf16_stages) {
  CHECK((Bf16Stage<Bf16Tile<64>, true, 64>::right() && Bf16Stage<Bf16Tile<64>, false, 64>::right()));
  CHECK((Bf16Stage<Bf16Tile<128>, true, 128>::right() && Bf16Stage<Bf16Tile<128>, false, 128>::right()));
  // The narrow operand of two products in one launch.
  CHECK((Bf16Stage<ChainSizes, true, 64>::right() && Bf16Stage<ChainSizes, false, 64>::right()));
}

// The 128-byte swizzle that wgmma knows: of an address, bits 4 to 6 are exchanged by bits 7 to 9.
template <bool kKContiguous>
bool lines_are_swizzled_for_wgmma() {
  for (int line = 0; line < 64; ++line)
    for (int chunk = 0; chunk < 8; ++chunk) {
      const uint32_t plain = line * 128 + chunk * 16;
      if (Bf16Tile<128>::place<kKContiguous, 64>(line, chunk) != (plain ^ (plain >> 7 & 7) << 4)) return false;
    }
  return true;
}

TEST(wgmma_stages) { CHECK(lines_are_swizzled_for_wgmma<true>() && lines_are_swizzled_for_wgmma<false>()); }

// Where a lane has the accumulators that it stores: pairs of neighbouring columns of the row lane / 4.
template <int kRow>
int64_t pair_of(int lane) {
  return lane / 4 * kRow + lane % 4 * 2;
}

template <int kSize>
bool staged_pairs_are_conflict_free() {
  std::vector<int64_t> half_warp;  // what moves at once of 8 bytes a lane
  for (int lane = 0; lane < 16; ++lane) half_warp.push_back(pair_of<Bf16Tile<kSize>::kStagedRow>(lane) * 4);
  return conflict_free(half_warp, 8) && kSize * Bf16Tile<kSize>::kStagedRow * 4 <= Bf16Tile<kSize>::kSharedBytes;
}

TEST(staged_sums) { CHECK(staged_pairs_are_conflict_free<64>() && staged_pairs_are_conflict_free<128>()); }

// Plain f32: term t, row r at float place(t, r) of line t.

bool f32_lines_are_permutations() {
  for (int term = 0; term < F32Tile::kDepth; ++term) {
    std::set<int> places;
    for (int row = 0; row < F32Tile::kSize; ++row) places.insert(F32Tile::place(term, row));
    if (*places.begin() != 0 || *places.rbegin() != F32Tile::kSize - 1 || places.size() != F32Tile::kSize) return false;
  }
  return true;
}

bool f32_runs_stay_together() {
  for (int term = 0; term < F32Tile::kDepth; ++term)
    for (int row = 0; row < F32Tile::kSize; row += 4)
      for (int i = 0; i < 4; ++i)
        if (F32Tile::place(term, row) % 4 != 0 || F32Tile::place(term, row + i) != F32Tile::place(term, row) + i)
          return false;
  return true;
}

// kRow: floats from a term to the next.
template <int kRow>
bool f32_stores_are_conflict_free() {
  const auto at = [](int term, int row) { return int64_t{term * kRow + F32Tile::place(term, row)} * 4; };
  for (int warp = 0; warp < F32Tile::kThreads; warp += kWarp) {
    for (int j = 0; j < 4; ++j) {  // k contiguous: a lane has four terms, and stores one after the other
      std::vector<int64_t> lanes;
      for (int thread = warp; thread < warp + kWarp; ++thread) lanes.push_back(at(thread % 4 * 4 + j, thread / 4));
      if (!conflict_free(lanes, 4)) return false;
    }
    for (int quarter = warp; quarter < warp + kWarp; quarter += 8) {  // else a lane has four rows: 16 bytes
      std::vector<int64_t> lanes;
      for (int thread = quarter; thread < quarter + 8; ++thread) lanes.push_back(at(thread / 16, thread % 16 * 4));
      if (!conflict_free(lanes, 16)) return false;
    }
  }
  return true;
}

TEST(f32_stages) {
  CHECK(f32_lines_are_permutations());
  CHECK(f32_runs_stay_together());
  CHECK(f32_stores_are_conflict_free<F32Tile::kSize>());
}

// TF32: the same places in longer lines. A register of a fragment holds 4 terms of 8 rows.
template <int kSize>
bool tf32_fragments_are_conflict_free() {
  for (int term = 0; term < F32Tile::kDepth; term += 4)
    for (int row = 0; row < kSize; row += 8) {
      std::vector<int64_t> lanes;
      for (int lane = 0; lane < kWarp; ++lane) {
        const int t = term + lane % 4;
        lanes.push_back(int64_t{t * Tf32Tile<kSize>::kRow + F32Tile::place(t, row + lane / 4)} * 4);
      }
      if (!conflict_free(lanes, 4)) return false;
    }
  return true;
}

template <int kSize>
bool tf32_places_are_distinct() {
  using Tile = Tf32Tile<kSize>;
  std::set<int> places;
  for (int term = 0; term < Tile::kDepth; ++term)
    for (int row = 0; row < kSize; ++row) places.insert(term * Tile::kRow + F32Tile::place(term, row));
  return *places.begin() >= 0 && *places.rbegin() < Tile::kOperand && places.size() == size_t{Tile::kDepth} * kSize &&
         4 * Tile::kOperand * 4 <= Tile::kSharedBytes && kSize * Tile::kRow * 4 <= Tile::kSharedBytes;
}

TEST(tf32_stages) {
  CHECK(tf32_places_are_distinct<64>() && tf32_places_are_distinct<128>());
  CHECK(tf32_fragments_are_conflict_free<64>() && tf32_fragments_are_conflict_free<128>());
  CHECK(f32_stores_are_conflict_free<Tf32Tile<64>::kRow>() && f32_stores_are_conflict_free<Tf32Tile<128>::kRow>());
}

// The tiles of a group of inner batches: those in front of each other in `tiles`, the last where the operands were.

template <class Kept, class T, int kRows, int kColumns = kRows>
bool kept_tiles_are_apart(int group, int64_t operand_bytes) {
  std::vector<T> memory(Kept::bytes(group) / sizeof(T) + 1), operands(operand_bytes / sizeof(T));
  const Kept kept{memory.data(), operands.data(), group};
  const T* free = memory.data();
  for (int l = 0; l + 1 < group; ++l) {
    const T* tile = kept.of(l);
    if (tile < free || (tile - memory.data()) * sizeof(T) % 16 != 0) return false;
    free = tile + Kept::kElements;
  }
  return free <= memory.data() + Kept::bytes(group) / sizeof(T) && kept.of(group - 1) == operands.data() &&
         Kept::kElements <= static_cast<int>(operands.size()) && Kept::kRow >= kColumns &&
         Kept::kRow * sizeof(T) % 16 == 0 && Kept::kElements >= kRows * Kept::kRow;
}

// The same element of half the tiles that one access reads: 16 bytes of bf16 have 8 of L = 8.
template <class Kept, class T>
bool kept_elements_are_in_different_banks() {
  constexpr int kHalf = 16 / sizeof(T);
  std::vector<int64_t> places;
  for (int l = 0; l < kHalf; ++l) places.push_back(int64_t{l} * Kept::kStep * sizeof(T));
  return conflict_free(places, 16);
}

template <class Kept>
bool kept_pairs_are_conflict_free() {
  std::vector<int64_t> lanes;
  for (int lane = 0; lane < kWarp; ++lane) lanes.push_back(pair_of<Kept::kRow>(lane) * 2);
  return conflict_free(lanes, 4);
}

// A warp that stores two rows, four apart, of two columns of each of four blocks a lane: the elements of one block.
template <class Kept>
bool kept_rows_are_read_without_conflicts() {
  std::vector<int64_t> lanes;
  for (int lane = 0; lane < kWarp; ++lane) lanes.push_back((lane / 16 * 4 * Kept::kRow + lane % 16 * 2) * 2);
  return conflict_free(lanes, 2);
}

// The results of all blocks, where the left operand's stages were.
template <int kBlocks>
bool kept_results_fit() {
  using Tile = InterleavedChainTile<kBlocks>;
  return kBlocks * Tile::Kept::kStep * 2 <= Tile::kLeftRing && kBlocks * Tile::kEach == Tile::kColumns;
}

TEST(kept_tiles) {
  using Small = KeptTile<bf16, 64>;
  using Large = KeptTile<bf16, 128>;
  using Tf32 = Tf32Tile<64>::Kept;
  for (int group = 2; group <= 20; ++group) {
    CHECK((kept_tiles_are_apart<Small, bf16, 64>(group, Bf16Tile<64>::kSharedBytes)));
    CHECK((kept_tiles_are_apart<Large, bf16, 128>(group, Bf16Tile<128>::kSharedBytes)));
    CHECK((kept_tiles_are_apart<F32Tile::Kept, float, 64>(group, F32Tile::kStaticBytes)));
    CHECK((kept_tiles_are_apart<Tf32, float, 64>(group, Tf32Tile<64>::kSharedBytes)));
  }
  CHECK((kept_elements_are_in_different_banks<Small, bf16>() && kept_elements_are_in_different_banks<Large, bf16>()));
  CHECK((kept_elements_are_in_different_banks<F32Tile::Kept, float>()));
  CHECK((kept_elements_are_in_different_banks<Tf32, float>()));
  CHECK(kept_pairs_are_conflict_free<Small>() && kept_pairs_are_conflict_free<Large>());
  CHECK(kept_pairs_are_conflict_free<InterleavedChainTile<2>::Kept>());
  CHECK(kept_pairs_are_conflict_free<InterleavedChainTile<4>::Kept>());
  CHECK(kept_pairs_are_conflict_free<InterleavedChainTile<8>::Kept>());
  CHECK(kept_rows_are_read_without_conflicts<InterleavedChainTile<4>::Kept>());
  CHECK(kept_results_fit<2>() && kept_results_fit<4>() && kept_results_fit<8>());
}

// Z of two products in one launch, read as a left operand by the second one: of one block in 128 rows, and of several
// in 64.

template <int kRows>
bool z_has_room_for_each_element(int columns, int blocks) {
  const Hidden<kRows> hidden{nullptr, columns};
  const int padded = static_cast<int>(hidden.padded(columns));
  std::set<int64_t> places;
  for (int block = 0; block < blocks; ++block)
    for (int row = 0; row < kRows; ++row)
      for (int column = 0; column < padded; ++column) {
        const int64_t place = hidden.place(block, row, column);
        if (place % 2 != 0 || place < 0 || place + 2 > hidden.bytes(columns, blocks)) return false;
        places.insert(place);
      }
  return places.size() == size_t{kRows} * padded * blocks;
}

template <int kRows>
bool z_is_a_left_operand(int columns, int block) {
  using Tile = Bf16Tile<kRows>;
  const Hidden<kRows> hidden{nullptr, columns};
  for (int row = 0; row < kRows; ++row)
    for (int k = 0; k < columns; ++k) {
      const int64_t stage = int64_t{block * hidden.steps() + k / Tile::kDepth} * Tile::kOperandBytes;
      const int within = k % Tile::kDepth;
      const int64_t chunk = Tile::template place<true>(row, within / Tile::kChunk);
      if (hidden.place(block, row, k) != stage + chunk + 2 * (within % Tile::kChunk)) return false;
    }
  return true;
}

template <int kRows>
bool z_pairs_are_conflict_free(int columns) {
  const Hidden<kRows> hidden{nullptr, columns};
  for (int row = 0; row < kRows; row += 8)
    for (int column = 0; column < columns; column += 8) {
      std::vector<int64_t> lanes;
      for (int lane = 0; lane < kWarp; ++lane) lanes.push_back(hidden.place(0, row + lane / 4, column + lane % 4 * 2));
      if (!conflict_free(lanes, 4)) return false;
    }
  return true;
}

template <int kRows>
void check_z(int columns, int blocks) {
  const int64_t padded = Hidden<kRows>::padded(columns);
  CHECK(padded >= columns && padded % Hidden<kRows>::kDepth == 0);
  CHECK(z_has_room_for_each_element<kRows>(columns, blocks));
  CHECK(z_is_a_left_operand<kRows>(columns, blocks - 1));
  CHECK(z_pairs_are_conflict_free<kRows>(columns));
}

TEST(z_of_two_products) {
  for (const int columns : {8, 64, 72, 200, 512}) check_z<128>(columns, 1);
  for (const int columns : {8, 64, 72, 136}) check_z<64>(columns, 4);
}

}  // namespace
}  // namespace sffn::cuda
