// What comes before a layer's backward products: one pass over dy for all elementwise work.

// dpre = dy · activation'(pre), the bias gradient (sums over the rows), and a copy with each block's columns together.
class Prologue {
 public:
  // dbias may be null; pre is needed with an activation.
  Prologue(const Layer& f, Source dy, Source pre, Target dbias, int64_t n, Activation activation)
      : dy_(dy),
        pre_(pre),
        dbias_(dbias),
        n_(n),
        out_(f.out()),
        L_(f.L),
        guided_(f.guide_scale != 0),
        activation_(activation) {}

  // With `products` off only the bias gradient is wanted. `hidden` (may be null) receives activation(pre).
  void run(bool products, Target hidden = {}) {
    with_float(dy_.dtype, [&]<class T>(T) { run_of<T>(products, hidden.as<T>()); });
  }

  // [n, out]; null when only the blocks are needed.
  Source g() const { return activation_ != Activation::none ? dpre_.get() : dy_; }
  Source blocks() const { return L_ > 1 ? blocks_.get() : g(); }

 private:
  // Rows of one task. Their sums are added in order: the bias gradient does not depend on the number of threads, and a
  // sum over thousands of rows stays accurate.
  static constexpr int64_t kSumRows = 32;

  template <class T>
  void run_of(bool products, T* hidden) {
    const bool activated = activation_ != Activation::none, separate = L_ > 1 && products;
    if (!activated && !separate && !dbias_) return;
    if (activated && (!separate || guided_)) dpre_ = ScratchElements(n_ * out_, dy_.dtype);
    if (separate) blocks_ = ScratchElements(n_ * out_, dy_.dtype);
    T* const dpre = dpre_.get().template as<T>();
    const int64_t chunks = ceil_div(n_, kSumRows);
    Scratch<float> sums(dbias_ ? chunks * out_ : 0);
    for_ranges(n_, kSumRows, [&](int64_t begin, int64_t end) {
      Scratch<T> line(activated && !dpre ? out_ : 0);
      float* sum = dbias_ ? sums.get() + begin / kSumRows * out_ : nullptr;
      for (int64_t t = begin; t < end; ++t) {
        const T* g = dy_.as<T>() + t * out_;
        if (activated) {
          T* to = dpre ? dpre + t * out_ : line.get();
          activation_ == Activation::swiglu ? swiglu_row(t, to, hidden) : activation_row(t, to, hidden);
          g = to;
        }
        if (sum) add_row(g, sum, out_, t > begin);
        if (separate) deinterleave_row(g, L_, out_ / L_, blocks_.get().template as<T>() + t * out_, out_ / L_);
      }
    });
    if (!dbias_) return;
    for_ranges(out_, 256, [&](int64_t begin, int64_t end) {
      for_vectors(begin, end, [&](int64_t j, auto part) {
        Vec total{};
        for (int64_t chunk = 0; chunk < chunks; ++chunk) total += load(sums.get() + chunk * out_ + j, part);
        store(dbias_.as<T>() + j, total, part);
      });
    });
  }

  template <class T>
  void activation_row(int64_t t, T* to, T* hidden) const {
    const T* dy = dy_.as<T>() + t * out_;
    const T* x = pre_.as<T>() + t * out_;
    T* act = hidden ? hidden + t * out_ : nullptr;
    for_vectors(0, out_, [&](int64_t j, auto part) {
      Vec value;
      store(to + j, load(dy + j, part) * activation_derivative(load(x + j, part), activation_, value), part);
      if (act) store(act + j, value, part);
    });
  }

  template <class T>
  void swiglu_row(int64_t t, T* to, T* hidden) const {
    const int64_t half = out_ / 2;
    const T* dy = dy_.as<T>() + t * half;
    const T* a = pre_.as<T>() + t * out_;
    T* act = hidden ? hidden + t * half : nullptr;
    for_vectors(0, half, [&](int64_t j, auto part) {
      Vec value;
      const Vec g = load(dy + j, part), b = load(a + half + j, part);
      const Vec slope = activation_derivative(load(a + j, part), Activation::silu, value);
      store(to + j, g * b * slope, part);
      store(to + half + j, g * value, part);
      if (act) store(act + j, value * b, part);
    });
  }

  Source dy_, pre_;
  Target dbias_;
  int64_t n_, out_, L_;
  bool guided_;
  Activation activation_;
  ScratchElements dpre_, blocks_;
};
