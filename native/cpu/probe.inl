// The limits of the machine with this instruction set, for benchmarks to compare with.

// Independent chains: enough to hide the latency of an FMA, and few enough for the 16 or 32 registers.
constexpr int kProbeChains = SFFN_LANES == 16 ? 24 : 12;
constexpr int kProbeStreams = 8;  // one stream per core does not saturate the memory

// `step` advances a chain by a multiply-add of `terms` products in each lane.
template <class Step>
void probe_chains(View out, int64_t iterations, int64_t terms, Step step) {
  parallel_for(out.size, [&](int64_t task) {
    // Read from memory, so that nothing is known at compile time.
    volatile float start = 1.f, factor = 0.999f, addend = 0.001f;
    const float a = factor;
    const Vec b = splat(addend);
    Vec chains[kProbeChains];
    SFFN_UNROLL for (int i = 0; i < kProbeChains; ++i) chains[i] = splat(start);
    for (int64_t n = 0; n < iterations; ++n) {
      SFFN_UNROLL for (int i = 0; i < kProbeChains; ++i) step(chains[i], a, b);
    }
    Vec total{};
    SFFN_UNROLL for (int i = 0; i < kProbeChains; ++i) total += chains[i];
    out.f32()[task] = sum(total);
  });
  count_flops(out.size * iterations * kProbeChains * kLanes * terms * 2);
}

void probe_flops(View out, int64_t iterations, [[maybe_unused]] int64_t pairs) {
#ifdef SFFN_PAIRS
  if (pairs != 0)
    return probe_chains(out, iterations, PairProduct::kTerms, [](Vec& chain, float a, Vec b) {
      PairProduct::multiply_add(chain, std::bit_cast<uint32_t>(a), b);
    });
#endif
  // The chain is a factor: as an addend it would leave a product that is the same in every round.
  probe_chains(out, iterations, 1, [](Vec& chain, float a, Vec b) { chain = chain * splat(a) + b; });
}

void probe_bandwidth(View x, View out) {
  constexpr int64_t kStep = 64 / sizeof(float);  // a cache line
  const int64_t stream = x.size / (out.size * kProbeStreams) / kStep * kStep;
  parallel_for(out.size, [&](int64_t task) {
    const float* from = x.f32() + task * kProbeStreams * stream;
    Vec totals[kProbeStreams] = {};
    for (int64_t i = 0; i < stream; i += kStep) {
      SFFN_UNROLL for (int s = 0; s < kProbeStreams; ++s) {
        const float* line = from + s * stream + i;
        __builtin_prefetch(line + 32 * kStep, 0, 3);
        SFFN_UNROLL for (int64_t j = 0; j < kStep; j += kLanes) totals[s] += load(line + j);
      }
    }
    Vec total{};
    SFFN_UNROLL for (int s = 0; s < kProbeStreams; ++s) total += totals[s];
    out.f32()[task] = sum(total);
  });
}
