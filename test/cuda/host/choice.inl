// The model of a launch's time, and what it prefers.
#include <vector>

#include "cuda/gemm/model.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

constexpr int kMany = 132;  // multiprocessors
const Costs kCostsOfTests = {.wgmma = 640, .latency = 1500, .stall = 128, .store = 2, .chain_patience = 1.125};
constexpr TileShape kLargeTile = {128, 64, 640, 2};

double time_on_many(const Work& work) { return time_of(work, kCostsOfTests, kMany); }

TEST(a_block_that_is_alone_waits_for_itself) {
  for (const int64_t each : {1, 2, 7}) {
    const Work work{each * kMany, 1, 4, 3000};
    CHECK(time_on_many(work) == static_cast<double>(each) * (1500 + 4 * 128 + 3000));
  }
}

TEST(blocks_that_are_resident_together_hide_their_waiting_but_not_their_work) {
  for (const int64_t each : {2, 8, 50}) CHECK(time_on_many({each * kMany, 8, 4, 3000}) == 1500 + 3000.0 * each);
  // Too little work to hide it: waves of two.
  CHECK(time_on_many({4 * kMany, 2, 10, 100}) == 2 * (1500 + 10 * 128 + 100));
}

TEST(waves_are_of_the_blocks_that_fit) {
  // Two launches of as many blocks as two waves of one, or one wave of two, have; and one block more.
  CHECK(time_on_many({2 * kMany, 1, 1, 100}) == 2 * time_on_many({kMany, 1, 1, 100}));
  CHECK(time_on_many({2 * kMany, 2, 1, 100}) == time_on_many({kMany, 1, 1, 100}));
  CHECK(time_on_many({2 * kMany + 1, 2, 1, 100}) == 2 * time_on_many({kMany, 1, 1, 100}));
  // Of less than a wave, blocks that there are not do not matter.
  CHECK(time_on_many({5, 1, 3, 700}) == time_on_many({5, 16, 3, 700}));
}

bool is_never_slower_with_more(int64_t blocks, double steps, double work) {
  double before = time_on_many({blocks, 1, steps, work});
  for (int resident = 2; resident <= 16; ++resident) {
    const double now = time_on_many({blocks, resident, steps, work});
    if (now > before) return false;
    before = now;
  }
  return before >= 1500 + static_cast<double>(ceil_div(blocks, kMany)) * work;
}

TEST(more_resident_blocks_are_never_slower) {
  for (const int64_t blocks : {1, 100, 132, 133, 264, 265, 1000, 20000})
    for (const double steps : {1.0, 4.0, 64.0})
      for (const double work : {10.0, 640.0, 50000.0}) CHECK(is_never_slower_with_more(blocks, steps, work));
}

// Z [m, rank] = A [m, k] Vᵀ and C [m, n] = Z Uᵀ, in `blocks` blocks that interleave where there are several.
struct Pair {
  Product first, second;
};
Pair pair_of(int m, int n, int k, int rank, int blocks = 1) {
  static float z;
  Pair pair;
  Product &first = pair.first, &second = pair.second;
  first.m = second.m = m;
  first.c = &z;
  first.factors[0].k = k / blocks;
  first.n = rank / blocks / blocks;
  first.batches[0] = first.batches[1] = blocks;
  second.factors[0].k = rank / blocks;
  second.n = n / blocks;
  second.batches[1] = blocks;
  second.c_column = blocks;
  return pair;
}

TEST(a_product_does_the_steps_and_stores_of_its_tiles) {
  Product p = pair_of(300, 200, 130, 8).first;
  p.n = 200;
  const Work one = work_of(p, kLargeTile, 1, 1, 2, kCostsOfTests);
  CHECK(one.blocks == 3 * 2 && one.resident == 2 && one.steps == 3);
  CHECK(one.work == 3 * 640 + 128 * 128 * 2 / 128 * 2);
  const Work parts = work_of(p, kLargeTile, 1, 2, 2, kCostsOfTests);
  CHECK(parts.blocks == 12 && parts.steps == 2);
}

