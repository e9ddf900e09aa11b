// Softmax and log-softmax over rows, with the row maximum subtracted; the row helpers serve the cross entropy too.

template <class T>
float row_max(const T* x, int64_t n) {
  Vec best = splat(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) best = max(load(x + i, Full{}), best);
  float result = max_lane(best);
  for (; i < n; ++i) result = widen(x[i]) > result ? widen(x[i]) : result;
  return result;
}

// Σ exp(x[i] − shift).
template <class T>
double row_sum_exp(const T* x, int64_t n, float shift) {
  Vec acc[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    SFFN_UNROLL for (int k = 0; k < 4; ++k) acc[k] += exp(load(x + i + k * kLanes, Full{}) - shift);
  }
  for (; i + kLanes <= n; i += kLanes) acc[0] += exp(load(x + i, Full{}) - shift);
  double result = 0;
  for (const Vec& a : acc) result += double{sum(a)};
  for (; i < n; ++i) result += double{exp(splat(widen(x[i]) - shift))[0]};
  return result;
}

void softmax_forward(View x, View y, int64_t n, int64_t features, int64_t log) {
  with_float(x.dtype, [&]<class T>(T) {
    for_rows(n, features, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* from = x.as<T>() + r * features;
        T* to = y.as<T>() + r * features;
        const float top = row_max(from, features);
        const double total = row_sum_exp(from, features, top);
        const float log_total = static_cast<float>(std::log(total)), factor = static_cast<float>(1 / total);
        for_vectors(0, features, [&](int64_t i, auto part) {
          const Vec shifted = load(from + i, part) - top;
          store(to + i, log ? shifted - log_total : exp(shifted) * factor, part);
        });
      }
    });
  });
}

// softmax: dx = y·(dy − Σ dy·y); log-softmax: dx = dy − exp(y)·Σ dy.
void softmax_backward(View dy, View y, View dx, int64_t n, int64_t features, int64_t log) {
  with_float(dy.dtype, [&]<class T>(T) {
    for_rows(n, features, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T *dy_at = dy.as<T>() + r * features, *y_at = y.as<T>() + r * features;
        T* to = dx.as<T>() + r * features;
        Vec acc{};
        for_vectors(0, features, [&](int64_t i, auto part) {
          const Vec d = load(dy_at + i, part);
          acc += log ? d : d * load(y_at + i, part);
        });
        const float total = sum(acc);
        for_vectors(0, features, [&](int64_t i, auto part) {
          const Vec d = load(dy_at + i, part), value = load(y_at + i, part);
          store(to + i, log ? d - exp(value) * total : value * (d - total), part);
        });
      }
    });
  });
}
