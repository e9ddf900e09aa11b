// Interleaving of vectors, the building block of transposition and of BlockShuffle's output order.

#if defined(__clang__)
template <int kOffset, int... I>
SFFN_INLINE Vec interleave_from(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, ((kOffset + I) / 2 + (I % 2) * kLanes)...);
}
template <int kOffset, int... I>
SFFN_INLINE Vec every_second(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + kOffset)...);
}
#else
template <int kOffset, int... I>
SFFN_INLINE Vec interleave_from(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shuffle(a, b, IntVec{((kOffset + I) / 2 + (I % 2) * kLanes)...});
}
template <int kOffset, int... I>
SFFN_INLINE Vec every_second(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shuffle(a, b, IntVec{(2 * I + kOffset)...});
}
#endif

using Lanes = std::make_integer_sequence<int, kLanes>;

// a0 b0 a1 b1 ...: the first half of the interleaved pair, and the second.
SFFN_INLINE Vec interleave_low(Vec a, Vec b) { return interleave_from<0>(a, b, Lanes()); }
SFFN_INLINE Vec interleave_high(Vec a, Vec b) { return interleave_from<kLanes>(a, b, Lanes()); }
SFFN_INLINE Vec even_lanes(Vec a, Vec b) { return every_second<0>(a, b, Lanes()); }
SFFN_INLINE Vec odd_lanes(Vec a, Vec b) { return every_second<1>(a, b, Lanes()); }

// Lane j of v[i] becomes element j·kCount + i of the concatenation. kCount is a power of two; with kCount = kLanes this
// is a transposition.
template <int kCount>
SFFN_INLINE void interleave(Vec (&v)[kCount]) {
  SFFN_UNROLL for (int round = 1; round < kCount; round *= 2) {
    Vec t[kCount];
    SFFN_UNROLL for (int i = 0; i < kCount / 2; ++i) {
      t[2 * i] = interleave_low(v[i], v[i + kCount / 2]);
      t[2 * i + 1] = interleave_high(v[i], v[i + kCount / 2]);
    }
    SFFN_UNROLL for (int i = 0; i < kCount; ++i) v[i] = t[i];
  }
}

// The inverse: element j·kCount + i of the concatenation becomes lane j of v[i].
template <int kCount>
SFFN_INLINE void deinterleave(Vec (&v)[kCount]) {
  SFFN_UNROLL for (int round = 1; round < kCount; round *= 2) {
    Vec t[kCount];
    SFFN_UNROLL for (int i = 0; i < kCount / 2; ++i) {
      t[i] = even_lanes(v[2 * i], v[2 * i + 1]);
      t[i + kCount / 2] = odd_lanes(v[2 * i], v[2 * i + 1]);
    }
    SFFN_UNROLL for (int i = 0; i < kCount; ++i) v[i] = t[i];
  }
}

// to[i·count + b] = from[b·from_stride + i] for b < count, i < length; `stream`: past the caches, `to` is aligned.
template <int kCount, class T>
void interleave_row(const T* from, int64_t from_stride, int64_t length, float* to, bool stream) {
  int64_t i = 0;
  for (; i + kLanes <= length; i += kLanes) {
    Vec v[kCount];
    SFFN_UNROLL for (int b = 0; b < kCount; ++b) v[b] = load(from + b * from_stride + i, Full{});
    interleave(v);
    SFFN_UNROLL for (int b = 0; b < kCount; ++b) {
      float* place = to + i * kCount + b * kLanes;
      stream ? store_past_caches(place, v[b]) : store(place, v[b]);
    }
  }
  for (; i < length; ++i)
    for (int b = 0; b < kCount; ++b) to[i * kCount + b] = widen(from[b * from_stride + i]);
}

template <class T>
void interleave_row(const T* from, int64_t from_stride, int64_t count, int64_t length, float* to, bool stream) {
  if (count == 2) return interleave_row<2>(from, from_stride, length, to, stream);
  if (count == 4) return interleave_row<4>(from, from_stride, length, to, stream);
  if (count == 8) return interleave_row<8>(from, from_stride, length, to, stream);
  for (int64_t i = 0; i < length; ++i)
    for (int64_t b = 0; b < count; ++b) to[i * count + b] = widen(from[b * from_stride + i]);
}

// to[b·to_stride + i] = from[i·count + b] for b < count, i < length.
template <int kCount, class T>
void deinterleave_row(const T* from, int64_t length, T* to, int64_t to_stride) {
  int64_t i = 0;
  for (; i + kLanes <= length; i += kLanes) {
    Vec v[kCount];
    SFFN_UNROLL for (int b = 0; b < kCount; ++b) v[b] = load(from + i * kCount + b * kLanes, Full{});
    deinterleave(v);
    SFFN_UNROLL for (int b = 0; b < kCount; ++b) store(to + b * to_stride + i, v[b], Full{});
  }
  for (; i < length; ++i)
    for (int b = 0; b < kCount; ++b) to[b * to_stride + i] = from[i * kCount + b];
}

template <class T>
void deinterleave_row(const T* from, int64_t count, int64_t length, T* to, int64_t to_stride) {
  if (count == 2) return deinterleave_row<2>(from, length, to, to_stride);
  if (count == 4) return deinterleave_row<4>(from, length, to, to_stride);
  if (count == 8) return deinterleave_row<8>(from, length, to, to_stride);
  for (int64_t b = 0; b < count; ++b)
    for (int64_t i = 0; i < length; ++i) to[b * to_stride + i] = from[i * count + b];
}
