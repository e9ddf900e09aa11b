// Layer norm over the last dimension: y = x̂·weight + bias with x̂ = (x − mean)·rstd. Backward, with g = dy·weight:
// dx = rstd·(g − mean(g) − x̂·mean(g·x̂)), dweight = Σ dy·x̂ and dbias = Σ dy over the rows.

// Sums over rows in fixed chunks, each into its own [features] part, joined in order.
struct RowChunks {
  int64_t rows, count;  // of one chunk; of chunks
  explicit RowChunks(int64_t n)
      : rows(std::max<int64_t>(16, (n + 63) / 64)), count(std::max<int64_t>(1, (n + rows - 1) / rows)) {}

  // result[f] = Σ parts[chunk·stride + f].
  template <class T>
  void join(float* parts, int64_t stride, T* result, int64_t features) const {
    for_vectors(0, features, [&](int64_t f, auto part) {
      Vec total = load(parts + f, part);
      for (int64_t chunk = 1; chunk < count; ++chunk) total += load(parts + chunk * stride + f, part);
      store(result + f, total, part);
    });
  }
};

template <class T>
void layer_norm_forward_of(const T* x, const T* scale, const T* shift, T* y, float* mean, float* rstd, int64_t n,
                           int64_t features, double eps) {
  for_rows(n, features, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * features;
      T* to = y + r * features;
      Vec total{};
      for_vectors(0, features, [&](int64_t i, auto part) { total += load(from + i, part); });
      const float rough = sum(total) / static_cast<float>(features);
      // The sum of the differences shows the rounding error of the rough mean.
      double squares = 0, drift = 0;
      Vec square_sum{}, drift_sum{};
      int64_t i = 0;
      for (; i + kLanes <= features; i += kLanes) {
        const Vec d = load(from + i, Full{}) - rough;
        drift_sum += d;
        square_sum += d * d;
      }
      for (; i < features; ++i) {
        const double d = widen(from[i]) - rough;
        drift += d;
        squares += d * d;
      }
      drift = (drift + double{sum(drift_sum)}) / static_cast<double>(features);
      squares = (squares + double{sum(square_sum)}) / static_cast<double>(features) - drift * drift;
      const float center = static_cast<float>(rough + drift);
      const float factor = static_cast<float>(1 / std::sqrt(squares + eps));
      for_vectors(0, features, [&](int64_t c, auto part) {
        const Vec value = (load(from + c, part) - center) * factor * load(scale + c, part);
        store(to + c, shift ? value + load(shift + c, part) : value, part);
      });
      mean[r] = center;
      rstd[r] = factor;
    }
  });
}

void layer_norm_forward(View x, View weight, View bias, View y, View mean, View rstd, int64_t n, int64_t features,
                        double eps) {
  with_float(x.dtype, [&]<class T>(T) {
    layer_norm_forward_of(x.as<const T>(), weight.as<const T>(), bias.as<const T>(), y.as<T>(), mean.f32(), rstd.f32(),
                          n, features, eps);
  });
}

template <class T>
void layer_norm_backward_of(const T* dy, const T* x, const T* scale, const float* mean, const float* rstd, T* dx,
                            T* dweight, T* dbias, int64_t n, int64_t features) {
  const RowChunks chunks(n);
  const bool sums = dweight || dbias;
  Scratch<float> parts(sums ? chunks.count * 2 * features : 0);
  const float inverse = 1.f / static_cast<float>(features);
  parallel_for(chunks.count, [&](int64_t chunk) {
    float* dweight_part = parts.get() + chunk * 2 * features;
    float* dbias_part = dweight_part + features;
    if (sums) std::fill(dweight_part, dweight_part + 2 * features, 0.f);
    for (int64_t r = chunk * chunks.rows; r < std::min(n, (chunk + 1) * chunks.rows); ++r) {
      const T *x_at = x + r * features, *dy_at = dy + r * features;
      const float center = mean[r], factor = rstd[r];
      Vec sum_g{}, sum_gx{};
      for_vectors(0, features, [&](int64_t i, auto part) {
        const Vec d = load(dy_at + i, part), normed = (load(x_at + i, part) - center) * factor;
        const Vec g = d * load(scale + i, part);
        sum_g += g;
        sum_gx += g * normed;
        if (sums) {
          store(dweight_part + i, load(dweight_part + i, part) + d * normed, part);
          store(dbias_part + i, load(dbias_part + i, part) + d, part);
        }
      });
      if (!dx) continue;
      T* to = dx + r * features;
      const float mean_g = sum(sum_g) * inverse, mean_gx = sum(sum_gx) * inverse;
      for_vectors(0, features, [&](int64_t i, auto part) {
        const Vec normed = (load(x_at + i, part) - center) * factor;
        const Vec g = load(dy_at + i, part) * load(scale + i, part);
        store(to + i, factor * (g - mean_g - normed * mean_gx), part);
      });
    }
  });
  if (dweight) chunks.join(parts.get(), 2 * features, dweight, features);
  if (dbias) chunks.join(parts.get() + features, 2 * features, dbias, features);
}

void layer_norm_backward(View dy, View x, View weight, View mean, View rstd, View dx, View dweight, View dbias,
                         int64_t n, int64_t features) {
  with_float(x.dtype, [&]<class T>(T) {
    layer_norm_backward_of(dy.as<const T>(), x.as<const T>(), weight.as<const T>(), mean.f32(), rstd.f32(), dx.as<T>(),
                           dweight.as<T>(), dbias.as<T>(), n, features);
  });
}
