#include "decode.h"

#include <algorithm>
#include <array>

#include "operands.h"

namespace sffn {
namespace {

constexpr size_t kSizes = 10;                 // of `shape`: entries for the model, before those of linear layers
constexpr size_t kShared = 7, kOfBlock = 26;  // of `weights`: those of the model, of a layer of the model
constexpr size_t kLinear = 4;                 // linear layers in a layer of the model

[[noreturn]] void refuse(const char* code, const std::string& what, const std::string& expected,
                         const std::string& got) {
  throw Error(code, "bindModel: " + what + ": expected " + expected + ", got " + got);
}

void check_count(const char* what, size_t expected, size_t got) {
  if (got != expected)
    refuse("ERR_ARGUMENT", what, std::to_string(expected) + " entries", std::to_string(got) + " entries");
}

DecodeShape shape_of(Ints sizes) {
  if (sizes.size() < kSizes) check_count("shape", kSizes, sizes.size());
  const DecodeShape s{sizes[0], sizes[1],     sizes[2], sizes[3],
                      sizes[4], sizes[5],     sizes[6], static_cast<Activation>(sizes[7]),
                      sizes[8], sizes[9] != 0};
  const bool right = std::min({s.vocabulary, s.width, s.heads, s.kv_heads, s.head_size, s.page_tokens}) > 0 &&
                     s.layers >= 0 && s.heads % s.kv_heads == 0 && (s.norm == 0 || s.norm == 1) &&
                     is_code(s.activation) && (sizes[9] == 0 || sizes[9] == 1);
  if (!right) refuse("ERR_ARGUMENT", "shape", "sizes of a model", "others");
  return s;
}

// Hands out the weights and the sizes of linear layers in the order of kernels.def.
class Reader {
 public:
  Reader(Views weights, Ints dims, bool int8_rows) : weights_(weights), dims_(dims), int8_rows_(int8_rows) {}

  template <class One = operand::F32>
  View take(int64_t size) {
    const View& view = weights_[at_];
    const std::string what = "weights[" + std::to_string(at_++) + "]";
    if (view && !One::accepts(view.dtype)) refuse("ERR_DTYPE", what, One::expected(), name_of(view.dtype));
    if (view.size != size) refuse("ERR_ARGUMENT", what, std::to_string(size) + " elements", std::to_string(view.size));
    if (view && view.device != weights_[0].device) throw Error("ERR_DEVICE", "bindModel: weights on several devices");
    return view;
  }
  template <class One = operand::F32>
  View take_optional(int64_t size) {
    return take<One>(weights_[at_] ? size : 0);
  }

  // Only int8 has scales.
  View take_scales(View matrix, int64_t rows) { return take(matrix && matrix.dtype == DType::i8 ? rows : 0); }

  DecodeNorm take_norm(int64_t width) {
    const View weight = take(width);
    return {weight, take_optional(width)};
  }

  DecodeLayer take_layer(int64_t in) {
    const Ints dims = dims_.first(kDims);
    dims_ = dims_.subspan(kDims);
    const int64_t K = dims[0], q = dims[1], p = dims[2], L = dims[3], s = dims[4], r = dims[5];
    const bool factored = static_cast<bool>(weights_[at_]);
    const bool known = is_inner_activation(dims[kDims - 1]);
    const bool fits = known && K * q == L * r && K * p == in && (factored || (K == 1 && L == 1 && q == p));
    if (std::min({K, q, p, L, s, r}) <= 0 || !fits)
      refuse("ERR_ARGUMENT", "shape", "a layer of " + std::to_string(in) + " columns", "other dims");
    DecodeLayer layer;
    layer.dims = dims;
    layer.int8_rows = int8_rows_;
    layer.v = take_optional<operand::Weight>(K * q * p);
    layer.v_scales = take_scales(layer.v, K * q);
    layer.u = take<operand::Weight>(L * s * r);
    layer.u_scales = take_scales(layer.u, L * s);
    layer.bias = take_optional(L * s);
    return layer;
  }
  DecodeLayer take_layer(int64_t in, int64_t out) {
    const DecodeLayer layer = take_layer(in);
    if (layer.out() != out)
      refuse("ERR_ARGUMENT", "shape", "a layer of " + std::to_string(out) + " rows", std::to_string(layer.out()));
    return layer;
  }

 private:
  const Views weights_;
  size_t at_ = 0;
  Ints dims_;  // those not yet handed out
  const bool int8_rows_;
};

std::vector<int64_t> identity_of(Views weights, Ints sizes, double eps, double rotary_base) {
  std::vector<int64_t> identity(sizes.begin(), sizes.end());
  for (const View& view : weights) {
    identity.push_back(reinterpret_cast<int64_t>(view.data));
    identity.push_back(static_cast<int64_t>(view.dtype));
  }
  identity.push_back(std::bit_cast<int64_t>(eps));
  identity.push_back(std::bit_cast<int64_t>(rotary_base));
  return identity;
}

}  // namespace

DecodeModel::DecodeModel(Views weights, Ints sizes, double eps, double rotary_base)
    : shape(shape_of(sizes)),
      eps(eps),
      rotary_base(rotary_base),
      identity(identity_of(weights, sizes, eps, rotary_base)),
      dims_(sizes.begin() + kSizes, sizes.end()) {
  const size_t layers = static_cast<size_t>(shape.layers);
  check_count("shape", kSizes + layers * kLinear * kDims, sizes.size());
  check_count("weights", kShared + layers * kOfBlock, weights.size());
  const int32_t width = sizes[1];
  const std::array<int32_t, kDims> of_head = {1, width, width, 1, sizes[0], width, 0};
  dims_.insert(dims_.end(), of_head.begin(), of_head.end());

  Reader reader(weights, dims_, shape.int8_rows);
  embedding = reader.take<operand::Weight>(shape.vocabulary * width);
  embedding_scales = reader.take_scales(embedding, shape.vocabulary);
  final_norm = reader.take_norm(width);
  if (shape.int8_rows && embedding.device.kind != DeviceKind::cpu) refuse_int8_rows("bindModel");
  head.dims = Ints(dims_).last(kDims);
  head.int8_rows = shape.int8_rows;
  head.u = reader.take<operand::Weight>(shape.vocabulary * width);
  head.u_scales = reader.take_scales(head.u, shape.vocabulary);
  positions = reader.take(weights[kShared - 1].size / width * width);
  for (size_t layer = 0; layer < layers; ++layer) {
    DecodeBlock block;
    block.norm1 = reader.take_norm(width);
    block.qkv = reader.take_layer(width, shape.qkv());
    block.out = reader.take_layer(shape.attention(), width);
    block.norm2 = reader.take_norm(width);
    block.fc1 = reader.take_layer(width);
    block.fc2 = reader.take_layer(ffn_width(block), width);
    block.query_norm = reader.take_optional(shape.head_size);
    block.key_norm = reader.take(block.query_norm.size);
    blocks.push_back(block);
  }
}

}  // namespace sffn
