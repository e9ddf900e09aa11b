#include "findings.h"

#include <cstdio>

namespace ptxsim {
namespace {

constexpr size_t kMostFindings = 50;
constexpr size_t kMostText = 120;

}  // namespace

void Findings::add(const Instruction* in, const std::string& kind, const std::string& message,
                   const std::string& where) {
  const int line = in ? in->line : 0;
  const auto known = index_.find({kind, line});
  if (known != index_.end()) {
    ++list_[known->second].count;
    return;
  }
  if (list_.size() >= kMostFindings) return;
  index_[{kind, line}] = list_.size();
  std::string text = message + " [" + where;
  if (in) text += "; PTX line " + std::to_string(line) + ": " + in->text.substr(0, kMostText);
  list_.push_back({kernel_, kind, text + "]", 1});
}

std::string hex(u64 value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace ptxsim
