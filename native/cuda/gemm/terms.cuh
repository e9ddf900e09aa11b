// The sequence of k-tiles that a block of threads sums over: all segments of the first factor, then of the second. A
// group goes on with the next inner batch after that.
#pragma once

#include "product.cuh"

namespace sffn::cuda {

// A tile's operands: they start at row 0 and k0; k terms are left.
template <class T>
struct Term {
  const T* a;
  const T* b;
  int64_t lda, ldb;
  int k0, k;
};

template <class T, int kDepth, bool kGroup>
class Terms {
 public:
  __host__ __device__ Terms(const Product& p, int batch)
      : p_(p), outer_(batch / p.batches[1]), inner_(batch % p.batches[1]) {}

  static __host__ __device__ int tiles_of(const Factor& f) { return f.segments * ((f.k + kDepth - 1) / kDepth); }

  __host__ __device__ int count() const {
    return tiles_of(p_.factors[0]) + (p_.nfactors > 1 ? tiles_of(p_.factors[1]) : 0);
  }

  // Tile t of count(), or of the batches that follow. Called once a tile: the divisions cost nothing compared to the
  // copies.
  __host__ __device__ Term<T> operator()(int t) const {
    int inner = inner_;
    if constexpr (kGroup) {
      inner += t / count();
      t %= count();
    }
    const int first = tiles_of(p_.factors[0]);
    const bool second = t >= first;
    const Factor& f = p_.factors[second];
    if (second) t -= first;
    const int per_segment = (f.k + kDepth - 1) / kDepth;
    const int segment = t / per_segment;
    return {static_cast<const T*>(f.a) + outer_ * f.a_batch[0] + inner * f.a_batch[1] + segment * f.a_segment,
            static_cast<const T*>(f.b) + outer_ * f.b_batch[0] + inner * f.b_batch[1] + segment * f.b_segment,
            f.lda,
            f.ldb,
            (t - segment * per_segment) * kDepth,
            f.k};
  }

 private:
  const Product& p_;
  const int outer_, inner_;
};

// The (first) batch and the tile of a block of threads. The batch changes fastest: batches of an interleaved result
// without a group fill the same sectors, which should meet in the L2 cache.
struct Place {
  int batch, row0, column0;
};
template <int kSize>
__host__ __device__ Place place_of(const Product& p, unsigned block) {
  const unsigned groups = p.batches[0] * p.batches[1] / p.group, tiles_n = (p.tile_columns() + kSize - 1) / kSize;
  const unsigned tile = block / groups;
  return {static_cast<int>(block % groups * p.group), static_cast<int>(tile / tiles_n * kSize),
          static_cast<int>(tile % tiles_n * kSize)};
}
template <int kSize>
__device__ Place place_of(const Product& p) {
  return place_of<kSize>(p, blockIdx.x);
}

// The tiles of a part of a split sum.
__host__ __device__ inline void split_range(const Product& p, int tiles, int part, int& begin, int& end) {
  const int each = (tiles + p.splits - 1) / p.splits;
  begin = min(tiles, part * each);
  end = min(tiles, begin + each);
}
// Those of this block of threads.
__device__ inline void split_range(const Product& p, int tiles, int& begin, int& end) {
  split_range(p, tiles, static_cast<int>(blockIdx.z), begin, end);
}

}  // namespace sffn::cuda
