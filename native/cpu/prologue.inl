// What comes before a layer's backward products: one pass over dy for everything elementwise.

// dpre = dy · activation'(pre), the bias gradient (sums over the rows), and a copy with each block's columns together.
// Column stripes are tasks, so that no sum depends on the number of threads.
class Prologue {
 public:
  // dbias may be null; pre is needed with an activation.
  Prologue(const Layer& f, const float* dy, const float* pre, float* dbias, int64_t n, int64_t activation)
      : dy_(dy), pre_(pre), dbias_(dbias), n_(n), out_(f.out()), L_(f.L), activation_(activation) {}

  // With `products` off only the bias gradient is wanted. `hidden` (may be null) receives activation(pre).
  void run(bool products, float* hidden = nullptr) {
    hidden_ = hidden;
    if (activation_ != kNoActivation) dpre_ = Scratch<float>(n_ * out_);
    if (L_ > 1 && products) blocks_ = Scratch<float>(n_ * out_);
    separate_ = L_ > 1 && products && activation_ != kSwiglu;
    const int64_t unit = std::max<int64_t>(kLanes, 128 / L_);
    if (activation_ != kNoActivation || dbias_ || separate_)
      for_stripes(activation_ == kSwiglu ? out_ / 2 : out_, separate_ ? unit * L_ : 128);
    if (L_ > 1 && products && !separate_)  // the two halves of a swiglu stripe lie in different columns of each block
      for_rows(n_, out_, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          deinterleave_row(dpre_.get() + t * out_, L_, out_ / L_, blocks_.get() + t * out_, out_ / L_);
      });
  }

  const float* g() const { return activation_ != kNoActivation ? dpre_.get() : dy_; }
  const float* blocks() const { return L_ > 1 ? blocks_.get() : g(); }

 private:
  void for_stripes(int64_t width, int64_t stripe) {
    const int64_t halves = activation_ == kSwiglu ? 2 : 1;
    for_ranges(width, stripe, [&](int64_t begin, int64_t end) {
      const int64_t count = end - begin;
      // Sums of 32 rows are added to the totals: a sum over thousands of rows stays accurate.
      Scratch<float> sums(dbias_ ? 2 * halves * count : 0);
      float* part = sums.get();
      float* total = part + halves * count;
      if (dbias_) std::fill(part, total + halves * count, 0.f);
      for (int64_t t = 0; t < n_; ++t) {
        if (activation_ == kSwiglu)
          swiglu_row(t, begin, count, part, part + count);
        else
          row(t, begin, count, part);
        if (dbias_ && (t % 32 == 31 || t == n_ - 1)) {
          add_row(part, total, halves * count, true);
          std::fill(part, total, 0.f);
        }
      }
      if (dbias_)
        for (int64_t half = 0; half < halves; ++half)
          std::copy(total + half * count, total + (half + 1) * count, dbias_ + half * width + begin);
    });
  }

  void row(int64_t t, int64_t begin, int64_t count, float* sum) {
    const float* from = dy_ + t * out_ + begin;
    if (activation_ != kNoActivation) {
      const float* x = pre_ + t * out_ + begin;
      float* to = dpre_.get() + t * out_ + begin;
      float* act = hidden_ ? hidden_ + t * out_ + begin : nullptr;
      for_vectors(0, count, [&](int64_t j, auto part) {
        Vec value;
        store(to + j, load(from + j, part) * activation_derivative(load(x + j, part), activation_, value), part);
        if (act) store(act + j, value, part);
      });
      from = to;
    }
    if (dbias_) add_row(from, sum, count, true);
    if (separate_) deinterleave_row(from, L_, count / L_, blocks_.get() + t * out_ + begin / L_, out_ / L_);
  }

  void swiglu_row(int64_t t, int64_t begin, int64_t count, float* sum, float* second_sum) {
    const int64_t half = out_ / 2;
    const float* from = dy_ + t * half + begin;
    const float* a = pre_ + t * out_ + begin;
    float* to = dpre_.get() + t * out_ + begin;
    float* act = hidden_ ? hidden_ + t * half + begin : nullptr;
    for_vectors(0, count, [&](int64_t j, auto part) {
      Vec value;
      const Vec g = load(from + j, part), b = load(a + half + j, part);
      const Vec slope = activation_derivative(load(a + j, part), kSilu, value);
      store(to + j, g * b * slope, part);
      store(to + half + j, g * value, part);
      if (act) store(act + j, value * b, part);
    });
    if (dbias_) {
      add_row(to, sum, count, true);
      add_row(to + half, second_sum, count, true);
    }
  }

  const float* dy_;
  const float* pre_;
  float* dbias_;
  float* hidden_ = nullptr;
  int64_t n_, out_, L_, activation_;
  bool separate_ = false;
  Scratch<float> dpre_, blocks_;
};
