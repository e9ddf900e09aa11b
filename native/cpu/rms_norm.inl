// RMS norm over the last dimension: y = x·rstd·weight with rstd = 1/√(mean(x²) + eps). Backward, with g = dy·weight and
// x̂ = x·rstd: dx = rstd·(g − x̂·mean(g·x̂)), dweight = Σ dy·x̂ over the rows.

// One row, y may be x; returns rstd.
inline float rms_norm_row(const float* x, const float* weight, float* y, int64_t features, double eps) {
  Vec squares{};
  for_vectors(0, features, [&](int64_t i, auto part) {
    const Vec value = load(x + i, part);
    squares += value * value;
  });
  const double mean_square = double{sum(squares)} / static_cast<double>(features);
  const float factor = static_cast<float>(1 / std::sqrt(mean_square + eps));
  for_vectors(0, features,
              [&](int64_t i, auto part) { store(y + i, load(x + i, part) * factor * load(weight + i, part), part); });
  return factor;
}

void rms_norm_forward(View x, View weight, View y, View rstd, int64_t n, int64_t features, double eps) {
  for_rows(n, features, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      rstd.f32()[r] = rms_norm_row(x.f32() + r * features, weight.f32(), y.f32() + r * features, features, eps);
  });
}

void rms_norm_backward(View dy, View x, View weight, View rstd, View dx, View dweight, int64_t n, int64_t features) {
  const RowChunks chunks(n);
  Scratch<float> parts(dweight ? chunks.count * features : 0);
  const float* scale = weight.f32();
  parallel_for(chunks.count, [&](int64_t chunk) {
    float* dweight_part = parts.get() + chunk * features;
    if (dweight) std::fill(dweight_part, dweight_part + features, 0.f);
    for (int64_t r = chunk * chunks.rows; r < std::min(n, (chunk + 1) * chunks.rows); ++r) {
      const float *x_at = x.f32() + r * features, *dy_at = dy.f32() + r * features;
      const float factor = rstd.f32()[r];
      Vec sum_gx{};
      for_vectors(0, features, [&](int64_t i, auto part) {
        const Vec d = load(dy_at + i, part), normed = load(x_at + i, part) * factor;
        sum_gx += d * load(scale + i, part) * normed;
        if (dweight) store(dweight_part + i, load(dweight_part + i, part) + d * normed, part);
      });
      if (!dx) continue;
      float* to = dx.f32() + r * features;
      const float mean_gx = sum(sum_gx) / static_cast<float>(features);
      for_vectors(0, features, [&](int64_t i, auto part) {
        const Vec g = load(dy_at + i, part) * load(scale + i, part);
        store(to + i, factor * (g - load(x_at + i, part) * factor * mean_gx), part);
      });
    }
  });
  if (dweight) chunks.join(parts.get(), features, dweight.f32(), features);
}
