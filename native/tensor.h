// The vocabulary that every native file shares: views of memory, element types, devices, the one error type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace sffn {

enum class DType : uint8_t { f32, i32 };
enum class Device : uint8_t { cpu, cuda };

constexpr size_t size_of(DType) { return 4; }

// A borrowed, contiguous buffer of `size` elements. Shapes never cross the boundary: TypeScript has checked them,
// and each kernel receives the sizes it needs as integers. An empty view stands for an optional operand left out.
struct View {
  void* data = nullptr;
  int64_t size = 0;
  DType dtype = DType::f32;
  Device device = Device::cpu;

  float* f32() const { return static_cast<float*>(data); }
  int32_t* i32() const { return static_cast<int32_t*>(data); }
  explicit operator bool() const { return data != nullptr; }
};

using Views = std::span<const View>;    // several tensors in one call (AdamW, gradient norm)
using Ints = std::span<const int32_t>;  // a list of sizes, strides or options

// The one exception of native code. `code` becomes the `code` property of the JavaScript error.
struct Error : std::runtime_error {
  Error(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
  const char* code;
};

}  // namespace sffn
