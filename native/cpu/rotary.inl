// Rotary positions: the pair (x[i], x[i + half]) of a head is turned by the angle position · base^(−i/half).

// cos and sin of every position and pair, [seq, half] each; empty when there is nothing to rotate.
struct Rotary {
  int64_t half = 0;
  Scratch<float> cos, sin;
};

// The library computes every 64th position, in f64; the positions between are rotated from there. That is about 20
// times as fast, with an error below 1e-14.
inline Rotary make_rotary(int64_t seq, int64_t head_size, double base) {
  if (base == 0) return {};
  const int64_t half = head_size / 2;
  Rotary rotary{half, Scratch<float>(seq * half), Scratch<float>(seq * half)};
  Scratch<double> step(3 * half);  // angle of one position, its cos, its sin
  double *angle = step.get(), *step_cos = angle + half, *step_sin = step_cos + half;
  for (int64_t i = 0; i < half; ++i) {
    angle[i] = std::pow(base, -static_cast<double>(i) / static_cast<double>(half));
    step_cos[i] = std::cos(angle[i]);
    step_sin[i] = std::sin(angle[i]);
  }
  for_ranges(seq, 64, [&](int64_t begin, int64_t end) {
    Scratch<double> turned(2 * half);
    double *c = turned.get(), *s = c + half;
    for (int64_t i = 0; i < half; ++i) {
      c[i] = std::cos(static_cast<double>(begin) * angle[i]);
      s[i] = std::sin(static_cast<double>(begin) * angle[i]);
    }
    for (int64_t position = begin; position < end; ++position) {
      float *cos_at = rotary.cos.get() + position * half, *sin_at = rotary.sin.get() + position * half;
      for (int64_t i = 0; i < half; ++i) {
        cos_at[i] = static_cast<float>(c[i]);
        sin_at[i] = static_cast<float>(s[i]);
        const double next = c[i] * step_cos[i] - s[i] * step_sin[i];
        s[i] = s[i] * step_cos[i] + c[i] * step_sin[i];
        c[i] = next;
      }
    }
  });
  return rotary;
}

// y = scale · (x turned for its position), or turned back when `direction` is -1.
template <class From, class To>
void rotate(const From *x, To *y, int64_t head_size, const Rotary &rotary, int64_t position, float scale,
            float direction = 1.f) {
  const int64_t half = rotary.half;
  if (half == 0) {
    for_vectors(0, head_size, [&](int64_t i, auto part) { store(y + i, load(x + i, part) * scale, part); });
    return;
  }
  const float *cos_at = rotary.cos.get() + position * half, *sin_at = rotary.sin.get() + position * half;
  for_vectors(0, half, [&](int64_t i, auto part) {
    const Vec c = load(cos_at + i, part) * scale, s = load(sin_at + i, part) * (scale * direction);
    const Vec first = load(x + i, part), second = load(x + half + i, part);
    store(y + i, first * c - second * s, part);
    store(y + half + i, second * c + first * s, part);
  });
}
