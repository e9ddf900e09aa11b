// How a kernel of kernels.def is called from JavaScript: each value is converted to the type of its operand, and
// element types that the operand does not take are refused.
#pragma once

#include <napi.h>

#include <iterator>
#include <string_view>
#include <tuple>
#include <utility>

#include "async.h"
#include "bound_model.h"
#include "environment.h"
#include "operands.h"
#include "thread_pool.h"

namespace sffn {

// An argument of a call: what the kernel gets, and what keeps it alive while an asynchronous job runs.
template <class T>
struct Argument;

template <>
struct Argument<int64_t> {
  int64_t value = 0;
  Argument(Environment&, const Napi::Value& v, bool) : value(v.As<Napi::Number>().Int64Value()) {}
};

template <>
struct Argument<double> {
  double value = 0;
  Argument(Environment&, const Napi::Value& v, bool) : value(v.As<Napi::Number>().DoubleValue()) {}
};

// A number of codes.def.
template <class Code>
Code code_argument(const Napi::Value& v) {
  const int64_t number = v.As<Napi::Number>().Int64Value();
  if (number < 0 || number >= static_cast<int64_t>(std::size(kNames<Code>)))
    throw Error("ERR_ARGUMENT", "there are " + std::to_string(std::size(kNames<Code>)) + " such codes, got number " +
                                    std::to_string(number));
  return static_cast<Code>(number);
}

template <class Code>
requires std::is_enum_v<Code>
struct Argument<Code> {
  Code value;
  Argument(Environment&, const Napi::Value& v, bool) : value(code_argument<Code>(v)) {}
};

template <>
struct Argument<View> {
  View value;
  std::shared_ptr<Buffer> owner;
  Argument(Environment& environment, const Napi::Value& v, bool async) {
    if (v.IsNull()) return;
    double handle;
    if (napi_get_value_double(v.Env(), v, &handle) == napi_ok) {
      const auto& buffer = environment.operand(handle);
      if (async) owner = buffer;
      value = buffer->view();
      return;
    }
    if (async) throw Error("ERR_ARGUMENT", "an asynchronous job takes tensors only");
    value = typed_array(v);
  }

 private:
  // napi_get_typedarray_info alone is three times as fast as the wrapper's accessors.
  static View typed_array(const Napi::Value& v) {
    napi_typedarray_type type;
    size_t size;
    void* data;
    if (napi_get_typedarray_info(v.Env(), v, &type, &size, &data, nullptr, nullptr) != napi_ok)
      throw Error("ERR_ARGUMENT", "expected a tensor or a typed array");
    return {data, static_cast<int64_t>(size), dtype_of(type), Device{}};
  }

  // A Uint16Array holds the bits of bfloat16 elements.
  static DType dtype_of(napi_typedarray_type type) {
    switch (type) {
      case napi_float32_array:
        return DType::f32;
      case napi_int32_array:
        return DType::i32;
      case napi_uint16_array:
        return DType::bf16;
      default:
        throw Error("ERR_DTYPE", "expected a Float32Array, an Int32Array or a Uint16Array of bfloat16 bits");
    }
  }
};

template <>
struct Argument<Ints> {
  std::vector<int32_t> storage;
  Ints value;
  Argument(Environment&, const Napi::Value& v, bool) {
    napi_typedarray_type type;
    size_t size;
    void* data;
    if (napi_get_typedarray_info(v.Env(), v, &type, &size, &data, nullptr, nullptr) != napi_ok ||
        type != napi_int32_array)
      throw Error("ERR_ARGUMENT", "expected an Int32Array of sizes");
    const int32_t* values = static_cast<const int32_t*>(data);
    storage.assign(values, values + size);
    value = storage;
  }
  Argument(Argument&& other) noexcept : storage(std::move(other.storage)), value(storage) {}
};

template <>
struct Argument<operand::Dims> : Argument<Ints> {
  Argument(Environment& environment, const Napi::Value& v, bool async) : Argument<Ints>(environment, v, async) {
    if (value.size() != kDims || !is_inner_activation(value[kDims - 1]))
      throw Error("ERR_ARGUMENT", "expected the seven dims of a linear layer");
  }
};

template <>
struct Argument<Views> {
  std::vector<View> storage;
  std::vector<std::shared_ptr<Buffer>> owners;
  Views value;
  Argument(Environment& environment, const Napi::Value& v, bool async) {
    const Napi::Array array = v.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); ++i) {
      Argument<View> one(environment, array.Get(i), async);
      storage.push_back(one.value);
      if (one.owner) owners.push_back(std::move(one.owner));
    }
    value = storage;
  }
  Argument(Argument&& other) noexcept
      : storage(std::move(other.storage)), owners(std::move(other.owners)), value(storage) {}
};

// One operand, of the type that it has in operands.h.
template <class One>
requires requires { One::agrees; }
struct Argument<One> : Argument<View> {
  using Argument<View>::Argument;
};
template <class One>
struct Argument<operand::ListOf<One>> : Argument<Views> {
  using Argument<Views>::Argument;
};

