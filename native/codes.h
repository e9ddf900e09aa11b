// The lists of codes.def as enums, with their names as JavaScript has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace sffn {

enum class DType : uint8_t {
#define DTYPE(name, ...) name,
#include "codes.def"
};
enum class Activation : int32_t {
#define ACTIVATION(name) name,
#include "codes.def"
};
enum class UnaryOp : int32_t {
#define UNARY(name, ...) name,
#include "codes.def"
};
enum class BinaryOp : int32_t {
#define BINARY(name, ...) name,
#include "codes.def"
};
enum class Reduction : int32_t {
#define REDUCTION(name) name,
#include "codes.def"
};

// kNames<Code>[i] is the name of the number i.
template <class Code>
inline constexpr const char* kNames[] = {""};
template <>
inline constexpr const char* kNames<DType>[] = {
#define DTYPE(name, javascript, bytes) #javascript,
#include "codes.def"
};
template <>
inline constexpr const char* kNames<Activation>[] = {
#define ACTIVATION(name) #name,
#include "codes.def"
};
template <>
inline constexpr const char* kNames<UnaryOp>[] = {
#define UNARY(name, ...) #name,
#include "codes.def"
};
template <>
inline constexpr const char* kNames<BinaryOp>[] = {
#define BINARY(name, ...) #name,
#include "codes.def"
};
template <>
inline constexpr const char* kNames<Reduction>[] = {
#define REDUCTION(name) #name,
#include "codes.def"
};

// Whether a number is in the list of its enum.
template <class Code>
constexpr bool is_code(Code code) {
  return static_cast<int64_t>(code) >= 0 && static_cast<size_t>(code) < std::size(kNames<Code>);
}

// Whether a number is an activation that may stand between the factors of a layer.
constexpr bool is_inner_activation(int32_t number) {
  const Activation activation = static_cast<Activation>(number);
  return is_code(activation) && activation != Activation::swiglu;
}

constexpr const char* name_of(DType dtype) { return kNames<DType>[static_cast<int>(dtype)]; }

constexpr size_t size_of(DType dtype) {
  constexpr uint8_t kBytes[] = {
#define DTYPE(name, javascript, bytes) bytes,
#include "codes.def"
  };
  return kBytes[static_cast<int>(dtype)];
}

}  // namespace sffn
