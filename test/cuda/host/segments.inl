// The allocator of the device's memory, over a source that hands out addresses: nothing is read or written there.
#include <map>
#include <random>

#include "segment_allocator.h"
#include "unit.h"

namespace segments {

constexpr size_t kMiB = size_t{1} << 20;
constexpr int64_t kUnlimited = int64_t{1} << 40;

/** What the source has given and not got back: sizes by address. */
std::map<char*, size_t> given;
size_t capacity = 0;
int frees = 0;

size_t total() {
  size_t bytes = 0;
  for (const auto& [at, size] : given) bytes += size;
  return bytes;
}

void* source_allocate(size_t bytes) {
  static size_t next = size_t{1} << 40;
  if (total() + bytes > capacity) return nullptr;
  char* const at = reinterpret_cast<char*>(next);
  next += (bytes + kMiB) / kMiB * kMiB;  // never side by side
  given[at] = bytes;
  return at;
}

void source_free(void* block) {
  ++frees;
  given.erase(static_cast<char*>(block));
}

std::recursive_mutex mutex;

struct Allocator : sffn::SegmentAllocator {
  explicit Allocator(int64_t limit = kUnlimited, size_t most = size_t{1} << 40, bool caches = true)
      : SegmentAllocator({"some memory", source_allocate, source_free}, limit, caches, mutex) {
    given.clear();
    capacity = most;
    frees = 0;
  }
  bool refuses(size_t bytes) {
    try {
      allocate(bytes);
      return false;
    } catch (const sffn::Error& error) {
      return error.code == std::string("ERR_OUT_OF_MEMORY");
    }
  }
};

TEST(blocks_of_all_sizes_share_segments) {
  Allocator memory;
  void *a = memory.allocate(100), *b = memory.allocate(600), *c = memory.allocate(kMiB), *d = memory.allocate(3 * kMiB),
       *e = memory.allocate(5 * kMiB);
  CHECK(static_cast<char*>(b) - static_cast<char*>(a) == 512 && static_cast<char*>(c) - static_cast<char*>(b) == 1024);
  CHECK(static_cast<char*>(e) - static_cast<char*>(d) == 3 * static_cast<int64_t>(kMiB));
  CHECK(given.size() == 2 && total() == 22 * kMiB);
  const int64_t used = 512 + 1024 + 9 * static_cast<int64_t>(kMiB);
  CHECK(memory.stats().allocated == used && memory.stats().cached == static_cast<int64_t>(22 * kMiB) - used);
  CHECK(memory.stats().peak == used && memory.stats().allocations == 5 && memory.stats().system_allocations == 2);
  memory.release(b, 600);
  CHECK(memory.stats().allocated == used - 1024 && memory.allocate(1000) == b);
}

TEST(free_neighbours_become_one_block) {
  for (const int order : {0, 1, 2}) {
    Allocator memory;
    void* blocks[3] = {memory.allocate(4 * kMiB), memory.allocate(4 * kMiB), memory.allocate(4 * kMiB)};
    for (int i = 0; i < 3; ++i) memory.release(blocks[(order * 2 + i * (order == 1 ? 2 : 1)) % 3], 0);
    // All 20 MiB of the segment are one block again.
    CHECK(memory.allocate(20 * kMiB) == blocks[0] && given.size() == 1);
    CHECK(memory.stats().cached == 0);
  }
}

TEST(the_best_fit_is_taken_and_a_small_rest_stays_with_it) {
  Allocator memory;
  void *large = memory.allocate(40 * kMiB), *middling = memory.allocate(30 * kMiB);
  memory.release(large, 0);
  memory.release(middling, 0);
  CHECK(memory.allocate(29 * kMiB + 512) == middling);
  CHECK(memory.stats().allocated == static_cast<int64_t>(30 * kMiB));  // the rest is less than a MiB
  CHECK(memory.allocate(29 * kMiB) == large);
  CHECK(memory.stats().allocated == static_cast<int64_t>(59 * kMiB));
  CHECK(memory.allocate(11 * kMiB) == static_cast<char*>(large) + 29 * kMiB && frees == 0);
}

TEST(near_the_limit_only_what_is_in_the_way_is_given_back) {
  Allocator memory(static_cast<int64_t>(100 * kMiB));
  void *small = memory.allocate(10), *a = memory.allocate(20 * kMiB), *b = memory.allocate(30 * kMiB),
       *c = memory.allocate(40 * kMiB);
  for (void* block : {a, b, c}) memory.release(block, 0);
  // 92 MiB are kept; 48 more need 40 back, of which the largest are enough.
  void* d = memory.allocate(48 * kMiB);
  CHECK(frees == 1 && given.count(static_cast<char*>(c)) == 0 && given.size() == 4);
  CHECK(memory.refuses(53 * kMiB) && frees == 1);  // 48 are in use
  CHECK(memory.refuses(51 * kMiB) && frees == 3);  // in segments of 50
  CHECK(memory.stats().allocated + memory.stats().cached == static_cast<int64_t>(total()));
  memory.release(d, 0);
  memory.release(small, 0);
  memory.set_limit(static_cast<int64_t>(10 * kMiB));
  CHECK(given.size() == 1 && total() == 2 * kMiB);
  memory.empty_cache();
  CHECK(given.empty() && memory.stats().cached == 0 && memory.stats().allocated == 0);
}

TEST(a_block_may_fit_where_a_segment_does_not) {
  Allocator memory(static_cast<int64_t>(3 * kMiB));
  CHECK(!memory.refuses(100));                          // of a segment of 2 MiB
  CHECK(!memory.refuses(kMiB));                         // in its rest
  CHECK(!memory.refuses(kMiB - 512));                   // which that fills
  CHECK(!memory.refuses(kMiB) && total() == 3 * kMiB);  // a segment of just that
  CHECK(memory.refuses(1));
  CHECK(memory.refuses(size_t{1} << 63));
}

TEST(the_limit_is_of_what_is_in_use_too) {
  Allocator memory;
  memory.allocate(512);
  memory.set_limit(10'000);  // far less than the segment that is in use
  CHECK(given.size() == 1 && memory.refuses(20'000) && !memory.refuses(9'000) && memory.refuses(1000));
}

TEST(a_source_that_is_exhausted_gets_memory_back_first) {
  Allocator memory(kUnlimited, 50 * kMiB);
  void *a = memory.allocate(20 * kMiB), *b = memory.allocate(24 * kMiB);
  memory.release(a, 0);
  memory.release(b, 0);
  CHECK(!memory.refuses(30 * kMiB) && frees == 2);
  CHECK(!memory.refuses(15 * kMiB) && memory.refuses(6 * kMiB));
  // No segment of 20 MiB is left, but the block alone.
  CHECK(!memory.refuses(2 * kMiB) && total() <= capacity);
}

TEST(a_failure_of_the_source_leaves_everything_as_it_was) {
  sffn::SegmentAllocator memory(
      {"some memory", [](size_t) -> void* { throw sffn::Error("ERR_CUDA", "a sticky error"); }, source_free},
      kUnlimited, true, mutex);
  try {
    memory.allocate(8);
    CHECK(false);
  } catch (const sffn::Error& error) {
    CHECK(error.code == std::string("ERR_CUDA"));
  }
  CHECK(memory.stats().allocated == 0 && memory.stats().cached == 0 && memory.stats().allocations == 0);
}

TEST(without_caching_every_block_is_exactly_itself) {
  Allocator memory(kUnlimited, size_t{1} << 40, false);
  void *a = memory.allocate(100), *b = memory.allocate(0);
  CHECK(given.at(static_cast<char*>(a)) == 100 && given.at(static_cast<char*>(b)) == 1);
  memory.release(a, 100);
  CHECK(frees == 1 && memory.stats().allocated == 1 && memory.stats().cached == 0);
}

TEST(a_pool_is_its_own_until_it_is_dropped) {
  Allocator memory;
  void* before = memory.allocate(4 * kMiB);
  memory.release(before, 0);
  const int pool = memory.begin_pool();
  void* inside = memory.allocate(4 * kMiB);
  CHECK(inside != before);
  memory.release(inside, 0);
  CHECK(memory.allocate(4 * kMiB) == inside);  // released inside, taken again inside
  memory.empty_cache();
  CHECK(frees == 0);  // nothing is freed while something is recorded
  memory.end_pool();
  void* outside = memory.allocate(4 * kMiB);
  CHECK(outside == before);
  memory.release(inside, 0);
  CHECK(memory.allocate(19 * kMiB) != inside);
  memory.empty_cache();
  CHECK(given.count(static_cast<char*>(inside)) == 1);
  memory.drop_pool(pool);
  CHECK(memory.allocate(20 * kMiB) == inside);
}

TEST(what_is_in_use_outlives_its_pool) {
  Allocator memory;
  const int pool = memory.begin_pool();
  void *a = memory.allocate(4 * kMiB), *b = memory.allocate(4 * kMiB);
  memory.end_pool();
  memory.drop_pool(pool);
  CHECK(memory.allocate(4 * kMiB) == static_cast<char*>(a) + 8 * kMiB);
  memory.release(a, 0);
  CHECK(memory.allocate(4 * kMiB) == a && memory.stats().allocated == static_cast<int64_t>(12 * kMiB));
  memory.release(b, 0);
}

TEST(without_caching_a_pool_frees_nothing_before_it_is_dropped) {
  Allocator memory(kUnlimited, size_t{1} << 40, false);
  void* old = memory.allocate(8);
  const int pool = memory.begin_pool();
  void* inside = memory.allocate(100);
  memory.release(old, 8);
  memory.release(inside, 100);
  CHECK(frees == 0 && memory.allocate(100) != inside);
  memory.end_pool();
  CHECK(frees == 1 && given.count(static_cast<char*>(old)) == 0);
  memory.drop_pool(pool);
  CHECK(frees == 2 && given.size() == 1);
}

/** Random calls against what must hold after each: no two blocks overlap, every sum is right, the limit is kept. */
TEST(random_calls_keep_what_must_hold) {
  for (const unsigned seed : {1u, 2u, 3u, 4u}) {
    std::mt19937 random(seed);
    const auto below = [&](size_t n) { return static_cast<size_t>(random()) % n; };
    Allocator memory(static_cast<int64_t>(200 * kMiB), 180 * kMiB);
    std::map<char*, size_t> blocks;  // in use: what was asked for
    int pool = 0;
    int64_t peak = 0;
    for (int i = 0; i < 4000; ++i) {
      const size_t kind = below(100);
      if (kind < 55) {
        const size_t bytes = below(4) ? below(3000) : below(4) ? below(2 * kMiB) : below(40 * kMiB);
        try {
          char* const at = static_cast<char*>(memory.allocate(bytes));
          const auto next = blocks.upper_bound(at);
          CHECK(next == blocks.end() || at + std::max(bytes, size_t{1}) <= next->first);
          CHECK(next == blocks.begin() || std::prev(next)->first + std::prev(next)->second <= at);
          const auto segment = std::prev(given.upper_bound(at));
          CHECK(at + bytes <= segment->first + segment->second);
          CHECK((at - segment->first) % 512 == 0);
          blocks[at] = std::max(bytes, size_t{1});
        } catch (const sffn::Error&) {
          // All that could be given back was.
          CHECK(total() + bytes + 512 > std::min(static_cast<size_t>(memory.stats().limit), capacity));
        }
      } else if (kind < 96 && !blocks.empty()) {
        const auto chosen = std::next(blocks.begin(), static_cast<int64_t>(below(blocks.size())));
        memory.release(chosen->first, chosen->second);
        blocks.erase(chosen);
      } else if (kind == 96) {
        memory.empty_cache();
      } else if (kind == 97) {
        memory.set_limit(static_cast<int64_t>((150 + below(100)) * kMiB));
      } else if (kind == 98 && pool == 0) {
        pool = memory.begin_pool();
      } else if (kind == 99 && pool != 0) {
        memory.end_pool();
        memory.drop_pool(pool);
        pool = 0;
      }
      const sffn::MemoryStats stats = memory.stats();
      size_t asked = 0;
      for (const auto& [at, bytes] : blocks) asked += bytes;
      peak = std::max(peak, stats.allocated);
      CHECK(stats.allocated >= static_cast<int64_t>(asked) && stats.cached >= 0 && stats.peak == peak);
      CHECK(stats.allocated + stats.cached == static_cast<int64_t>(total()));
    }
    memory.end_pool();
    memory.drop_pool(pool);
    for (const auto& [at, bytes] : blocks) memory.release(at, bytes);
    CHECK(memory.stats().allocated == 0);
    memory.empty_cache();
    CHECK(given.empty() && memory.stats().cached == 0);
  }
}

}  // namespace segments
