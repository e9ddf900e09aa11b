// Rows of a language model's head that are at work at a time, and the sizes that a product can have.
#include "cuda/gemm/product.cuh"
#include "cuda/head_rows.h"
#include "unit.h"

namespace sffn::cuda {
namespace {

constexpr int64_t kPlenty = int64_t{1} << 40;

HeadSizes head(int64_t rows, int64_t classes, bool in_place = false) {
  return {.rows = rows,
          .features = 1024,
          .classes = classes,
          .gradient = true,
          .weight_gradient = true,
          .in_place = in_place};
}

bool are(const HeadRows& rows, int64_t chunk, int64_t group) { return rows.chunk == chunk && rows.group == group; }

TEST(head_rows_where_there_is_memory) {
  CHECK(are(head_rows(head(16384, 50257), kPlenty), 4096, 16384));  // one group
  CHECK(are(head_rows(head(3000, 50257), kPlenty), 3000, 3000));
  CHECK(are(head_rows(head(0, 50257), kPlenty), 0, 0));
  CHECK(are(head_rows(head(9, 0), kPlenty), 9, 9));
  // Few classes: more rows. Groups of two chunks, because three would be more than 2 GiB.
  CHECK(are(head_rows(head(1 << 20, 256), kPlenty), 131072, 1 << 20));
  CHECK(are(head_rows(head(32768, 100000), kPlenty), 4096, 2 * 4096));
  // A chunk is 4096 rows long even where those are more than a group may have.
  CHECK(are(head_rows(head(32768, 1 << 20), kPlenty), 4096, 4096));
  // In place there is nothing beside the chunk, and in evaluation there is no group.
  CHECK(are(head_rows(head(16384, 50257, true), kPlenty), 4096, 4096));
  HeadSizes evaluated = head(16384, 50257);
  evaluated.gradient = evaluated.weight_gradient = false;
  CHECK(are(head_rows(evaluated, kPlenty), 4096, 4096));
  // More rows than a product has terms.
  CHECK(are(head_rows(head(int64_t{1} << 32, 1), kPlenty), 32 << 20, 1 << 30));
}

TEST(head_rows_by_what_is_free) {
  // Never more than half of it, unless one tile of rows is.
  for (const int64_t rows : {1, 100, 128, 129, 1000, 5000, 70000})
    for (const int64_t classes : {1, 7, 1000, 50257})
      for (const bool in_place : {false, true})
        for (int64_t available = kPlenty; available > 0; available = available / 3 * 2) {
          const HeadSizes sizes = head(rows, classes, in_place);
          const HeadRows found = head_rows(sizes, available);
          const bool least = found.chunk <= kTileRows && found.group == found.chunk;
          CHECK(least || head_bytes(sizes, found) <= available / 2);
          CHECK(found.chunk == rows || (found.chunk > 0 && found.chunk % kTileRows == 0));
          CHECK(found.group == rows || found.group % found.chunk == 0);
        }
  CHECK(are(head_rows(head(5000, 1000), -5), 128, 128));
  // Whatever fits is used: 5 chunks in one group, in groups of 3 and 2, and by themselves.
  HeadSizes sizes = head(600, 1000);
  sizes.features = 8;
  const auto half = [&](int64_t chunk, int64_t group) { return 2 * head_bytes(sizes, {chunk, group}); };
  CHECK(are(head_rows(sizes, half(600, 600)), 600, 600));
  CHECK(are(head_rows(sizes, half(256, 600)), 256, 600));
  CHECK(are(head_rows(sizes, half(128, 384)), 128, 384));
  CHECK(are(head_rows(sizes, half(128, 384) - 1), 128, 256));
  CHECK(are(head_rows(sizes, half(128, 128)), 128, 128));
  // One group needs no sums beside it: with many features smaller chunks save more than smaller groups.
  sizes.features = 1 << 20;
  CHECK(are(head_rows(sizes, half(256, 600)), 256, 600));
  CHECK(are(head_rows(sizes, half(128, 600)), 128, 600));
}

// What test/cuda/head.test.ts says of its sizes.
TEST(head_rows_of_the_tests) {
  HeadSizes sizes = head(600, 300);
  sizes.features = 8;
  for (const int64_t beside : {0, 60'000}) {  // gradients, losses, and what blocks are longer than asked for
    CHECK(are(head_rows(sizes, 900'000 - beside), 128, 384));
    CHECK(are(head_rows(sizes, 400'000 - beside), 128, 128));
  }
  CHECK(are(head_rows(sizes, kPlenty), 600, 600));
}

TEST(dimensions) {
  CHECK(dimension(INT32_MAX) == INT32_MAX);
  bool refused = false;
  try {
    dimension(int64_t{INT32_MAX} + 1);
  } catch (const Error& error) {
    refused = std::string(error.code) == "ERR_SHAPE";
  }
  CHECK(refused);
}

}  // namespace
}  // namespace sffn::cuda
