// Cross entropy of logits [n, classes] with one target per row; rows whose target is ignore_index count nowhere.

void cross_entropy_forward(View logits, View targets, View loss, View lse, View count, int64_t n, int64_t classes,
                           int64_t ignore_index) {
  const int32_t* target = targets.i32();
  check_ids("crossEntropy: target", target, n, classes, ignore_index);
  Scratch<double> losses(n);
  with_float(logits.dtype, [&]<class T>(T) {
    for_rows(n, classes, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        losses[i] = 0;
        lse.f32()[i] = 0;
        if (target[i] == ignore_index) continue;
        const T* row = logits.as<T>() + i * classes;
        const float top = row_max(row, classes);
        const double log_total = std::log(row_sum_exp(row, classes, top));
        lse.f32()[i] = static_cast<float>(top + log_total);
        losses[i] = log_total + (double{top} - double{widen(row[target[i]])});
      }
    });
  });
  double total = 0;
  int64_t counted = 0;
  for (int64_t i = 0; i < n; ++i) {
    total += losses[i];
    counted += target[i] != ignore_index;
  }
  loss.f32()[0] = counted > 0 ? static_cast<float>(total / static_cast<double>(counted)) : 0.f;
  count.f32()[0] = static_cast<float>(counted);
}

void cross_entropy_backward(View dloss, View logits, View targets, View lse, View count, View dlogits, int64_t n,
                            int64_t classes, int64_t ignore_index) {
  const int32_t* target = targets.i32();
  check_ids("crossEntropy: target", target, n, classes, ignore_index);
  const float scale = dloss.f32()[0] / std::max(count.f32()[0], 1.f);
  with_float(logits.dtype, [&]<class T>(T) {
    for_rows(n, classes, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* from = logits.as<T>() + i * classes;
        T* to = dlogits.as<T>() + i * classes;
        if (target[i] == ignore_index) {
          std::fill(to, to + classes, T{});
          continue;
        }
        const float shift = lse.f32()[i];
        // Before dlogits, which may be logits itself, is written; rounded once.
        const float of_target = scale * exp(splat(widen(from[target[i]]) - shift))[0] - scale;
        for_vectors(0, classes,
                    [&](int64_t c, auto part) { store(to + c, scale * exp(load(from + c, part) - shift), part); });
        to[target[i]] = narrow<T>(of_target);
      }
    });
  });
}
