// Statements of a function: declarations, labels, instructions with their operands.
#include <cctype>

#include "parser.h"

namespace ptxsim {

void Parser::body() {
  for (int depth = 1; depth > 0;) {
    if (accept("{")) {
      scopes_.push_back({});
      ++depth;
    } else if (accept("}")) {
      scopes_.pop_back();
      --depth;
    } else if (!accept(";") && !declaration()) {
      instruction();
    }
  }
}

bool Parser::declaration() {
  const std::string word = current();
  if (word == ".reg") {
    ++at_;
    registers();
  } else if (word == ".shared" || word == ".local" || word == ".param") {
    ++at_;
    function_variable(word == ".shared" ? Space::shared : word == ".local" ? Space::local : Space::frame);
  } else if (word == ".pragma") {
    skip_past(";");
  } else if (at_ + 1 < tokens_.size() && tokens_[at_ + 1].text == ":") {
    at_ += 2;
    if (current() == ".branchtargets" || current() == ".callprototype")
      branch_targets(word);
    else
      function_->labels[word] = static_cast<int>(function_->code.size());
  } else {
    return false;
  }
  return true;
}

void Parser::branch_targets(const std::string& label) {
  if (take() == ".callprototype") return skip_past(";");
  do function_->branch_targets[label].push_back(take());
  while (accept(","));
  expect(";");
}

void Parser::registers() {
  Type type;
  while (current().starts_with('.')) type = parse_type(take().substr(1));
  do {
    const std::string name = take();
    const auto define = [&](const std::string& full) {
      if (type.kind == Kind::predicate)
        scopes_.back().predicates[full] = function_->predicates++;
      else
        scopes_.back().registers[full] = function_->registers++;
    };
    if (accept("<")) {
      const u64 count = take_number();
      expect(">");
      for (u64 i = 0; i < count; ++i) define(name + std::to_string(i));
    } else {
      define(name);
    }
  } while (accept(","));
  expect(";");
}

void Parser::function_variable(Space space) {
  const Variable v = variable();
  u32& bytes = space == Space::shared  ? function_->shared_bytes
               : space == Space::local ? function_->local_bytes
                                       : function_->frame_bytes;
  bytes = align_up(bytes, v.alignment);
  function_->symbols[v.name] = {space, bytes, v.size, v.alignment};
  bytes += static_cast<u32>(v.size);
}

bool Parser::find_register(const std::string& name, Operand& out) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    for (const auto* names : {&scope->registers, &scope->predicates}) {
      const auto found = names->find(name);
      if (found == names->end()) continue;
      out.kind = names == &scope->registers ? OperandKind::reg : OperandKind::predicate;
      out.index = found->second;
      return true;
    }
  }
  return false;
}

Operand Parser::constant(u64 value) const {
  Operand o;
  o.kind = OperandKind::constant;
  o.value = value;
  return o;
}

Operand Parser::operand() {
  if (accept("!")) {
    Operand o = operand();
    o.negated = true;
    return o;
  }
  if (accept("-")) return constant(-take_number());
  if (accept("[")) return memory_operand();
  if (accept("{")) {
    Operand o;
    o.kind = OperandKind::vector;
    while (!accept("}")) {
      o.items.push_back(operand());
      accept(",");
    }
    return o;
  }
  const std::string name = take();
  if (name == "_") {
    Operand o;
    o.kind = OperandKind::sink;
    if (accept("|")) {
      Operand second;
      if (find_register(take(), second)) o.second = second.index;
    }
    return o;
  }
  if (std::isdigit(static_cast<u8>(name[0]))) return constant(parse_number(name));
  return named_operand(name);
}

Operand Parser::memory_operand() {
  Operand o = operand();
  if (o.kind == OperandKind::reg)
    o.base = o.index;
  else if (o.kind == OperandKind::constant)
    o.offset = static_cast<i64>(o.value);
  else if (o.kind != OperandKind::label)
    fail("an address must be a register, a number or a symbol");
  o.kind = OperandKind::memory;
  while (current() == "+" || current() == "-") {
    bool negative = take() == "-";
    if (accept("-")) negative = !negative;
    const i64 value = static_cast<i64>(take_number());
    o.offset += negative ? -value : value;
  }
  while (accept(",")) o.items.push_back(operand());
  expect("]");
  return o;
}

Operand Parser::named_operand(const std::string& name) {
  Operand o;
  if (find_register(name, o)) {
    if (accept("|")) {
      const std::string second = take();
      Operand q;
      if (second != "_" && find_register(second, q)) o.second = q.index;
    }
    return o;
  }
  if (name == "WARP_SZ") return constant(kLanes);
  if (name[0] == '%') {
    // A special register is a register that every block fills anew.
    o.kind = OperandKind::reg;
    for (const SpecialRegister& known : function_->specials)
      if (known.name == name) o.index = known.index;
    if (o.index < 0) {
      o.index = function_->registers++;
      function_->specials.push_back({name, o.index});
    }
    return o;
  }
  o.kind = OperandKind::label;
  o.symbol = name;
  if (accept("+")) o.offset = static_cast<i64>(take_number());
  return o;
}

// call (result), function, (parameters);
void Parser::call(Instruction& in) {
  const auto list = [&] {
    Operand o;
    o.kind = OperandKind::vector;
    if (!accept("(")) return o;
    while (!accept(")")) {
      o.items.push_back(operand());
      accept(",");
    }
    return o;
  };
  Operand results = list();
  accept(",");
  in.operands.push_back(operand());
  if (in.operands[0].kind != OperandKind::label) fail("calls through pointers are not supported");
  accept(",");
  in.operands.push_back(list());
  in.operands.push_back(std::move(results));
  while (current() != ";") take();
}

void Parser::instruction() {
  Instruction in;
  in.line = tokens_[at_].line;
  const size_t start = at_;
  if (accept("@")) {
    in.guard_negated = accept("!");
    Operand guard;
    if (!find_register(take(), guard) || guard.kind != OperandKind::predicate) fail("the guard is not a predicate");
    in.guard = guard.index;
  }
  const std::string mnemonic = take();
  if (mnemonic.starts_with("call")) {
    call(in);
  } else if (current() != ";") {
    do in.operands.push_back(operand());
    while (accept(","));
  }
  for (size_t i = start; i < at_; ++i) {
    if (i > start && tokens_[i].text != "," && tokens_[i - 1].text != "@" && tokens_[i - 1].text != "[" &&
        tokens_[i].text != "]")
      in.text += ' ';
    in.text += tokens_[i].text;
  }
  expect(";");
  try {
    decode(in, mnemonic);
    in.handler = find_handler(in);
  } catch (const PtxError& error) {
    throw PtxError("PTX line " + std::to_string(in.line) + ": " + error.what() + " in '" + in.text + "'");
  }
  function_->code.push_back(std::move(in));
}

}  // namespace ptxsim
