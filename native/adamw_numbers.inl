// The largest norm of clipped gradients that is taken: optimizers keep squares in f32, which ends at 3.4e38.
constexpr double kLargestNorm = 1e19;
// The smallest factor of clipping: the next f32 below are subnormal, which threads take for 0.
constexpr double kSmallestScale = 0x1p-126;

// The factors of an AdamW update. Each backend includes this file and compiles it itself: one may contract
// multiply-adds and another not, so the last bits differ.
struct AdamWNumbers {
  float keep1, add1, keep2, add2, decay, epsilon, rate, correction;
};

inline AdamWNumbers adamw_numbers_of(double lr, double beta1, double beta2, double eps, double weight_decay,
                                     double step) {
  return {.keep1 = static_cast<float>(beta1),
          .add1 = static_cast<float>(1 - beta1),
          .keep2 = static_cast<float>(beta2),
          .add2 = static_cast<float>(1 - beta2),
          .decay = static_cast<float>(1 - lr * weight_decay),
          .epsilon = static_cast<float>(eps),
          .rate = static_cast<float>(lr / (1 - std::pow(beta1, step))),
          .correction = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, step)))};
}
