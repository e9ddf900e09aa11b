// Memory whose element type is known at run time: operands and results of products.

// To read: float32, bfloat16, or int8 weights.
struct Source {
  const void* data = nullptr;
  DType dtype = DType::f32;

  Source() = default;
  Source(const float* p) : data(p) {}
  Source(const void* p, DType type) : data(p), dtype(type) {}
  Source(const View& view) : data(view.data), dtype(view.dtype) {}
  explicit operator bool() const { return data != nullptr; }
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  Source operator+(int64_t elements) const {
    return {static_cast<const char*>(data) + elements * static_cast<int64_t>(size_of(dtype)), dtype};
  }
};

// To write: float32 or bfloat16.
struct Target {
  void* data = nullptr;
  DType dtype = DType::f32;

  Target() = default;
  Target(float* p) : data(p) {}
  Target(void* p, DType type) : data(p), dtype(type) {}
  Target(const View& view) : data(view.data), dtype(view.dtype) {}
  operator Source() const { return {data, dtype}; }
  explicit operator bool() const { return data != nullptr; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  Target operator+(int64_t elements) const {
    return {static_cast<char*>(data) + elements * static_cast<int64_t>(size_of(dtype)), dtype};
  }
};

// Scratch memory of such elements; null for a count of 0.
class ScratchElements {
 public:
  ScratchElements() = default;
  ScratchElements(int64_t count, DType dtype)
      : memory_(count > 0 ? Scratch<char>(count * static_cast<int64_t>(size_of(dtype))) : Scratch<char>()),
        dtype_(dtype) {}
  Target get() const { return {memory_.get(), dtype_}; }

 private:
  Scratch<char> memory_;
  DType dtype_ = DType::f32;
};
