// The vocabulary that every native file shares: views of memory, element types, devices, the one error type.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "codes.h"

namespace sffn {

// A device: its kind, see the table in native/backend.h, and its index within the kind, counted from 0.
enum class DeviceKind : uint8_t { cpu, cuda };
struct Device {
  DeviceKind kind = DeviceKind::cpu;
  uint8_t index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};
constexpr int kMostDevices = 64;  // of a kind
// A different number for every device.
constexpr size_t slot_of(Device device) { return static_cast<size_t>(device.kind) * kMostDevices + device.index; }
constexpr size_t kDeviceSlots = 2 * kMostDevices;

// A borrowed, contiguous buffer of `size` elements. Shapes never cross the boundary: TypeScript has checked them,
// and each kernel receives the sizes it needs as integers. An empty view stands for an optional operand left out.
struct View {
  void* data = nullptr;
  int64_t size = 0;
  DType dtype = DType::f32;
  Device device = {};

  float* f32() const { return static_cast<float*>(data); }
  int32_t* i32() const { return static_cast<int32_t*>(data); }
  uint16_t* bf16() const { return static_cast<uint16_t*>(data); }
  int8_t* i8() const { return static_cast<int8_t*>(data); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  explicit operator bool() const { return data != nullptr; }
};

// bfloat16 as its bits, the upper half of a float: rounded to nearest, ties to even; a NaN stays one.
inline uint16_t to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
inline float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

using Views = std::span<const View>;    // several tensors in one call (AdamW, gradient norm)
using Ints = std::span<const int32_t>;  // a list of sizes, strides or options
using Dims = Ints;                      // of a linear layer: {K, q, p, L, s, r, inner activation}
constexpr size_t kDims = 7;

// What kernels.def calls its operands. A kernel gets views: which elements they may have is checked before, by the
// types of the same names in operands.h.
using F32 = View;
using I32 = View;
using I8 = View;
using Float = View;
using AnyFloat = View;
using Weight = View;
using Reduced = View;
using Any = View;
using F32s = Views;
using Floats = Views;
using AnyFloats = Views;
class DecodeModel;
using Model = const DecodeModel&;

// The one exception of native code. `code` becomes the `code` property of the JavaScript error.
struct Error : std::runtime_error {
  Error(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
  const char* code;
};

}  // namespace sffn
