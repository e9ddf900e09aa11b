// An allocator for memory that is slow to get and slow to give back, such as that of a CUDA device. It asks for
// segments, cuts blocks from them, and joins free neighbours again.
#pragma once

#include <compare>
#include <map>
#include <mutex>
#include <set>

#include "memory.h"

namespace sffn {

class SegmentAllocator : public Memory {
 public:
  // caches: without it every block is a segment of exactly the requested size, freed at once, for tools that look for
  // accesses beyond it. mutex: the one that callers hold already, because they allocate while they compute.
  SegmentAllocator(const MemorySource& source, int64_t limit, bool caches, std::recursive_mutex& mutex)
      : source_(source), caches_(caches), mutex_(mutex), stats_{.limit = limit} {}

  // The best fit, split if the rest is large enough.
  void* allocate(size_t bytes) override;
  void release(void* block, size_t bytes) noexcept override;

  MemoryStats stats() override;
  void reset_peak() override;
  // Gives back only as much as the new limit requires, and only segments without blocks in use.
  void set_limit(int64_t bytes) override;
  void empty_cache() override;

  // Between the two, every block comes from memory that is reserved as long as the pool lives: a recorded graph uses
  // its addresses again and again. Nothing is given back meanwhile, since freeing waits for a device that is recording.
  // Released blocks return to their pool.
  int begin_pool();
  void end_pool();
  // From now on its memory is like any other; blocks in use stay in use.
  void drop_pool(int pool) noexcept;

 private:
  static constexpr int kCommon = 0;

  struct Segment {
    size_t bytes;
    int pool;
    bool large;
  };
  // In the order of a search for the best fit.
  struct FreeBlock {
    int pool;
    bool large;
    size_t bytes;
    char* at;
    auto operator<=>(const FreeBlock&) const = default;
  };
  using FreeBlocks = std::set<FreeBlock>;
  using Segments = std::map<char*, Segment>;
  struct Block {
    size_t bytes;
    Segments::iterator segment;
    FreeBlocks::node_type node;  // while in use: kept, so that releasing a block allocates nothing
    bool in_use() const { return !node.empty(); }
  };
  using Blocks = std::map<char*, Block>;

  size_t size_of_block(size_t requested) const;
  size_t size_of_segment(size_t bytes) const;
  Blocks::iterator take_free(size_t bytes);
  Blocks::iterator take_new(size_t bytes);
  void split(Blocks::iterator block, size_t bytes);
  void make_free(Blocks::iterator block) noexcept;
  size_t give_back(size_t wanted) noexcept;
  FreeBlock key_of(Blocks::const_iterator block) const;

  const MemorySource source_;
  const bool caches_;
  std::recursive_mutex& mutex_;
  int pool_ = kCommon, pools_ = kCommon;  // the pool of new blocks; the number of the last pool
  Segments segments_;
  Blocks blocks_;  // all, by address
  FreeBlocks free_;
  MemoryStats stats_;
};

}  // namespace sffn
