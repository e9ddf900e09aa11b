// A kernel and the functions it calls, as one Program: registers, memory and labels numbered across them.
#include <algorithm>
#include <set>

#include "parser.h"

namespace ptxsim {

class Linker {
 public:
  Linker(Module& module, const Function& kernel) : module_(module), program_(std::make_unique<Program>()) {
    add(kernel);
    program_->name = kernel.name;
    program_->parameters = kernel.parameters;
    program_->parameter_bytes = kernel.parameter_bytes;
    program_->max_threads = kernel.max_threads;
  }

  std::unique_ptr<Program> run() {
    lay_out_shared();
    sink_ = program_->registers++;
    for (const Instance& instance : instances_)
      for (const Instruction& in : instance.function->code) program_->code.push_back(resolve(instance, in));
    program_->executions.resize(program_->code.size());
    return std::move(program_);
  }

 private:
  struct Instance {
    const Function* function;
    int code, registers, predicates;
    u32 shared, local, frame;
  };

  [[noreturn]] void fail(const Instruction& in, const std::string& message) const {
    throw PtxError("PTX line " + std::to_string(in.line) + ": " + message);
  }

  // Gives the function, and what it calls, its part of every numbering. A function exists once: lanes cannot recurse.
  void add(const Function& function) {
    if (callers_.contains(&function)) throw PtxError("recursion is not supported: " + function.name);
    for (const Instance& known : instances_)
      if (known.function == &function) return;
    instances_.push_back({&function, code_, program_->registers, program_->predicates,
                          align_up(program_->static_shared, 16), align_up(program_->local_bytes, 16),
                          align_up(program_->frame_bytes, 16)});
    const Instance instance = instances_.back();
    code_ += static_cast<int>(function.code.size());
    program_->registers += function.registers;
    program_->predicates += function.predicates;
    program_->static_shared = instance.shared + function.shared_bytes;
    program_->local_bytes = instance.local + function.local_bytes;
    program_->frame_bytes = instance.frame + function.frame_bytes;
    for (const SpecialRegister& special : function.specials)
      program_->specials.push_back({special.name, special.index + instance.registers});
    callers_.insert(&function);
    for (const Instruction& in : function.code) {
      if (in.op == Op::call)
        if (const Function* callee = defined(in.operands[0].symbol)) add(*callee);
    }
    callers_.erase(&function);
  }

  const Function* defined(const std::string& name) const {
    const auto found = module_.functions_.find(name);
    return found != module_.functions_.end() && found->second.defined ? &found->second : nullptr;
  }

  // The module's shared variables that the program names, the dynamic array (of size 0) after all others.
  void lay_out_shared() {
    std::set<std::string> used;
    for (const Instance& instance : instances_)
      for (const Instruction& in : instance.function->code)
        for (const Operand& o : in.operands) collect(o, used);
    u32 dynamic_alignment = 16;
    for (const std::string& name : used) {
      const Symbol& symbol = module_.globals_.at(name);
      if (symbol.size == 0) {
        dynamic_alignment = std::max(dynamic_alignment, symbol.alignment);
        continue;
      }
      shared_[name] = align_up(program_->static_shared, symbol.alignment);
      program_->static_shared = shared_[name] + static_cast<u32>(symbol.size);
    }
    program_->static_shared = align_up(program_->static_shared, dynamic_alignment);
    for (const std::string& name : used)
      if (module_.globals_.at(name).size == 0) shared_[name] = program_->static_shared;
  }

  void collect(const Operand& o, std::set<std::string>& used) const {
    for (const Operand& item : o.items) collect(item, used);
    const auto global = module_.globals_.find(o.symbol);
    if (!o.symbol.empty() && global != module_.globals_.end() && global->second.space == Space::shared)
      used.insert(o.symbol);
  }

  /** The symbol's address as the instance sees it. */
  bool find_symbol(const Instance& instance, const std::string& name, Symbol& out) const {
    const Function& function = *instance.function;
    if (const auto own = function.symbols.find(name); own != function.symbols.end()) {
      out = own->second;
      out.address += out.space == Space::shared  ? instance.shared
                     : out.space == Space::local ? instance.local
                                                 : instance.frame;
      return true;
    }
    for (const auto* list : {&function.parameters, &function.results}) {
      for (const Parameter& p : *list) {
        if (p.name != name) continue;
        out = {function.entry ? Space::param : Space::frame, p.offset + (function.entry ? 0 : instance.frame), p.size,
               1};
        return true;
      }
    }
    const auto global = module_.globals_.find(name);
    if (global == module_.globals_.end()) return false;
    out = global->second;
    if (out.space == Space::shared) out.address = shared_.at(name);
    return true;
  }

