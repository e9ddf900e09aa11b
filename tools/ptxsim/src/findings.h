// What the checks found, one entry per kind and PTX line.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "ir.h"

namespace ptxsim {

struct Finding {
  std::string kernel;
  std::string kind;
  std::string message;
  u64 count = 1;
};

class Findings {
 public:
  explicit Findings(std::string kernel) : kernel_(std::move(kernel)) {}
  /** Adds a finding, or counts it if its kind was found at this line before. `in` may be null; `where` names the block.
   */
  void add(const Instruction* in, const std::string& kind, const std::string& message, const std::string& where);
  const std::vector<Finding>& list() const { return list_; }

 private:
  std::string kernel_;
  std::vector<Finding> list_;
  std::map<std::pair<std::string, int>, size_t> index_;
};

std::string hex(u64 value);

}  // namespace ptxsim
