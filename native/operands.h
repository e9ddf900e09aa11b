// The element types that the operands of kernels.def take. The binding reads them here and refuses all other bytes
// before a kernel runs; to the kernels every operand is a View (tensor.h).
#pragma once

#include "backend.h"

namespace sffn {

inline const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::i32:
      return "int32";
    case DType::bf16:
      return "bfloat16";
    case DType::i8:
      return "int8";
  }
  return "unknown";
}

// A kernel as kernels.def spells it, for messages.
struct Description {
  const char* kernel;
  const char* parameters;
};

namespace operand {

// One: accepts(dtype, device) and, for messages, `expected`. Operands of a call that agree have one element type.
struct F32 {
  static constexpr const char* expected = "float32";
  static constexpr bool agrees = false;
  static constexpr bool accepts(DType dtype, Device) { return dtype == DType::f32; }
};
struct I32 {
  static constexpr const char* expected = "int32";
  static constexpr bool agrees = false;
  static constexpr bool accepts(DType dtype, Device) { return dtype == DType::i32; }
};
struct I8 {
  static constexpr const char* expected = "int8";
  static constexpr bool agrees = false;
  static constexpr bool accepts(DType dtype, Device) { return dtype == DType::i8; }
};
// What a device computes with.
struct Float {
  static constexpr const char* expected = "float32, or bfloat16 on 'cuda'";
  static constexpr bool agrees = true;
  static constexpr bool accepts(DType dtype, Device device) {
    return dtype == DType::f32 || (dtype == DType::bf16 && backend_of(device).computes_bfloat16);
  }
};
// The same, each told apart by the kernel.
struct MixedFloat : Float {
  static constexpr bool agrees = false;
};
// Widened or rounded by the kernel, on every device.
struct AnyFloat {
  static constexpr const char* expected = "float32 or bfloat16";
  static constexpr bool agrees = false;
  static constexpr bool accepts(DType dtype, Device) { return dtype == DType::f32 || dtype == DType::bf16; }
};
// A matrix that decoding widens as it reads it.
struct Weight {
  static constexpr const char* expected = "float32, bfloat16 or int8";
  static constexpr bool agrees = false;
  static constexpr bool accepts(DType dtype, Device) { return dtype != DType::i32; }
};
struct Reduced {
  static constexpr const char* expected = "bfloat16 or int8";
  static constexpr bool agrees = false;
  static constexpr bool accepts(DType dtype, Device) { return dtype == DType::bf16 || dtype == DType::i8; }
};
// Moved by the size of an element, never read as a number.
struct Any {
  static constexpr const char* expected = "any elements";
  static constexpr bool agrees = true;
  static constexpr bool accepts(DType, Device) { return true; }
};

// Several tensors.
template <class One>
struct ListOf {};
using F32s = ListOf<F32>;
using Floats = ListOf<Float>;
using MixedFloats = ListOf<MixedFloat>;

// A model that was bound (decode.h).
struct Model {};

// Declared for their types, never defined.
#define KERNEL(name, ...) \
  void name(__VA_ARGS__); \
  inline constexpr Description name##_description{#name, #__VA_ARGS__};
#include "kernels.def"
#undef KERNEL

}  // namespace operand
}  // namespace sffn
