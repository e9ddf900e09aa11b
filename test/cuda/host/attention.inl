// The tiles of attention in shared memory.
#include <set>
#include <vector>

#include "banks.h"
#include "cuda/attention_heads.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

// What all threads move at once are as many rows, each once: the next ones follow them.
template <class T, int D>
bool rows_are_spread_once() {
  constexpr int kPacks = D / Tile<T, D>::kPack, kRows = Tile<T, D>::kThreads / kPacks;
  std::set<int> rows;
  for (int i = 0; i < kRows; ++i) rows.insert(spread_row<kPacks * 16>(i));
  return rows.size() == kRows && *rows.begin() == 0 && *rows.rbegin() == kRows - 1;
}

// Eight lanes move a pack each, as load_tile gives them out.
template <class T, int D>
bool copies_are_conflict_free() {
  using Shape = Tile<T, D>;
  constexpr int kPacks = D / Shape::kPack;
  for (int quarter = 0; quarter < Shape::kThreads; quarter += 8) {
    std::vector<int64_t> lanes;
    for (int thread = quarter; thread < quarter + 8; ++thread)
      lanes.push_back(int64_t{spread_row<kPacks * 16>(thread / kPacks)} * Shape::kRowBytes + thread % kPacks * 16);
    if (!conflict_free(lanes, 16)) return false;
  }
  return true;
}

// The packs of pairs of rotary positions, as load_turned stores them: all rows once, half of the columns apart, as many
// lanes at a time as have 128 bytes.
template <class T, int D>
bool turned_stores_are_conflict_free() {
  using Shape = Tile<T, D>;
  constexpr int kBytes = kTurnedPack * sizeof(T), kPairs = D / 2 / kTurnedPack, kLanes = 128 / kBytes;
  std::set<int> rows;
  for (int i = 0; i < Shape::kRows; ++i) rows.insert(spread_row<kPairs * kBytes>(i));
  if (rows.size() != Shape::kRows || *rows.rbegin() != Shape::kRows - 1) return false;
  for (int first = 0; first < Shape::kThreads; first += kLanes)
    for (const int second : {0, 1}) {
      std::vector<int64_t> lanes;
      for (int thread = first; thread < first + kLanes; ++thread)
        lanes.push_back(int64_t{spread_row<kPairs * kBytes>(thread / kPairs)} * Shape::kRowBytes +
                        (second * kPairs + thread % kPairs) * kBytes);
      if (!conflict_free(lanes, kBytes)) return false;
    }
  return true;
}

// 16 bytes of each of eight neighbouring rows: what ldmatrix reads, and a row of f32 multiply-adds.
template <class T, int D>
bool rows_start_in_different_banks() {
  std::vector<int64_t> rows;
  for (int row = 0; row < 8; ++row) rows.push_back(int64_t{row} * Tile<T, D>::kRowBytes);
  return conflict_free(rows, 16);
}

template <class T, int D>
void check_head() {
  CHECK((rows_are_spread_once<T, D>()));
  CHECK((copies_are_conflict_free<T, D>()));
  CHECK((turned_stores_are_conflict_free<T, D>()));
  CHECK((rows_start_in_different_banks<T, D>()));
}

TEST(attention_tiles) {
  check_head<bf16, 32>(), check_head<bf16, 64>(), check_head<bf16, 128>(), check_head<bf16, 256>();
  check_head<float, 32>(), check_head<float, 64>(), check_head<float, 128>(), check_head<float, 256>();
}

}  // namespace
}  // namespace sffn::cuda
