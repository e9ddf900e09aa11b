// Tokens to functions and variables.
#pragma once
#include <string>
#include <vector>

#include "lexer.h"
#include "module.h"

namespace ptxsim {

class Parser {
 public:
  Parser(Module& module, const std::string& source) : module_(module), tokens_(tokenize(source)) {}
  void parse();

 private:
  struct Variable {
    std::string name;
    u64 size = 0;
    u32 alignment = 1;
    std::vector<u8> values;
  };
  struct Scope {
    std::map<std::string, int> registers, predicates;
  };

  // parser.cc: tokens, variables, headers
  [[noreturn]] void fail(const std::string& message) const;
  const std::string& current() const;
  std::string take();
  bool accept(const char* text);
  void expect(const char* text);
  u64 take_number();
  void skip_past(const char* text);
  void top_level();
  Variable variable();
  void initializer(Variable& variable, int element_bytes);
  void module_variable(Space space);
  std::vector<Parameter> parameters(u32& bytes);
  void function(bool entry);
  void function_directives(Function& function);

  // parse_body.cc: statements and operands
  void body();
  bool declaration();
  void registers();
  void function_variable(Space space);
  void branch_targets(const std::string& label);
  void instruction();
  void call(Instruction& in);
  Operand operand();
  Operand memory_operand();
  Operand named_operand(const std::string& name);
  bool find_register(const std::string& name, Operand& out) const;
  Operand constant(u64 value) const;

  Module& module_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  Function* function_ = nullptr;
  std::vector<Scope> scopes_;
};

/** Sets op, types and flags from the mnemonic ("ld.global.v4.u32"), given the operands. Throws PtxError if unknown. */
void decode(Instruction& in, const std::string& mnemonic);

u32 align_up(u32 value, u32 alignment);

}  // namespace ptxsim
