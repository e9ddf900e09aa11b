// Positions sorted by id, equal ids in order of position: with it, a scatter with sums adds in a fixed order.
#pragma once

#include "common.cuh"

namespace sffn::cuda {

struct SortedIds {
  Workspace<uint32_t> keys, positions;
};

// ids [n] in 0 .. rows-1; all others (negative ones too) become the key `rows`, the last.
SortedIds sort_ids(const int* ids, int64_t n, int64_t rows);

}  // namespace sffn::cuda
