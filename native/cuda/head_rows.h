// How many rows of a language model's head are computed at a time, depending on the free memory.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sffn::cuda {

struct HeadSizes {
  int64_t rows, features, classes;
  bool gradient, weight_gradient;
  bool in_place;  // dlogits are float32 and overwrite the logits; else they are bfloat16, in separate memory

  bool beside() const { return gradient && !in_place; }
};

// chunk: rows whose logits exist at a time. group: rows whose dlogits do; one product computes a weight gradient of
// them.
struct HeadRows {
  int64_t chunk, group;
};

constexpr int64_t kTileRows = 128;    // of the products: chunks are whole tiles
constexpr int64_t kChunkRows = 4096;  // the weight is read twice a chunk: compared to this many rows that is little
constexpr int64_t kChunkLogits = int64_t{32} << 20;   // with few classes there are more rows: 128 MiB of logits
constexpr int64_t kKeptDlogits = int64_t{2} << 30;    // bytes of a group: 16,384 rows of 65,536 classes
constexpr int64_t kMostGroupRows = int64_t{1} << 30;  // the terms of a product are counted in an int

// The float32 sums of several groups.
inline int64_t head_sums(const HeadSizes& s, const HeadRows& rows) {
  return s.beside() && s.weight_gradient && rows.group < s.rows ? s.classes * s.features : 0;
}

inline int64_t head_bytes(const HeadSizes& s, const HeadRows& rows) {
  return 4 * rows.chunk * s.classes + (s.beside() ? 2 * rows.group * s.classes : 0) + 4 * head_sums(s, rows);
}

// Takes at most half of the `available` bytes, so that the products themselves have memory too; or one tile of rows,
// where half is less than that.
inline HeadRows head_rows(const HeadSizes& s, int64_t available) {
  const auto tiles = [](int64_t rows) { return std::max<int64_t>(rows / kTileRows, 1) * kTileRows; };
  const bool grouped = s.beside() && s.weight_gradient;
  int64_t chunk = std::max(kChunkRows, tiles(kChunkLogits / std::max<int64_t>(s.classes, 1)));
  for (chunk = std::min(chunk, s.rows);; chunk = tiles(chunk / 2)) {
    // As few groups as possible, each with about the same number of chunks.
    const int64_t chunks = grouped && chunk > 0 ? (s.rows + chunk - 1) / chunk : 1;
    for (int64_t groups = 1; groups <= chunks; ++groups) {
      const int64_t each = (chunks + groups - 1) / groups, group = std::min(each * chunk, s.rows);
      const bool allowed = each == 1 || (2 * group * s.classes <= kKeptDlogits && group <= kMostGroupRows);
      if (allowed && head_bytes(s, {chunk, group}) <= available / 2) return {chunk, group};
    }
    if (chunk <= kTileRows) return {chunk, chunk};
  }
}

}  // namespace sffn::cuda
