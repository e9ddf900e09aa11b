// The tables of rotary positions. Every layer, forward and backward, and every step of decoding reads the same ones.
#include "rotary.cuh"

#include <cmath>
#include <vector>

#include "graph.cuh"

namespace sffn::cuda {
namespace {

constexpr size_t kMostTables = 32;  // a model needs one, and another one whenever its texts become twice as long
constexpr int64_t kFewestPositions = 256;

struct KeptTable {
  double base;
  int64_t positions;
  Rotary rotary;
  Workspace<float> memory;
};

// Recorded graphs may read them until the process ends; released memory would be reused.
PerDevice<std::vector<KeptTable>> kept_tables;

// In f64 and in turns: f32 would lose the fraction at long positions.
__global__ void __launch_bounds__(kThreads)
    rotary_table_kernel(float* table, int64_t size, int half, double log2_base) {
  constexpr double kInversePi = 0.31830988618379067154;
  for (int64_t i = first_item(); i < size; i += item_stride()) {
    const int64_t position = i / half, pair = i % half;
    const double half_turns =
        static_cast<double>(position) * exp2(-static_cast<double>(pair) / half * log2_base) * kInversePi;
    const float rest = static_cast<float>(half_turns - 2 * rint(half_turns / 2));
    float* cosine = table + position * 2 * half + pair;
    sincospif(rest, cosine + half, cosine);
  }
}

Workspace<float> make_table(int64_t positions, int half, double base) {
  const int64_t size = positions * half;
  Workspace<float> table(2 * size);
  rotary_table_kernel<<<blocks_for(size), kThreads, 0, stream()>>>(table.get(), size, half, std::log2(base));
  check_launch("rotary positions");
  return table;
}

}  // namespace

RotaryTable::RotaryTable(int64_t seq, int64_t head_size, double base) {
  if (base == 0) return;
  const int half = static_cast<int>(head_size / 2);
  std::vector<KeptTable>& kept = kept_tables.here();
  for (const KeptTable& table : kept)
    if (table.rotary.half == half && table.base == base && table.positions >= seq) {
      rotary_ = table.rotary;
      return;
    }
  // While a graph is recorded nothing is computed: a table made then is empty until the graph runs.
  if (kept.size() == kMostTables || is_recording()) {
    own_ = make_table(seq, half, base);
    rotary_ = {own_.get(), half};
    return;
  }
  const int64_t positions = std::max(kFewestPositions, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(seq))));
  Workspace<float> memory = make_table(positions, half, base);
  rotary_ = {memory.get(), half};
  kept.push_back({base, positions, rotary_, std::move(memory)});
}

}  // namespace sffn::cuda