TEST(single_interleaved_batches_store_sectors_of_one_element_each) {
  const auto stores_of = [](int blocks, int group) {
    const Product p = pair_of(256, 256 * blocks, 64 * blocks, 64 * blocks, blocks).second;
    const Work work = work_of(p, kLargeTile, group, 1, 1, kCostsOfTests);
    return work.work / group - 640;
  };
  CHECK(stores_of(1, 1) == 512 && stores_of(4, 1) == 4 * 512 && stores_of(32, 1) == 16 * 512);
  CHECK(stores_of(4, 4) == 512);
}

TEST(a_chain_does_both_products_of_its_rows) {
  const Pair narrow = pair_of(300, 200, 130, 40);
  const Work work = chain_work(narrow.first, narrow.second, 64, 640, 2, kCostsOfTests);
  // One tile of Z of 3 steps, half as wide, and two tiles of C of one step.
  CHECK(work.blocks == 3 && work.resident == 2 && work.steps == 3 + 2);
  CHECK(work.work == (3 * 0.5 + 2) * 640 + 128 * (200 + 40) * 2 / 128.0 * 2);
  Pair unsaved = narrow;
  unsaved.first.c = nullptr;
  CHECK(work.work - chain_work(unsaved.first, unsaved.second, 64, 640, 2, kCostsOfTests).work == 40 * 2 * 2);
}

TEST(a_chain_of_interleaved_blocks_does_all_of_them_for_half_as_many_rows) {
  const Pair pair = pair_of(300, 512, 256, 256, 4);
  const Work work = interleaved_chain_work<4>(pair.first, pair.second, 640, 1, kCostsOfTests);
  // 4 groups of Z of 16 columns of each block, one tile of a step each; 128 columns of each block of C, 32 at a time.
  CHECK(work.blocks == 5 && work.steps == 4 * 1 + 4 * 1);
  CHECK(work.work == 8 * 320 + 64 * (512 + 256) * 2 / 128.0 * 2);
}

bool chains(int m, int n, int k, int rank, int resident, int alone_resident = 2) {
  const Pair pair = pair_of(m, n, k, rank);
  const auto alone = [&](const Product& p, int columns) {
    Product whole = p;
    whole.n = columns;
    return time_on_many(work_of(whole, kLargeTile, 1, 1, alone_resident, kCostsOfTests));
  };
  const Work chain = chain_work(pair.first, pair.second, 128, 640, resident, kCostsOfTests);
  return prefers_chain(chain, alone(pair.first, rank) + alone(pair.second, n), kCostsOfTests, kMany);
}

TEST(one_launch_is_taken_where_it_is_not_slower) {
  // A block of 128 rows for each multiprocessor: neither way has idle ones.
  CHECK(chains(128 * kMany, 256, 256, 128, 1));
  // Few rows: their chain would be a few long blocks, where tiles of both products are many.
  CHECK(!chains(512, 4096, 1024, 256, 1));
  CHECK(!chains(512, 4096, 1024, 256, 2));
  // A wave and a little more, of long blocks.
  CHECK(!chains(128 * (kMany + 8), 1024, 1024, 256, 1));
}

TEST(blocks_that_share_a_multiprocessor_make_the_difference_that_one_cannot) {
  // Two blocks for each multiprocessor, of short steps: alone, each waits for its own operands.
  const int rows = 128 * 2 * kMany;
  CHECK(chains(rows, 128, 64, 64, 2));
  const Costs impatient = {.wgmma = 640, .latency = 1500, .stall = 128, .store = 2, .chain_patience = 0.5};
  const Pair pair = pair_of(rows, 128, 64, 64);
  const auto preferred = [&](int resident) {
    const Work chain = chain_work(pair.first, pair.second, 64, 640, resident, impatient);
    return prefers_chain(chain, 2 * 5000, impatient, kMany);
  };
  CHECK(preferred(2) && !preferred(1));
}

TEST(a_chain_that_does_not_fit_is_never_taken) {
  const Pair pair = pair_of(128 * kMany, 256, 256, 128);
  const Work chain = chain_work(pair.first, pair.second, 128, 640, 0, kCostsOfTests);
  CHECK(!prefers_chain(chain, 1e12, kCostsOfTests, kMany));
}

}  // namespace
}  // namespace sffn::cuda
