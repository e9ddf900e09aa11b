// The element types that the operands of kernels.def take. The binding reads them here and refuses all other bytes
// before a kernel runs. A kernel sees every operand as a View (tensor.h).
#pragma once

#include "backend.h"

namespace sffn {

// A kernel's name as in kernels.def, for messages.
struct Description {
  const char* kernel;
  const char* parameters;
};

namespace operand {

// One operand: accepts(dtype) and, for messages, expected(). Operands of a call that agree have one element
// type.
template <DType... kTypes>
struct OneOf {
  static constexpr bool agrees = false;
  static constexpr bool accepts(DType dtype) { return ((dtype == kTypes) || ...); }
  static std::string expected() {
    std::string names;
    int left = sizeof...(kTypes);
    ((names += std::string(name_of(kTypes)) + (--left > 1 ? ", " : left > 0 ? " or " : "")), ...);
    return names;
  }
};
using F32 = OneOf<DType::f32>;
using I32 = OneOf<DType::i32>;
using I8 = OneOf<DType::i8>;
// Widened or rounded by the kernel.
using AnyFloat = OneOf<DType::f32, DType::bf16>;
// A matrix that decoding widens as it reads it.
using Weight = OneOf<DType::f32, DType::bf16, DType::i8>;
using Reduced = OneOf<DType::bf16, DType::i8>;
// The types that are computed with.
struct Float : AnyFloat {
  static constexpr bool agrees = true;
};
// Copied by the size of an element, never read as a number.
struct Any {
  static std::string expected() { return "any elements"; }
  static constexpr bool agrees = true;
  static constexpr bool accepts(DType) { return true; }
};

// Several tensors.
template <class One>
struct ListOf {};
using F32s = ListOf<F32>;
using Floats = ListOf<Float>;
using AnyFloats = ListOf<AnyFloat>;

// A bound model (decode.h).
struct Model {};
// A list of seven numbers (tensor.h).
struct Dims {};

// Declared for their types, never defined.
#define KERNEL(name, ...) \
  void name(__VA_ARGS__); \
  inline constexpr Description name##_description{#name, #__VA_ARGS__};
#include "kernels.def"
#undef KERNEL

}  // namespace operand
}  // namespace sffn
