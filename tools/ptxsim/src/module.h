// A module: the PTX of one translation unit, parsed; its globals live in device memory.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "ir.h"
#include "memory.h"

namespace ptxsim {

class Module {
 public:
  /** Parses; throws PtxError with the line. */
  Module(const std::string& source, DeviceMemory& memory);

  /** The kernel, linked with the functions it calls; null if the name is unknown. Throws PtxError. */
  Program* kernel(const std::string& name);
  /** The address of a __device__ or __constant__ variable; null if the name is unknown. */
  const Symbol* global(const std::string& name) const;

  const std::map<std::string, Function>& functions() const { return functions_; }

 private:
  friend class Parser;
  friend class Linker;
  std::string source_;
  DeviceMemory& memory_;
  std::map<std::string, Function> functions_;
  std::map<std::string, Symbol> globals_;
  std::map<std::string, std::unique_ptr<Program>> programs_;
};

}  // namespace ptxsim
