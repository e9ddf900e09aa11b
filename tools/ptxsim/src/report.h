// The findings and counters of all launches so far, as JSON.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "executor.h"

namespace ptxsim {

class Report {
 public:
  /** Adds what a launch of the program found and did. */
  void add(const Program& program, const std::vector<Finding>& findings, const Counters& counters, u32 dynamic_shared);
  /** Adds a finding of the runtime itself, such as a copy out of bounds. */
  void add(const Finding& finding);

  const std::vector<Finding>& findings() const { return findings_; }
  /** {findings: [{kernel, kind, message, count}], kernels: [{name, launches, warpInstructions, ...}]}; `lines`: with
   * the executions of every PTX line. */
  std::string json(bool lines) const;

 private:
  struct Kernel {
    u64 launches = 0;
    u32 dynamic_shared = 0;  // the most of any launch
    Counters counters;
    std::map<int, u64> lines;
  };
  std::vector<Finding> findings_;
  std::map<std::string, Kernel> kernels_;
};

}  // namespace ptxsim