// A job owns the weights that it reads. The model only names them: a disposed weight is refused.
template <>
struct Argument<operand::Model> {
  std::shared_ptr<const DecodeModel> model;
  const DecodeModel& value;
  std::vector<std::shared_ptr<Buffer>> owners;
  Argument(Environment& environment, const Napi::Value& v, bool async)
      : Argument(environment, BoundModel::of(v), async) {}

 private:
  Argument(Environment& environment, const BoundModel& bound, bool async) : model(bound.model), value(*model) {
    if (async) owners.reserve(bound.weights.size());
    for (const double handle : bound.weights) {
      const auto& buffer = weight(environment, handle);
      if (async) owners.push_back(buffer);
    }
  }

  static const std::shared_ptr<Buffer>& weight(Environment& environment, double handle) {
    try {
      return environment.operand(handle);
    } catch (const Error&) {
      throw Error("ERR_DISPOSED", "model: a weight was disposed or replaced");
    }
  }
};

// A kernel runs where its operands are. TypeScript has already refused operands on different devices and element types
// that an op does not take, and named the op's own arguments. This check makes sure that no other caller can make a
// kernel read wrong bytes.
class OperandCheck {
 public:
  explicit OperandCheck(const Description& description) : description_(description) {}

  Device device() const { return first_ ? first_->device : Device{}; }

  template <class One>
  requires requires { One::agrees; }
  void add(const Argument<One>& argument, size_t index) { add<One>(argument.value, index); }
  template <class One>
  void add(const Argument<operand::ListOf<One>>& argument, size_t index) {
    for (const View& view : argument.value) add<One>(view, index);
  }
  void add(const Argument<operand::Model>& argument, size_t index) {
    add<operand::Weight>(argument.value.embedding, index);  // the others are on the same device
  }
  template <class T>
  void add(const Argument<T>&, size_t) {}

 private:
  template <class One>
  void add(const View& view, size_t index) {
    if (!view) return;
    if (!first_) first_ = &view;
    if (view.device != first_->device)
      throw Error("ERR_DEVICE", std::string(description_.kernel) + ": operands on '" + name_of(first_->device) +
                                    "' and on '" + name_of(view.device) + "'");
    if (!One::accepts(view.dtype)) refuse(index, One::expected(), view.dtype);
    if constexpr (One::agrees) {
      if (!agreed_) agreed_ = &view;
      if (view.dtype != agreed_->dtype) refuse(index, name_of(agreed_->dtype), view.dtype);
    }
  }

  [[noreturn]] void refuse(size_t index, const std::string& expected, DType got) const {
    throw Error("ERR_DTYPE", std::string(description_.kernel) + ": " + name_of_parameter(index) + ": expected " +
                                 expected + ", got " + name_of(got));
  }

  // The last word of part `index` of "Float x, Float v, ...".
  std::string name_of_parameter(size_t index) const {
    const std::string_view text = description_.parameters;
    size_t begin = 0;
    for (; index > 0; --index) begin = text.find(',', begin) + 1;
    const std::string_view part = text.substr(begin, text.find(',', begin) - begin);
    return std::string(part.substr(part.rfind(' ') + 1));
  }

  const Description& description_;
  const View* first_ = nullptr;
  const View* agreed_ = nullptr;
};

// Wraps the kernel `Member` of the table: arity and conversions derive from its signature in operands.h.
template <auto Member, class Signature, const Description& kDescription>
struct Binding;

template <auto Member, class... A, const Description& kDescription>
struct Binding<Member, void(A...), kDescription> {
  using Arguments = std::tuple<Argument<A>...>;

  static Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
      Arguments arguments = convert(info, false, std::index_sequence_for<A...>{});
      run(arguments, std::index_sequence_for<A...>{});
      return info.Env().Undefined();
    });
  }

  static Napi::Value call_async(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
      if (Environment::of(info.Env()).recording)
        throw Error("ERR_RECORDING", "while a CUDA graph is recorded, no job can be: it would wait for the end");
      auto arguments = std::make_shared<Arguments>(convert(info, true, std::index_sequence_for<A...>{}));
      return enqueue(info.Env(), [arguments] { run(*arguments, std::index_sequence_for<A...>{}); });
    });
  }

 private:
  template <size_t... I>
  static Arguments convert(const Napi::CallbackInfo& info, bool async, std::index_sequence<I...>) {
    if (info.Length() != sizeof...(A))
      throw Error("ERR_ARGUMENT",
                  "expected " + std::to_string(sizeof...(A)) + " arguments, got " + std::to_string(info.Length()));
    Environment& environment = Environment::of(info.Env());
    return Arguments{Argument<A>(environment, info[I], async)...};
  }

  template <size_t... I>
  static void run(const Arguments& arguments, std::index_sequence<I...>) {
    OperandCheck check(kDescription);
    (check.add(std::get<I>(arguments), I), ...);
    const Device device = check.device();
    const auto kernel = backend_of(device).kernels().*Member;
    const ComputeScope scope(device);
    kernel(std::get<I>(arguments).value...);
  }
};

}  // namespace sffn
