#include "builtins.h"

#include <cstdio>
#include <cstring>

namespace ptxsim {
namespace {

u64 frame_value(Executor& ex, Warp& w, const CallSite& site, size_t parameter, int lane) {
  u64 value = 0;
  const u8* frame = &w.frame[static_cast<size_t>(lane) * ex.program.frame_bytes];
  std::memcpy(&value, frame + site.parameter_offsets.at(parameter), sizeof value);
  return value;
}

std::string text_at(Executor& ex, u64 address) {
  Allocation* a = ex.memory.find(address);
  if (!a) return "(no text)";
  const char* text = reinterpret_cast<const char*>(&a->data[address - a->base]);
  return std::string(text, strnlen(text, a->base + a->size - address));
}

/** The arguments that nvcc packed into local memory for vprintf: each at a multiple of its size. */
class Arguments {
 public:
  Arguments(const u8* data, size_t size) : data_(data), size_(size) {}
  template <class T>
  T next() {
    at_ = (at_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    T value{};
    if (at_ + sizeof(T) <= size_) std::memcpy(&value, data_ + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

 private:
  const u8* data_;
  size_t size_, at_ = 0;
};

std::string format_one(Executor& ex, const std::string& spec, Arguments& arguments) {
  char text[256];
  const char type = spec.back();
  const bool wide = spec.find('l') != std::string::npos;
  if (type == 's') {
    std::snprintf(text, sizeof text, spec.c_str(), text_at(ex, arguments.next<u64>()).c_str());
  } else if (std::strchr("eEfFgGaA", type)) {
    std::snprintf(text, sizeof text, spec.c_str(), arguments.next<double>());
  } else if (wide || type == 'p') {
    std::snprintf(text, sizeof text, spec.c_str(), arguments.next<u64>());
  } else {
    std::snprintf(text, sizeof text, spec.c_str(), arguments.next<u32>());
  }
  return text;
}

std::string format(Executor& ex, const std::string& pattern, Arguments arguments) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      out += pattern[i];
    } else if (i + 1 < pattern.size() && pattern[i + 1] == '%') {
      out += pattern[++i];
    } else {
      const size_t end = std::min(pattern.find_first_not_of("0123456789.+-# lhz", i + 1), pattern.size() - 1);
      out += format_one(ex, pattern.substr(i, end - i + 1), arguments);
      i = end;
    }
  }
  return out;
}

void print(Executor& ex, Warp& w, const CallSite& site, int lane) {
  const std::string pattern = text_at(ex, frame_value(ex, w, site, 0, lane));
  const u64 list = frame_value(ex, w, site, 1, lane) - kLocalWindow;
  const u32 local = ex.program.local_bytes;
  const u8* data = w.local.data() + static_cast<size_t>(lane) * local;
  const Arguments arguments = list < local ? Arguments(data + list, local - list) : Arguments(nullptr, 0);
  std::fputs(format(ex, pattern, arguments).c_str(), stdout);
}

}  // namespace

void call_builtin(Executor& ex, Warp& w, const Instruction& in, const CallSite& site, u32 mask) {
  if (site.callee == "vprintf") {
    each_lane(mask, [&](int lane) { print(ex, w, site, lane); });
  } else if (site.callee == "__assertfail") {
    const int lane = std::countr_zero(mask);
    ex.fault(in, "assert",
             text_at(ex, frame_value(ex, w, site, 0, lane)) + " in " + text_at(ex, frame_value(ex, w, site, 1, lane)) +
                 ":" + std::to_string(static_cast<u32>(frame_value(ex, w, site, 2, lane))));
  } else {
    ex.fault(in, "call", "the function " + site.callee + " is not defined");
  }
}

}  // namespace ptxsim
