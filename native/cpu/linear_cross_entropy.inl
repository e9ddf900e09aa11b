// The head of a language model: logits = x Wᵀ, their cross entropy and its gradients, one chunk of rows at a time.

constexpr int64_t kLogits = 4 * 1024 * 1024;  // floats of a chunk's logits: enough rows for products at full speed

// Turns a row of logits into its gradient, scale · (softmax − onehot), and returns the row's loss.
inline double row_loss(float* logits, int64_t classes, int32_t target, float scale, bool gradient) {
  const float top = row_max(logits, classes);
  const double margin = double{top} - logits[target];
  if (!gradient) return margin + std::log(row_sum_exp(logits, classes, top));
  Vec totals{};
  for_vectors(0, classes, [&](int64_t c, auto part) {
    const Vec e = exp(load(logits + c, part) - top);
    store(logits + c, e, part);
    totals += load(logits + c, part);
  });
  const double total = double{sum(totals)};
  const float factor = static_cast<float>(double{scale} / total);
  for_vectors(0, classes, [&](int64_t c, auto part) { store(logits + c, load(logits + c, part) * factor, part); });
  logits[target] -= scale;
  return margin + std::log(total);
}

void linear_cross_entropy(View x, View weight, View targets, View loss, View dx, View dweight, int64_t n,
                          int64_t features, int64_t classes, int64_t ignore_index) {
  const int32_t* target = targets.i32();
  check_ids("linearCrossEntropy: target", target, n, classes, ignore_index);
  const int64_t counted = n - std::count(target, target + n, ignore_index);
  const float scale = counted > 0 ? 1.f / static_cast<float>(counted) : 0.f;
  const int64_t chunk = std::min(n, std::max<int64_t>(128, kLogits / classes));
  const bool gradient = dx || dweight;
  Scratch<float> logits(chunk * classes);
  Scratch<double> losses(n);
  if (n == 0) clear(dweight, classes * features);
  // Sums of several chunks are rounded once.
  const bool sums = dweight && dweight.dtype != DType::f32 && chunk < n;
  Scratch<float> weight_sums(sums ? classes * features : 0);
  const Target of_weight = sums ? Target(weight_sums.get()) : Target(dweight);
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t rows = std::min(chunk, n - begin);
    const Source x_rows = Source(x) + begin * features;
    gemm({.m = rows,
          .n = classes,
          .k = features,
          .a = x_rows,
          .a_row = features,
          .b = weight,
          .b_row = 1,
          .b_col = features,
          .c = logits.get(),
          .c_row = classes});
    for_rows(rows, classes, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        float* row = logits.get() + i * classes;
        losses[begin + i] = 0;
        if (target[begin + i] != ignore_index)
          losses[begin + i] = row_loss(row, classes, target[begin + i], scale, gradient);
        else if (gradient)
          std::fill(row, row + classes, 0.f);
      }
    });
    if (dx)
      gemm({.m = rows,
            .n = features,
            .k = classes,
            .a = logits.get(),
            .a_row = classes,
            .b = weight,
            .b_row = features,
            .c = Target(dx) + begin * features,
            .c_row = features});
    if (dweight) {
      Product gradient_sum = weight_gradient(1, classes, features, rows, logits.get(), x_rows, of_weight, 1);
      gradient_sum.accumulate = begin > 0;
      gemm(gradient_sum);
    }
  }
  if (sums) cast({weight_sums.get(), classes * features}, dweight);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += losses[i];
  loss.f32()[0] = counted > 0 ? static_cast<float>(total / static_cast<double>(counted)) : 0.f;
}
