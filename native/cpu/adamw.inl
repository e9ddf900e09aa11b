// AdamW and the global gradient norm over many tensors, in one parallel pass each.

// A range of one tensor.
struct TensorRange {
  size_t tensor;
  int64_t begin, end;
};

inline std::vector<TensorRange> tensor_ranges(Views tensors) {
  std::vector<TensorRange> ranges;
  for (size_t t = 0; t < tensors.size(); ++t)
    for (int64_t begin = 0; begin < tensors[t].size; begin += kTaskElements)
      ranges.push_back({t, begin, std::min(tensors[t].size, begin + kTaskElements)});
  return ranges;
}

void adamw_numbers(View numbers, Ints steps, int64_t first, double lr, double beta1, double beta2, double eps,
                   double weight_decay) {
  AdamWNumbers* const rows = static_cast<AdamWNumbers*>(numbers.data) + first;
  for (size_t i = 0; i < steps.size(); ++i)
    rows[i] = adamw_numbers_of(lr, beta1, beta2, eps, weight_decay, static_cast<double>(steps[i]));
}

// g' = grad_scale·g; m = β1·m + (1−β1)·g'; v = β2·v + (1−β2)·g'²;
// p = p·(1 − lr·decay) − lr·m̂/(√v̂ + eps) with m̂ = m/(1−β1ᵗ), v̂ = v/(1−β2ᵗ).
void adamw_step(Views params, Views grads, Views exp_avg, Views exp_avg_sq, Views, View grad_scale, View numbers,
                int64_t first_row) {
  const float scale = grad_scale ? grad_scale.f32()[0] : 1.f;
  if (!std::isfinite(scale)) return;
  const AdamWNumbers* const rows = static_cast<const AdamWNumbers*>(numbers.data) + first_row;
  const std::vector<TensorRange> ranges = tensor_ranges(params);
  parallel_for(static_cast<int64_t>(ranges.size()), [&](int64_t task) {
    const TensorRange range = ranges[static_cast<size_t>(task)];
    float* p = params[range.tensor].f32();
    const float* g = grads[range.tensor].f32();
    float *m = exp_avg[range.tensor].f32(), *v = exp_avg_sq[range.tensor].f32();
    const auto [keep1, add1, keep2, add2, decay, epsilon, rate, correction] = rows[range.tensor];
    for_vectors(range.begin, range.end, [&](int64_t i, auto part) {
      const Vec gradient = load(g + i, part) * scale;
      const Vec first = keep1 * load(m + i, part) + add1 * gradient;
      const Vec second = keep2 * load(v + i, part) + add2 * gradient * gradient;
      store(m + i, first, part);
      store(v + i, second, part);
      store(p + i, load(p + i, part) * decay - rate * first / (sqrt(second) * correction + epsilon), part);
    });
  });
}

void grad_norm(Views grads, View norm, View scale, double max_norm) {
  const std::vector<TensorRange> ranges = tensor_ranges(grads);
  std::vector<double> partial(ranges.size());
  parallel_for(static_cast<int64_t>(ranges.size()), [&](int64_t task) {
    const TensorRange range = ranges[static_cast<size_t>(task)];
    const float* g = grads[range.tensor].f32();
    DoubleVec acc[4] = {};
    int64_t i = range.begin;
    for (; i + 4 * kDoubleLanes <= range.end; i += 4 * kDoubleLanes) {
      SFFN_UNROLL for (int k = 0; k < 4; ++k) {
        const DoubleVec value = load_double(g + i + k * kDoubleLanes);
        acc[k] += value * value;
      }
    }
    const DoubleVec all = (acc[0] + acc[1]) + (acc[2] + acc[3]);
    double squares = 0;
    for (int lane = 0; lane < kDoubleLanes; ++lane) squares += all[lane];
    for (; i < range.end; ++i) squares += double{g[i]} * double{g[i]};
    partial[static_cast<size_t>(task)] = squares;
  });
  double squares = 0;
  for (const double part : partial) squares += part;
  const double total = std::sqrt(squares), factor = max_norm / (total + 1e-6);
  norm.f32()[0] = static_cast<float>(total);
  if (!std::isfinite(total))
    scale.f32()[0] = std::numeric_limits<float>::quiet_NaN();
  else
    scale.f32()[0] = max_norm > 0 && factor < 1 ? static_cast<float>(factor) : 1.f;
}

void gather_scalars(Views x, View y) {
  for (size_t i = 0; i < x.size(); ++i) y.f32()[i] = x[i].f32()[0];
}
