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
// bfloat16 parameters are rounded from their float32 originals, the masters.
template <class T>
void adamw_range(T* p, const T* g, float* m, float* v, float* masters, const AdamWNumbers& numbers, float scale,
                 int64_t begin, int64_t end) {
  const auto [keep1, add1, keep2, add2, decay, epsilon, rate, correction] = numbers;
  for_vectors(begin, end, [&](int64_t i, auto part) {
    const Vec gradient = load(g + i, part) * scale;
    const Vec first = keep1 * load(m + i, part) + add1 * gradient;
    const Vec second = keep2 * load(v + i, part) + add2 * gradient * gradient;
    store(m + i, first, part);
    store(v + i, second, part);
    const Vec before = masters ? load(masters + i, part) : load(p + i, part);
    const Vec after = before * decay - rate * first / (sqrt(second) * correction + epsilon);
    if (masters) store(masters + i, after, part);
    store(p + i, after, part);
  });
}

void adamw_step(Views params, Views grads, Views exp_avg, Views exp_avg_sq, Views masters, View grad_scale,
                View numbers, int64_t first_row) {
  for (const View& param : params)
    if (param.dtype == DType::bf16 && masters.size() != params.size())
      throw Error("ERR_DTYPE", "adamw_step: bfloat16 parameters need a float32 master each");
  const float scale = grad_scale ? grad_scale.f32()[0] : 1.f;
  if (!std::isfinite(scale)) return;
  const AdamWNumbers* const rows = static_cast<const AdamWNumbers*>(numbers.data) + first_row;
  const std::vector<TensorRange> ranges = tensor_ranges(params);
  parallel_for(static_cast<int64_t>(ranges.size()), [&](int64_t task) {
    const TensorRange range = ranges[static_cast<size_t>(task)];
    const size_t t = range.tensor;
    float* const master = masters.empty() ? nullptr : masters[t].f32();
    with_float(params[t].dtype, [&]<class T>(T) {
      adamw_range(params[t].as<T>(), grads[t].as<const T>(), exp_avg[t].f32(), exp_avg_sq[t].f32(), master, rows[t],
                  scale, range.begin, range.end);
    });
  });
}

template <class T>
double sum_of_squares(const T* g, int64_t count) {
  DoubleVec acc[4] = {};
  int64_t i = 0;
  for (; i + 4 * kDoubleLanes <= count; i += 4 * kDoubleLanes) {
    SFFN_UNROLL for (int k = 0; k < 4; ++k) {
      const DoubleVec value = load_double(g + i + k * kDoubleLanes);
      acc[k] += value * value;
    }
  }
  const DoubleVec all = (acc[0] + acc[1]) + (acc[2] + acc[3]);
  double squares = 0;
  for (int lane = 0; lane < kDoubleLanes; ++lane) squares += all[lane];
  for (; i < count; ++i) squares += double{widen(g[i])} * double{widen(g[i])};
  return squares;
}

void grad_norm(Views grads, View norm, View scale, double max_norm) {
  const std::vector<TensorRange> ranges = tensor_ranges(grads);
  std::vector<double> partial(ranges.size());
  parallel_for(static_cast<int64_t>(ranges.size()), [&](int64_t task) {
    const TensorRange range = ranges[static_cast<size_t>(task)];
    with_float(grads[range.tensor].dtype, [&]<class T>(T) {
      partial[static_cast<size_t>(task)] =
          sum_of_squares(grads[range.tensor].as<const T>() + range.begin, range.end - range.begin);
    });
  });
  double squares = 0;
  for (const double part : partial) squares += part;
  const double total = std::sqrt(squares), factor = max_norm > 0 ? std::min(1., max_norm / (total + 1e-6)) : 1.;
  const float given = static_cast<float>(total);
  const bool usable = std::isfinite(given) && total * factor <= kLargestNorm && factor >= kSmallestScale;
  norm.f32()[0] = usable || std::isnan(given) ? given : std::numeric_limits<float>::infinity();
  scale.f32()[0] = usable ? static_cast<float>(factor) : std::numeric_limits<float>::quiet_NaN();
}

void gather_scalars(Views x, View y) {
  for (size_t i = 0; i < x.size(); ++i) y.f32()[i] = x[i].f32()[0];
}
