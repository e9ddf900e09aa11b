#include "segment_allocator.h"

#include <limits>
#include <new>

namespace sffn {
namespace {

constexpr size_t kAlignment = 512;  // of blocks; their sizes are multiples of it
constexpr size_t kMiB = size_t{1} << 20;
// Blocks of up to a MiB have their own segments, so that they do not divide the segments of large blocks. Such a
// segment has the size of a large page. A segment for large blocks holds many blocks of middling size, or else one.
constexpr size_t kSmall = kMiB, kPage = 2 * kMiB, kMiddling = 10 * kMiB, kShared = 20 * kMiB;
constexpr size_t kEverything = std::numeric_limits<size_t>::max();

constexpr size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

}  // namespace

size_t SegmentAllocator::size_of_block(size_t requested) const {
  const size_t bytes = std::max(requested, size_t{1});
  return caches_ ? round_up(bytes, kAlignment) : bytes;
}

size_t SegmentAllocator::size_of_segment(size_t bytes) const {
  if (!caches_) return bytes;
  if (bytes <= kSmall) return kPage;
  return bytes < kMiddling ? kShared : round_up(bytes, kPage);
}

SegmentAllocator::FreeBlock SegmentAllocator::key_of(Blocks::const_iterator block) const {
  const Segment& segment = block->second.segment->second;
  return {segment.pool, segment.large, block->second.bytes, block->first};
}

void* SegmentAllocator::allocate(size_t requested) {
  check_memory_size(requested);
  const size_t bytes = size_of_block(requested);
  std::lock_guard lock(mutex_);
  if (stats_.allocated + static_cast<int64_t>(bytes) > stats_.limit) throw out_of_memory(source_, requested, stats_);
  Blocks::iterator block = take_free(bytes);
  if (block == blocks_.end()) block = take_new(bytes);
  if (block == blocks_.end()) throw out_of_memory(source_, requested, stats_);
  split(block, bytes);
  block->second.node = free_.extract(key_of(block));
  stats_.cached -= static_cast<int64_t>(block->second.bytes);
  stats_.add_block(block->second.bytes);
  return block->first;
}

void SegmentAllocator::release(void* at, size_t) noexcept {
  std::lock_guard lock(mutex_);
  const Blocks::iterator block = blocks_.find(static_cast<char*>(at));
  const int64_t bytes = static_cast<int64_t>(block->second.bytes);
  stats_.allocated -= bytes;
  stats_.cached += bytes;
  make_free(block);
  if (!caches_) give_back(kEverything);
}

// The smallest free block that is large enough, or null.
SegmentAllocator::Blocks::iterator SegmentAllocator::take_free(size_t bytes) {
  const bool large = bytes > kSmall;
  const auto found = free_.lower_bound({pool_, large, bytes, nullptr});
  if (!caches_ || found == free_.end() || found->pool != pool_ || found->large != large) return blocks_.end();
  return blocks_.find(found->at);
}

// A new segment as one free block, or null.
SegmentAllocator::Blocks::iterator SegmentAllocator::take_new(size_t bytes) {
  size_t size = size_of_segment(bytes);
  // If the limit has no room for a segment, it may have room for the block alone.
  if (!stats_.has_room_for(size)) size = bytes;
  if (!stats_.has_room_for(size))
    give_back(static_cast<size_t>(stats_.allocated + stats_.cached + static_cast<int64_t>(size) - stats_.limit));
  if (!stats_.has_room_for(size)) return blocks_.end();
  void* memory = source_.allocate(size);
  while (!memory && give_back(size) > 0) memory = source_.allocate(size);
  if (!memory && size > bytes) memory = source_.allocate(size = bytes);
  if (!memory) return blocks_.end();

  char* const at = static_cast<char*>(memory);
  try {
    const auto segment = segments_.emplace(at, Segment{size, pool_, bytes > kSmall}).first;
    const auto block = blocks_.emplace(at, Block{size, segment, {}}).first;
    free_.insert(key_of(block));
    ++stats_.system_allocations;
    stats_.cached += static_cast<int64_t>(size);
    return block;
  } catch (const std::bad_alloc&) {
    blocks_.erase(at);
    segments_.erase(at);
    source_.free(memory);
    throw;
  }
}

// Splits a free block, unless the rest is too small to be of use.
void SegmentAllocator::split(Blocks::iterator block, size_t bytes) {
  const size_t whole = block->second.bytes, rest = whole - bytes;
  const auto segment = block->second.segment;
  const bool fits = stats_.allocated + static_cast<int64_t>(whole) <= stats_.limit;
  if (rest == 0 || (fits && segment->second.large && rest <= kSmall)) return;
  const auto second = blocks_.emplace(block->first + bytes, Block{rest, segment, {}}).first;
  try {
    free_.insert(key_of(second));
  } catch (const std::bad_alloc&) {
    blocks_.erase(second);
    throw;
  }
  FreeBlocks::node_type node = free_.extract(key_of(block));
  node.value().bytes = block->second.bytes = bytes;
  free_.insert(std::move(node));
}

// Joins the block with its free neighbours.
void SegmentAllocator::make_free(Blocks::iterator block) noexcept {
  FreeBlocks::node_type node = std::move(block->second.node);
  const auto joins = [&](Blocks::iterator other) {
    return other != blocks_.end() && !other->second.in_use() && other->second.segment == block->second.segment;
  };
  if (const auto after = std::next(block); joins(after)) {
    free_.erase(key_of(after));
    block->second.bytes += after->second.bytes;
    blocks_.erase(after);
  }
  if (block != blocks_.begin())
    if (const auto before = std::prev(block); joins(before)) {
      free_.erase(key_of(before));
      before->second.bytes += block->second.bytes;
      blocks_.erase(block);
      block = before;
    }
  node.value() = key_of(block);
  free_.insert(std::move(node));
}

// Frees segments without blocks in use, the largest first, until they are `wanted` bytes together. Returns the bytes
// freed.
size_t SegmentAllocator::give_back(size_t wanted) noexcept {
  size_t given = 0;
  if (pool_ != kCommon) return given;
  auto next = free_.lower_bound({kCommon + 1, false, 0, nullptr});
  while (given < wanted && next != free_.begin()) {
    const auto block = blocks_.find(std::prev(next)->at);
    const auto segment = block->second.segment;
    if (block->second.bytes < segment->second.bytes) {
      --next;
      continue;
    }
    given += segment->second.bytes;
    stats_.cached -= static_cast<int64_t>(segment->second.bytes);
    source_.free(segment->first);
    next = free_.erase(std::prev(next));
    blocks_.erase(block);
    segments_.erase(segment);
  }
  return given;
}

MemoryStats SegmentAllocator::stats() {
  std::lock_guard lock(mutex_);
  return stats_;
}

void SegmentAllocator::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.peak = stats_.allocated;
}

void SegmentAllocator::set_limit(int64_t bytes) {
  std::lock_guard lock(mutex_);
  stats_.limit = bytes;
  if (!stats_.has_room_for(0)) give_back(static_cast<size_t>(stats_.allocated + stats_.cached - bytes));
}

void SegmentAllocator::empty_cache() {
  std::lock_guard lock(mutex_);
  give_back(kEverything);
}

int SegmentAllocator::begin_pool() {
  std::lock_guard lock(mutex_);
  return pool_ = ++pools_;
}

void SegmentAllocator::end_pool() {
  std::lock_guard lock(mutex_);
  pool_ = kCommon;
  if (!caches_) give_back(kEverything);
}

void SegmentAllocator::drop_pool(int pool) noexcept {
  std::lock_guard lock(mutex_);
  for (auto& [at, segment] : segments_)
    if (segment.pool == pool) segment.pool = kCommon;
  for (auto next = free_.lower_bound({pool, false, 0, nullptr}); next != free_.end() && next->pool == pool;) {
    FreeBlocks::node_type node = free_.extract(next++);
    node.value().pool = kCommon;
    free_.insert(std::move(node));
  }
  if (!caches_) give_back(kEverything);
}

}  // namespace sffn
