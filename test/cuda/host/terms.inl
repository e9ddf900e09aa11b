// What each block of threads computes: its tile, its part of the sum, and the order of the k-tiles.
#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "cuda/gemm/terms.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

std::vector<float> memory(1 << 20);  // addresses are computed in it, not read

Factor factor(int k, int segments, int which) {
  const float* base = memory.data() + which * (1 << 19);
  return {.a = base,
          .b = base + (1 << 18),
          .lda = 101 + which,
          .ldb = 203 + which,
          .a_batch = {1009, 31 + which},
          .b_batch = {2003, 57},
          .a_segment = 7,
          .b_segment = 11 + which,
          .k = k,
          .segments = segments};
}

bool same(const Term<float>& x, const Term<float>& y) {
  return x.a == y.a && x.b == y.b && x.lda == y.lda && x.ldb == y.ldb && x.k0 == y.k0 && x.k == y.k;
}

// All tiles, as nested loops over the inner batches first .. first + group - 1.
std::vector<Term<float>> literal(const Product& p, int depth, int outer, int first, int group) {
  std::vector<Term<float>> all;
  for (int inner = first; inner < first + group; ++inner)
    for (int which = 0; which < p.nfactors; ++which)
      for (int segment = 0; segment < p.factors[which].segments; ++segment)
        for (int k0 = 0; k0 < p.factors[which].k; k0 += depth) {
          const Factor& f = p.factors[which];
          const auto at = [&](const void* base, const int64_t(&batch)[2], int64_t step) {
            return static_cast<const float*>(base) + outer * batch[0] + inner * batch[1] + segment * step;
          };
          all.push_back({at(f.a, f.a_batch, f.a_segment), at(f.b, f.b_batch, f.b_segment), f.lda, f.ldb, k0, f.k});
        }
  return all;
}

template <int kDepth, bool kGroup>
bool terms_are_the_loops(const Product& p) {
  for (int batch = 0; batch < p.batches[0] * p.batches[1]; batch += kGroup ? p.batches[1] : 1) {
    const int inner = batch % p.batches[1];
    const auto expected = literal(p, kDepth, batch / p.batches[1], inner, kGroup ? p.batches[1] : 1);
    const Terms<float, kDepth, kGroup> terms(p, batch);
    const int count = terms.count() * (kGroup ? p.batches[1] : 1);
    if (count != static_cast<int>(expected.size())) return false;
    for (int t = 0; t < count; ++t)
      if (!same(terms(t), expected[t])) return false;
  }
  return true;
}

TEST(k_tiles_are_the_loops_over_factors_and_segments) {
  for (const int nfactors : {1, 2})
    for (const int k : {1, 15, 16, 17, 64, 65, 200})
      for (const int second_k : {0, 16, 130})
        for (const int segments : {1, 2, 5}) {
          Product p;
          p.nfactors = nfactors;
          p.factors[0] = factor(k, segments, 0);
          p.factors[1] = factor(second_k, 4 - segments / 2, 1);
          p.batches[0] = 3, p.batches[1] = 4;
          CHECK((terms_are_the_loops<16, false>(p) && terms_are_the_loops<64, false>(p)));
          CHECK((terms_are_the_loops<16, true>(p) && terms_are_the_loops<64, true>(p)));
        }
}

bool parts_follow_each_other(int tiles, int splits) {
  Product p;
  p.splits = splits;
  int next = 0, longest = 0;
  for (int part = 0; part < splits; ++part) {
    int begin, end;
    split_range(p, tiles, part, begin, end);
    if (begin != next || end < begin) return false;
    longest = std::max(longest, end - begin);
    next = end;
  }
  return next == tiles && longest == ceil_div(tiles, splits);
}

TEST(parts_of_a_sum_follow_each_other_to_its_end) {
  for (int tiles = 0; tiles < 70; ++tiles)
    for (int splits = 1; splits <= 33; ++splits) CHECK(parts_follow_each_other(tiles, splits));
}

template <int kSize>
bool blocks_have_each_tile_once(const Product& p) {
  const int batches = p.batches[0] * p.batches[1];
  const auto rows = ceil_div(p.m, kSize), columns = ceil_div(p.tile_columns(), kSize);
  const auto blocks = static_cast<unsigned>(rows * columns * batches / p.group);
  std::set<std::tuple<int, int, int>> places;
  for (unsigned block = 0; block < blocks; ++block) {
    const auto [batch, row0, column0] = place_of<kSize>(p, block);
    if (row0 < 0 || row0 >= p.m || column0 < 0 || column0 >= p.tile_columns() || batch < 0 || batch >= batches)
      return false;
    if (row0 % kSize != 0 || column0 % kSize != 0 || batch % p.group != 0) return false;
    if (batch != static_cast<int>(block % (batches / p.group)) * p.group) return false;  // batches are the fastest
    places.insert({batch, row0, column0});
  }
  return places.size() == blocks;
}

TEST(blocks_have_each_tile_of_each_batch_once) {
  for (const int m : {1, 64, 65, 300})
    for (const int n : {2, 64, 130, 250})
      for (const bool grouped : {false, true})
        for (const Activation activation : {Activation::none, Activation::swiglu}) {
          Product p;
          p.m = m, p.n = n;
          p.batches[0] = 3, p.batches[1] = 4;
          p.group = grouped ? 4 : 1;
          p.activation = activation;
          CHECK(blocks_have_each_tile_once<64>(p) && blocks_have_each_tile_once<128>(p));
        }
}

}  // namespace
}  // namespace sffn::cuda
