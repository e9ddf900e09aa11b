#include "buffers.h"

#include <atomic>

namespace sffn {
namespace {

// A handle is generation * 2^24 + slot: exact in a double, and 16 million live buffers.
constexpr uint64_t kSlots = uint64_t{1} << 24;
constexpr int64_t kMostElements = (int64_t{1} << 53) - 1;
constexpr uint64_t kGenerations = uint64_t{1} << 28;

}  // namespace

uint64_t Buffer::next_serial() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

double BufferTable::create(int64_t size, DType dtype, Device device) {
  // Bytes are counted in 64 bits from here on.
  if (size < 0 || size > kMostElements)
    throw Error("ERR_OUT_OF_MEMORY", "no memory has " + std::to_string(size) + " elements");
  auto buffer = std::make_shared<Buffer>(size, dtype, device);
  if (free_.empty()) {
    if (slots_.size() >= kSlots) throw Error("ERR_OUT_OF_MEMORY", "too many live tensors");
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  slots_[index].buffer = std::move(buffer);
  ++live_;
  return static_cast<double>(slots_[index].generation * kSlots + index);
}

const BufferTable::Slot* BufferTable::find(double handle) const {
  if (!(handle >= 0 && handle < 9007199254740992.0)) return nullptr;
  const uint64_t bits = static_cast<uint64_t>(handle);
  const uint64_t index = bits % kSlots;
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  return slot.buffer && slot.generation == bits / kSlots ? &slot : nullptr;
}

const std::shared_ptr<Buffer>& BufferTable::get(double handle) const {
  const Slot* slot = find(handle);
  if (!slot) throw Error("ERR_DISPOSED", "tensor: it was disposed");
  return slot->buffer;
}

void BufferTable::set_owner(double handle, napi_value owner) {
  napi_ref& reference = slots_[static_cast<size_t>(find(handle) - slots_.data())].owner;
  if (napi_create_reference(env_, owner, 0, &reference) != napi_ok)
    throw Error("ERR_ARGUMENT", "expected an object that owns the memory");
}

bool BufferTable::is_collected(napi_ref owner) const {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return false;
  napi_value value = nullptr;
  const bool found = napi_get_reference_value(env_, owner, &value) != napi_ok || value != nullptr;
  napi_close_handle_scope(env_, scope);
  return !found;
}

BufferTable::Released BufferTable::release(double handle) {
  const Slot* found = find(handle);
  return found ? release(slots_[static_cast<size_t>(found - slots_.data())]) : Released{};
}

BufferTable::Released BufferTable::release(Slot& slot) {
  const Released released{static_cast<int64_t>(slot.buffer->bytes()), slot.buffer->device};
  if (slot.owner) napi_delete_reference(env_, slot.owner);
  slot.owner = nullptr;
  free_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
  slot.buffer.reset();
  slot.generation = static_cast<uint32_t>((slot.generation + 1) % kGenerations);
  --live_;
  return released;
}

}  // namespace sffn
