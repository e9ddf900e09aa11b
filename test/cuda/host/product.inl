// The columns of a product: those of its tiles, where gates lie beside what they gate, and those of a shuffled result.
#include <set>
#include <vector>

#include "cuda/gemm/product.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

Product plain(int n) {
  Product product;
  product.n = n;
  return product;
}
Product gated(int n) {
  Product product = plain(n);
  product.activation = Activation::swiglu;
  return product;
}

// Halves of all remainders by 16, and long ones.
std::vector<int> halves() {
  std::vector<int> all;
  for (int half = 1; half <= 67; ++half) all.push_back(half);
  for (const int half : {127, 128, 129, 1000, 1365, 4096}) all.push_back(half);
  return all;
}

bool tiles_have_each_column_once(int half) {
  std::set<int> columns;
  for (int at = 0; at < gated(2 * half).tile_columns(); ++at) {
    const int column = tile_column(at, half);
    if (column == INT32_MAX) continue;
    if (column < 0 || column >= 2 * half || !columns.insert(column).second) return false;
  }
  return static_cast<int>(columns.size()) == 2 * half;
}

TEST(tiles_have_each_column_of_a_gated_product_once) {
  for (const int half : halves()) CHECK(tiles_have_each_column_once(half));
}

bool gates_precede_what_they_gate(int half) {
  for (int at = 0; at < gated(2 * half).tile_columns(); ++at) {
    if (at / kGates % 2 == 1) continue;
    const int gate = tile_column(at, half), up = tile_column(at + kGates, half);
    if (gate == INT32_MAX ? up != INT32_MAX : gate >= half || up != gate + half) return false;
  }
  for (int gate = 0; gate < half; ++gate)
    if (tile_column(gate_column(gate), half) != gate) return false;
  return true;
}

TEST(gates_precede_what_they_gate_by_kGates_columns) {
  for (const int half : halves()) CHECK(gates_precede_what_they_gate(half));
}

// The chunks in which operands are read.
bool chunks_are_neighbours(int half, int length) {
  for (int at = 0; at < gated(2 * half).tile_columns(); at += length)
    for (int i = 1; i < length; ++i) {
      const int first = tile_column(at, half), column = tile_column(at + i, half);
      if (column != INT32_MAX && column != first + i) return false;
    }
  return true;
}

TEST(columns_of_a_chunk_are_neighbours) {
  for (const int half : halves()) CHECK(chunks_are_neighbours(half, 4) && chunks_are_neighbours(half, 8));
}

TEST(tiles_have_no_column_beyond_the_last) {
  for (const int half : halves())
    for (int at = gated(2 * half).tile_columns(); at < gated(2 * half).tile_columns() + 256; ++at)
      CHECK(tile_column(at, half) == INT32_MAX);
}

TEST(tile_columns_are_as_few_as_hold_all_gates) {
  for (const int half : halves()) {
    const int columns = gated(2 * half).tile_columns();
    CHECK(columns % (2 * kGates) == 0 && columns >= 2 * half && columns - 2 * kGates < 2 * half);
  }
}

TEST(tiles_of_other_products_have_their_columns) {
  Product product = gated(78);
  CHECK(product.half() == 39 && product.results() == 39);
  const float pre = 0;
  product.through.pre = &pre;  // backward through swiglu is not gated
  CHECK(product.half() == 0 && product.results() == 78 && product.tile_columns() == 78);
  product = plain(77);
  CHECK(product.half() == 0 && product.results() == 77 && product.tile_columns() == 77);
  for (int at = 0; at < 200; ++at) CHECK(tile_column(at, 0) == at);
}

// Every run of four that is stored to a part: all of it or nothing, at a multiple of four floats.
bool runs_are_whole(const Product& product) {
  for (int at = 0; at < product.tile_columns(); at += 4) {
    const int column = tile_column(at, product.half());
    if (column >= product.n) continue;
    const int end = column < product.half() ? product.half() : product.n;
    if (column % 4 != 0 || column + 4 > end) return false;
  }
  return product.n % 4 == 0;  // the next row
}

TEST(parts_are_whole_where_every_run_is) {
  for (int n = 1; n <= 300; ++n) {
    CHECK(plain(n).whole_parts() == runs_are_whole(plain(n)));
    if (n % 2 == 0) CHECK(gated(n).whole_parts() == runs_are_whole(gated(n)));
  }
}

// g_l[i] = h[i·L + l], and block l of the second factor reads r features from l·r on.
bool is_the_shuffle(int L, int r) {
  for (int l = 0; l < L; ++l)
    for (int i = 0; i < r; ++i)
      if (shuffled(i * L + l, L, r) != l * r + i) return false;
  return true;
}

TEST(hidden_features_go_where_the_shuffle_says) {
  for (const int L : {1, 2, 3, 4, 7, 16, 33})
    for (const int r : {1, 2, 5, 8, 96, 341}) CHECK(is_the_shuffle(L, r));
}

}  // namespace
}  // namespace sffn::cuda
