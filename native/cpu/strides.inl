// Loops over several strided operands at once. Neighbouring dimensions are joined wherever every operand allows it,
// which makes the innermost loop as long as possible.

constexpr int kMaxDims = 16;

inline void check_dims(Ints dims) {
  if (dims.size() > kMaxDims) throw Error("ERR_SHAPE", "more than 16 dimensions");
}

// Sizes and, for each of `Operands` operands, strides; the last dimension is the innermost. There is always one
// dimension.
template <int Operands>
struct Strided {
  int rank = 0;
  int64_t size[kMaxDims];
  int64_t stride[Operands][kMaxDims];

  Strided(Ints dims, const Ints (&strides)[Operands])
      : Strided(dims, [&](int operand, size_t d) -> int64_t { return strides[operand][d]; }) {}

  // stride_of(operand, dimension)
  template <class StrideOf>
  Strided(Ints dims, const StrideOf& stride_of) {
    check_dims(dims);
    for (size_t d = 0; d < dims.size(); ++d) {
      if (dims[d] == 1) continue;
      bool joins = rank > 0;
      for (int o = 0; joins && o < Operands; ++o) joins = stride[o][rank - 1] == stride_of(o, d) * dims[d];
      if (joins) --rank;
      size[rank] = joins ? size[rank] * dims[d] : dims[d];
      for (int o = 0; o < Operands; ++o) stride[o][rank] = stride_of(o, d);
      ++rank;
    }
    if (rank == 0) {
      size[0] = 1;
      for (int o = 0; o < Operands; ++o) stride[o][0] = 1;
      rank = 1;
    }
  }

  int64_t inner() const { return size[rank - 1]; }
  int64_t inner_stride(int operand) const { return stride[operand][rank - 1]; }
  int64_t count() const {
    int64_t total = 1;
    for (int d = 0; d < rank; ++d) total *= size[d];
    return total;
  }

  // body(offsets of the operands, position, length) for the pieces of inner rows that make up [begin, end) of all
  // positions.
  template <class Body>
  void walk(int64_t begin, int64_t end, const Body& body) const {
    int64_t index[kMaxDims], rest = begin;
    int64_t offset[Operands] = {};
    for (int d = rank - 1; d >= 0; --d) {
      index[d] = rest % size[d];
      rest /= size[d];
      for (int o = 0; o < Operands; ++o) offset[o] += index[d] * stride[o][d];
    }
    for (int64_t at = begin; at < end;) {
      const int64_t length = std::min(end - at, inner() - index[rank - 1]);
      body(offset, at, length);
      at += length;
      advance(index, offset, length);
    }
  }

 private:
  void advance(int64_t* index, int64_t* offset, int64_t length) const {
    int d = rank - 1;
    index[d] += length;
    for (int o = 0; o < Operands; ++o) offset[o] += length * stride[o][d];
    while (d > 0 && index[d] == size[d]) {
      for (int o = 0; o < Operands; ++o) offset[o] += stride[o][d - 1] - size[d] * stride[o][d];
      index[d--] = 0;
      ++index[d];
    }
  }
};

// Operand 0 is strided, operand 1 contiguous. Its steps follow from dims; 32 bits might not hold them.
inline Strided<2> strided_pair(Ints dims, Ints strides) {
  check_dims(dims);
  int64_t steps[kMaxDims], step = 1;
  for (size_t d = dims.size(); d-- > 0; step *= dims[d]) steps[d] = step;
  return Strided<2>(dims, [&](int operand, size_t d) { return operand == 0 ? int64_t{strides[d]} : steps[d]; });
}
