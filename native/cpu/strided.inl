// Copies between a contiguous tensor and a strided one: transpose, slice, expand, and their reverse. Elements are moved
// as integers of their size, so that no bit pattern changes on the way.

// A transpose works in tiles: the strided side is read as 8 streams, which an 8-way cache holds even where their lines
// share a set, and the other side is written in pieces of 8. For [2048, 2048] it is 3 times as fast as square tiles of
// 32.
constexpr int64_t kTransposeRows = 128, kTransposeColumns = 8;

// move(strided offset, contiguous offset, length, strided step, contiguous step) until everything is moved once.
template <class Move>
void for_pieces(const Strided<2>& shape, const Move& move) {
  const int last = shape.rank - 1;
  int across = -1;  // the dimension in which the strided side is contiguous
  for (int d = 0; d < last; ++d)
    if (shape.stride[0][d] == 1) across = d;
  if (across < 0 || shape.inner_stride(0) == 1 || shape.inner() < 4) {
    for_ranges(shape.count(), kTaskElements, [&](int64_t begin, int64_t end) {
      shape.walk(begin, end, [&](const int64_t* offset, int64_t at, int64_t length) {
        move(offset[0], at, length, shape.inner_stride(0), 1);
      });
    });
    return;
  }
  Strided<2> others = shape;  // one position for every matrix (across, last)
  others.size[across] = others.size[last] = 1;
  const int64_t rows = shape.size[across], columns = shape.inner(), row_step = shape.stride[1][across];
  const int64_t row_tiles = (rows + kTransposeRows - 1) / kTransposeRows;
  const int64_t tiles_per_task = std::max<int64_t>(1, kTaskElements / (kTransposeRows * columns));
  for_ranges(others.count() * row_tiles, tiles_per_task, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t matrix = tile / row_tiles, first = tile % row_tiles * kTransposeRows;
      const int64_t count = std::min(kTransposeRows, rows - first);
      others.walk(matrix, matrix + 1, [&](const int64_t* offset, int64_t, int64_t) {
        for (int64_t c = 0; c < columns; c += kTransposeColumns)
          for (int64_t r = first; r < first + count; ++r)
            move(offset[0] + r + c * shape.inner_stride(0), offset[1] + r * row_step + c,
                 std::min(kTransposeColumns, columns - c), shape.inner_stride(0), 1);
      });
    }
  });
}

// Calls body(bits) with an unsigned integer as long as an element.
template <class Body>
void dispatch_bits(DType dtype, const Body& body) {
  switch (size_of(dtype)) {
    case 1:
      return body(uint8_t{});
    case 2:
      return body(uint16_t{});
    default:
      return body(uint32_t{});
  }
}

void strided_copy(View x, View y, int64_t offset, Ints dims, Ints strides) {
  if (y.size == 0) return;
  dispatch_bits(y.dtype, [&](auto bits) {
    using Bits = decltype(bits);
    const Bits* from = static_cast<const Bits*>(x.data) + offset;
    Bits* to = static_cast<Bits*>(y.data);
    for_pieces(strided_pair(dims, strides), [&](int64_t at, int64_t y_at, int64_t count, int64_t step, int64_t y_step) {
      if (step == 1 && y_step == 1)
        std::memcpy(to + y_at, from + at, static_cast<size_t>(count) * sizeof(Bits));
      else
        for (int64_t i = 0; i < count; ++i) to[y_at + i * y_step] = from[at + i * step];
    });
  });
}

// acc[offset + Σ i·strides] += y[i]. A dimension of stride 0 sends several elements to one place (the gradient of a
// broadcast). They are summed first, one run of such dimensions after the other, so that no two threads write to one
// place.
template <class From, class To>
void add_strided(const From* y, To* acc, Ints dims, Ints strides) {
  for_pieces(strided_pair(dims, strides), [&](int64_t at, int64_t y_at, int64_t count, int64_t step, int64_t y_step) {
    for (int64_t i = 0; i < count; ++i) {
      To& to = acc[at + i * step];
      to = narrow<To>(widen(to) + widen(y[y_at + i * y_step]));
    }
  });
}

template <class T>
void strided_add_of(const T* y, T* acc, Ints dims, Ints strides) {
  std::vector<int32_t> kept_dims, kept_strides;
  Scratch<float> sums;
  int64_t outer = 1, inner = 1;
  for (const int32_t size : dims) inner *= size;
  for (size_t d = 0; d < dims.size();) {
    int64_t extent = 1;
    for (; d < dims.size() && strides[d] == 0; ++d) extent *= dims[d];
    inner /= extent;
    if (extent > 1) {
      Scratch<float> next(outer * inner);
      if (sums.get())
        reduce_with<SumOf>(sums.get(), next.get(), outer, extent, inner, 1);
      else
        reduce_with<SumOf>(y, next.get(), outer, extent, inner, 1);
      sums = std::move(next);
    }
    if (d == dims.size()) break;
    outer *= dims[d];
    inner /= dims[d];
    kept_dims.push_back(dims[d]);
    kept_strides.push_back(strides[d++]);
  }
  if (sums.get())
    add_strided(sums.get(), acc, kept_dims, kept_strides);
  else
    add_strided(y, acc, kept_dims, kept_strides);
}

void strided_add(View y, View x, int64_t offset, Ints dims, Ints strides) {
  if (y.size == 0) return;
  with_float(y.dtype, [&]<class T>(T) { strided_add_of(y.as<T>(), x.as<T>() + offset, dims, strides); });
}

void strided_write(View y, View x, int64_t offset, Ints dims, Ints strides) {
  if (y.size == 0) return;
  dispatch_bits(y.dtype, [&](auto bits) {
    using Bits = decltype(bits);
    const Bits* from = static_cast<const Bits*>(y.data);
    Bits* to = static_cast<Bits*>(x.data) + offset;
    for_pieces(strided_pair(dims, strides), [&](int64_t at, int64_t y_at, int64_t count, int64_t step, int64_t y_step) {
      for (int64_t i = 0; i < count; ++i) to[at + i * step] = from[y_at + i * y_step];
    });
  });
}
