#include "report.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace ptxsim {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<u8>(c) < 32) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string field(const char* name, u64 value) { return std::string(",\"") + name + "\":" + std::to_string(value); }

}  // namespace

void Report::add(const Program& program, const std::vector<Finding>& findings, const Counters& counters,
                 u32 dynamic_shared) {
  for (const Finding& finding : findings) add(finding);
  Kernel& kernel = kernels_[program.name];
  ++kernel.launches;
  kernel.dynamic_shared = std::max(kernel.dynamic_shared, dynamic_shared);
  kernel.counters += counters;
  // The program counts over all its launches; a line may hold several instructions.
  kernel.lines.clear();
  for (size_t i = 0; i < program.code.size(); ++i) {
    u64& executions = kernel.lines[program.code[i].line];
    executions = std::max(executions, program.executions[i]);
  }
}

void Report::add(const Finding& finding) { findings_.push_back(finding); }

std::string Report::json(bool lines) const {
  std::string out = "{\"findings\":[";
  for (const Finding& f : findings_) {
    if (&f != findings_.data()) out += ',';
    out += "\n{\"kernel\":" + quoted(f.kernel) + ",\"kind\":" + quoted(f.kind) + ",\"message\":" + quoted(f.message) +
           field("count", f.count) + "}";
  }
  out += "],\n\"kernels\":[";
  bool first = true;
  for (const auto& [name, k] : kernels_) {
    if (!std::exchange(first, false)) out += ',';
    const Counters& c = k.counters;
    out += "\n{\"name\":" + quoted(name) + field("launches", k.launches) +
           field("warpInstructions", c.warp_instructions) + field("laneInstructions", c.lane_instructions) +
           field("mmaFlops", c.mma_flops) + field("barriers", c.barriers) + field("branches", c.branches) +
           field("divergentBranches", c.divergent_branches) + field("globalLoadSectors", c.global_load_sectors) +
           field("globalStoreSectors", c.global_store_sectors) + field("idealLoadSectors", c.ideal_load_sectors) +
           field("idealStoreSectors", c.ideal_store_sectors) + field("sharedWavefronts", c.shared_wavefronts) +
           field("idealSharedWavefronts", c.ideal_shared_wavefronts) +
           field("dramBytes", (c.unique_read_sectors + c.unique_written_sectors) * 32) +
           field("dynamicSharedBytes", k.dynamic_shared);
    if (lines) {
      out += ",\"lines\":{";
      bool first_line = true;
      for (const auto& [line, executions] : k.lines) {
        if (!std::exchange(first_line, false)) out += ',';
        out += "\"" + std::to_string(line) + "\":" + std::to_string(executions);
      }
      out += "}";
    }
    out += "}";
  }
  return out + "]}\n";
}

}  // namespace ptxsim
