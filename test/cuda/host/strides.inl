// Strided operands: positions found as nested loops find them, whatever dimensions were joined.
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cuda/strides.cuh"
#include "unit.h"

namespace sffn::cuda {
namespace {

using Vector = std::vector<int32_t>;

// Offset of a position of the dimensions, the last the innermost.
int64_t literal(int64_t position, const Vector& dims, const Vector& strides) {
  int64_t offset = 0;
  for (size_t d = dims.size(); d-- > 0; position /= dims[d]) offset += position % dims[d] * strides[d];
  return offset;
}

int64_t count(const Vector& dims) {
  int64_t all = 1;
  for (const int32_t size : dims) all *= size;
  return all;
}

template <class Index>
bool located(const Vector& dims, const Vector& a, const Vector& b) {
  const Strided<2> shape(dims, {Ints(a), Ints(b)});
  if (shape.count() != count(dims)) return false;
  for (int64_t at = 0; at < shape.count(); ++at) {
    int64_t offset[2] = {-1, -1};
    locate(shape, static_cast<Index>(at), offset);
    if (offset[0] != literal(at, dims, a) || offset[1] != literal(at, dims, b)) return false;
  }
  return true;
}

Vector contiguous(const Vector& dims) {
  Vector strides(dims.size());
  int32_t step = 1;
  for (size_t d = dims.size(); d-- > 0; step *= dims[d]) strides[d] = step;
  return strides;
}

TEST(positions_are_those_of_nested_loops) {
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int32_t>(random() % n); };
  for (int i = 0; i < 3000; ++i) {
    Vector dims(below(6)), a, b;
    for (int32_t& size : dims) size = 1 + below(4);
    // Contiguous, repeated, and reversed or any dimensions, in all mixtures.
    a = b = contiguous(dims);
    for (size_t d = 0; d < dims.size(); ++d) {
      if (below(4) == 0) a[d] = 0;
      if (below(4) == 0) b[d] = below(50) - 10;
    }
    if (dims.size() > 1 && below(3) == 0) std::swap(a[0], a[dims.size() - 1]);
    CHECK(located<uint32_t>(dims, a, b) && located<uint64_t>(dims, a, b));
  }
}

TEST(most_dimensions_that_there_may_be) {
  Vector dims(kMaxDims, 1), strides(kMaxDims);
  for (int d = 0; d < kMaxDims; ++d) dims[d] = d % 3 == 0 ? 2 : 1, strides[d] = 100 * d + 1;  // none join
  CHECK(located<uint32_t>(dims, strides, contiguous(dims)));
  dims.push_back(1), strides.push_back(1);
  bool thrown = false;
  try {
    strided_pair(dims, strides);
  } catch (const Error& error) {
    thrown = std::string(error.code) == "ERR_SHAPE";
  }
  CHECK(thrown);
}

TEST(dimensions_join_where_both_operands_allow_it) {
  const Vector dims = {2, 3, 4};
  CHECK(strided_pair(dims, Vector{12, 4, 1}).rank == 1);
  CHECK(strided_pair(dims, Vector{24, 4, 1}).rank == 2);
  CHECK(strided_pair(dims, Vector{1, 2, 6}).rank == 3);
  CHECK(strided_pair({}, {}).rank == 1 && strided_pair({}, {}).count() == 1);
}

TEST(the_contiguous_side_of_a_pair_is_the_position) {
  const Vector dims = {3, 1, 5, 2};
  const Strided<2> pair = strided_pair(dims, Vector{1, 7, 6, 3});
  for (int64_t at = 0; at < count(dims); ++at) {
    int64_t offset[2];
    locate(pair, static_cast<uint32_t>(at), offset);
    CHECK(offset[1] == at && offset[0] == literal(at, dims, {1, 7, 6, 3}));
  }
}

TEST(steps_of_the_contiguous_side_go_beyond_32_bits) {
  const Vector dims = {3, 1 << 12, 1 << 20}, strides = {1, 7, 1 << 15};
  const Strided<2> pair = strided_pair(dims, strides);
  CHECK(pair.count() == int64_t{3} << 32);
  for (const int64_t at : {int64_t{1} << 31, (int64_t{1} << 32) - 1, int64_t{1} << 32, (int64_t{3} << 32) - 1}) {
    int64_t offset[2];
    locate(pair, static_cast<uint64_t>(at), offset);
    CHECK(offset[1] == at && offset[0] == literal(at, dims, strides));
    pair.walk(at, at + 1, [&](const int64_t* walked, int64_t, int64_t) {
      CHECK(walked[0] == offset[0] && walked[1] == offset[1]);
    });
  }
}

TEST(dimensions_of_products_are_32_bit) {
  CHECK(dimension(INT32_MAX) == INT32_MAX);
  bool thrown = false;
  try {
    dimension(int64_t{1} << 31);
  } catch (const Error& error) {
    thrown = std::string(error.code) == "ERR_SHAPE";
  }
  CHECK(thrown);
}

TEST(positions_beyond_32_bits_take_64) {
  const auto bytes_for = [](int64_t positions) {
    size_t bytes = 0;
    dispatch_index(positions, [&](auto index) { bytes = sizeof(index); });
    return bytes;
  };
  CHECK(bytes_for((int64_t{1} << 31) - 1) == 4 && bytes_for(int64_t{1} << 31) == 8);
  const Strided<2> large = strided_pair(Vector{1 << 15, 1 << 15, 1 << 4}, Vector{1 << 4, 1 << 20, 1});
  const int64_t at = (int64_t{12345} << 19) + (int64_t{30000} << 4) + 7;
  int64_t offset[2];
  locate(large, static_cast<uint64_t>(at), offset);
  CHECK(offset[0] == (int64_t{12345} << 4) + (int64_t{30000} << 20) + 7);
}

}  // namespace
}  // namespace sffn::cuda
