// Rotary positions: pairs (i, i + half) of a head's columns are rotated by position · base^(−i/half).
#pragma once

#include "pack.cuh"

namespace sffn::cuda {

// cos and sin of every position and pair, [positions, 2, half]; half 0: no rotation.
struct Rotary {
  const float* table;
  int half;
};

// The rotations of N neighbouring pairs at a position.
template <int N>
__device__ inline void load_turns(const Rotary& rotary, int64_t position, int pair, float (&cosine)[N],
                                  float (&sine)[N]) {
  const float* row = rotary.table + 2 * position * rotary.half;
  load_pack<N>(row + pair, cosine);
  load_pack<N>(row + rotary.half + pair, sine);
}

// The rotations of the positions below `seq`. Their table is kept for all later calls and never moves, so that recorded
// steps may read it. Where it cannot be kept, it exists as long as this object.
class RotaryTable {
 public:
  RotaryTable(int64_t seq, int64_t head_size, double base);
  const Rotary& rotary() const { return rotary_; }

 private:
  Workspace<float> own_;
  Rotary rotary_{nullptr, 0};
};

}  // namespace sffn::cuda