  Instruction resolve(const Instance& instance, const Instruction& source) {
    Instruction in = source;
    const Function& function = *instance.function;
    if (in.guard >= 0) in.guard += instance.predicates;
    if (in.op == Op::bra) {
      in.target = label(instance, in, in.operands.at(0).symbol);
    } else if (in.op == Op::brx) {
      const auto list = function.branch_targets.find(in.operands.at(1).symbol);
      if (list == function.branch_targets.end()) fail(in, "unknown branch targets");
      for (const std::string& name : list->second) in.targets.push_back(label(instance, in, name));
      in.operands.resize(1);
      resolve(instance, in, in.operands[0]);
    } else if (in.op == Op::call) {
      link_call(instance, in);
    } else {
      if (in.space == Space::param && !function.entry) in.space = Space::frame;
      for (Operand& o : in.operands) resolve(instance, in, o);
    }
    const bool touches_shared = in.space == Space::shared || in.space == Space::generic;
    const bool accesses = in.op == Op::ld || in.op == Op::st || in.op == Op::atom || in.op == Op::red;
    if (accesses && touches_shared)
      program_->granule = std::min(program_->granule, static_cast<u32>(std::max(in.type.bytes() * in.vector, 1)));
    return in;
  }

  int label(const Instance& instance, const Instruction& in, const std::string& name) const {
    const auto found = instance.function->labels.find(name);
    if (found == instance.function->labels.end()) fail(in, "unknown label " + name);
    return found->second + instance.code;
  }

  void resolve(const Instance& instance, Instruction& in, Operand& o) {
    for (Operand& item : o.items) resolve(instance, in, item);
    if (o.kind == OperandKind::label || (o.kind == OperandKind::memory && !o.symbol.empty())) {
      Symbol symbol;
      if (!find_symbol(instance, o.symbol, symbol)) fail(in, "unknown symbol " + o.symbol);
      o.offset += static_cast<i64>(symbol.address);
      if (symbol.space == Space::frame && in.space == Space::param) in.space = Space::frame;
      if (o.kind == OperandKind::label) {
        o.kind = OperandKind::constant;
        o.value = static_cast<u64>(o.offset);
      }
    }
    switch (o.kind) {
      case OperandKind::reg:
        o.index += instance.registers;
        break;
      case OperandKind::predicate:
        o.index += instance.predicates;
        break;
      case OperandKind::sink:
        o.index = sink_;
        break;
      case OperandKind::memory:
        if (o.base >= 0) o.base += instance.registers;
        break;
      case OperandKind::constant:
        o.lanes = constant(o.value);
        break;
      default:
        break;
    }
    if (o.second >= 0) o.second += instance.predicates;
  }

  const Lanes* constant(u64 value) {
    const Lanes*& lanes = constants_[value];
    if (!lanes) {
      program_->constants.emplace_back().fill(value);
      lanes = &program_->constants.back();
    }
    return lanes;
  }

  void link_call(const Instance& instance, Instruction& in) {
    CallSite site;
    site.callee = in.operands[0].symbol;
    const Function* callee = defined(site.callee);
    const Instance* target = nullptr;
    for (const Instance& known : instances_)
      if (callee && known.function == callee) target = &known;
    const auto place = [&](const Operand& o) {
      Symbol symbol;
      if (o.kind != OperandKind::label || !find_symbol(instance, o.symbol, symbol)) fail(in, "unknown call parameter");
      return symbol;
    };
    const std::vector<Operand>& arguments = in.operands.at(1).items;
    const std::vector<Operand>& results = in.operands.at(2).items;
    for (size_t i = 0; i < arguments.size(); ++i) {
      const u32 from = static_cast<u32>(place(arguments[i]).address);
      site.parameter_offsets.push_back(from);
      if (!target) continue;
      const Parameter& p = callee->parameters.at(i);
      site.parameters.push_back({from, p.offset + target->frame, p.size});
    }
    for (size_t i = 0; target && i < results.size(); ++i) {
      const Parameter& p = callee->results.at(i);
      site.results.push_back({p.offset + target->frame, static_cast<u32>(place(results[i]).address), p.size});
    }
    in.target = target ? target->code : -1;
    in.count = static_cast<int>(program_->calls.size());
    program_->calls.push_back(std::move(site));
  }

  Module& module_;
  std::unique_ptr<Program> program_;
  std::vector<Instance> instances_;
  std::set<const Function*> callers_;
  std::map<std::string, u32> shared_;
  std::map<u64, const Lanes*> constants_;
  int code_ = 0;
  int sink_ = 0;
};

Module::Module(const std::string& source, DeviceMemory& memory) : source_(source), memory_(memory) {
  Parser(*this, source_).parse();
}

Program* Module::kernel(const std::string& name) {
  auto& program = programs_[name];
  if (!program) {
    const auto found = functions_.find(name);
    if (found == functions_.end() || !found->second.entry || !found->second.defined) return nullptr;
    program = Linker(*this, found->second).run();
  }
  return program.get();
}

const Symbol* Module::global(const std::string& name) const {
  const auto found = globals_.find(name);
  return found == globals_.end() ? nullptr : &found->second;
}

}  // namespace ptxsim
