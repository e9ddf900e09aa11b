#include "parser.h"

#include <algorithm>

namespace ptxsim {

u32 align_up(u32 value, u32 alignment) { return (value + alignment - 1) / alignment * alignment; }

void Parser::fail(const std::string& message) const {
  const int line = at_ < tokens_.size() ? tokens_[at_].line : -1;
  throw PtxError("PTX line " + std::to_string(line) + ": " + message);
}

const std::string& Parser::current() const {
  static const std::string end;
  return at_ < tokens_.size() ? tokens_[at_].text : end;
}

std::string Parser::take() {
  if (at_ >= tokens_.size()) fail("unexpected end");
  return tokens_[at_++].text;
}

bool Parser::accept(const char* text) {
  if (current() != text) return false;
  ++at_;
  return true;
}

void Parser::expect(const char* text) {
  if (!accept(text)) fail(std::string("expected '") + text + "', found '" + current() + "'");
}

u64 Parser::take_number() { return parse_number(take()); }

void Parser::skip_past(const char* text) {
  while (take() != text) {
  }
}

void Parser::parse() {
  while (at_ < tokens_.size()) top_level();
}

void Parser::top_level() {
  const std::string word = take();
  if (word == ".version" || word == ".address_size") {
    take();
  } else if (word == ".target") {
    take();
    while (accept(",")) take();
  } else if (word == ".file") {
    at_ += 2;
    while (accept(",")) take();
  } else if (word == ".section") {
    skip_past("{");
    for (int depth = 1; depth > 0;) {
      const std::string next = take();
      depth += next == "{" ? 1 : next == "}" ? -1 : 0;
    }
  } else if (word == ".global" || word == ".const") {
    module_variable(Space::global);
  } else if (word == ".shared") {
    module_variable(Space::shared);
  } else if (word == ".entry" || word == ".func") {
    function(word == ".entry");
  } else if (word == ".pragma" || word == ".alias") {
    skip_past(";");
  } else if (word != ".visible" && word != ".weak" && word != ".extern" && word != ".common" && word != ";") {
    --at_;
    fail("unexpected '" + word + "'");
  }
}

Parser::Variable Parser::variable() {
  Variable result;
  Type type;
  u32 vector = 1;
  while (current().starts_with('.')) {
    const std::string word = take();
    if (word == ".align")
      result.alignment = static_cast<u32>(take_number());
    else if (word == ".v2" || word == ".v4")
      vector = word == ".v2" ? 2 : 4;
    else if (word == ".attribute")
      skip_past(")");
    else
      type = parse_type(word.substr(1));
  }
  if (type.kind == Kind::none) fail("a variable without a type");
  result.name = take();
  u64 count = 1;
  bool open = false;
  while (accept("[")) {
    if (accept("]")) {
      open = true;
      continue;
    }
    count *= take_number();
    expect("]");
  }
  const u32 element = static_cast<u32>(type.bytes()) * vector;
  result.alignment = std::max(result.alignment, element);
  result.size = open ? 0 : count * element;
  if (accept("=")) initializer(result, type.bytes());
  if (open) result.size = result.values.size();
  expect(";");
  return result;
}

void Parser::initializer(Variable& variable, int element_bytes) {
  const auto value = [&] {
    const bool negative = accept("-");
    const u64 number = take_number();
    for (int byte = 0; byte < element_bytes; ++byte)
      variable.values.push_back(static_cast<u8>((negative ? -number : number) >> (8 * byte)));
  };
  if (!accept("{")) return value();
  while (!accept("}")) {
    value();
    accept(",");
  }
}

void Parser::module_variable(Space space) {
  Variable v = variable();
  Symbol symbol{space, 0, v.size, v.alignment};
  if (space == Space::global) {
    symbol.address = module_.memory_.allocate(std::max<u64>(v.size, 1), v.name);
    v.values.resize(v.size);
    module_.memory_.upload(symbol.address, v.values.data(), v.size);
  }
  module_.globals_[v.name] = symbol;
}

std::vector<Parameter> Parser::parameters(u32& bytes) {
  std::vector<Parameter> result;
  if (!accept("(")) return result;
  while (!accept(")")) {
    take();  // .param, or .reg for the parameters of old calling conventions
    u32 alignment = 1, count = 1;
    Type type;
    while (current().starts_with('.')) {
      const std::string word = take();
      if (word == ".align")
        alignment = static_cast<u32>(take_number());
      else if (const Type t = parse_type(word.substr(1)); t.kind != Kind::none)
        type = t;
    }
    const std::string name = take();
    if (accept("[")) {
      count = current() == "]" ? 0 : static_cast<u32>(take_number());
      expect("]");
    }
    alignment = std::max(alignment, static_cast<u32>(type.bytes()));
    bytes = align_up(bytes, std::max(alignment, 1u));
    result.push_back({name, bytes, static_cast<u32>(type.bytes()) * count});
    bytes += result.back().size;
    accept(",");
  }
  return result;
}

void Parser::function_directives(Function& function) {
  while (current().starts_with('.')) {
    const std::string word = take();
    if (word == ".maxntid" || word == ".reqntid") {
      u64 threads = take_number();
      while (accept(",")) threads *= take_number();
      function.max_threads = static_cast<int>(threads);
    } else if (word == ".minnctapersm" || word == ".maxnreg") {
      take();
    } else if (word == ".pragma") {
      skip_past(";");
    } else if (word != ".noreturn") {
      fail("the directive " + word + " is not supported");
    }
  }
}

void Parser::function(bool entry) {
  Function parsed;
  parsed.entry = entry;
  u32 bytes = 0;
  if (current() == "(") parsed.results = parameters(bytes);
  parsed.name = take();
  // Results and parameters of a function lie one after the other in its part of the frame.
  parsed.parameters = parameters(bytes);
  parsed.parameter_bytes = bytes;
  if (!entry) parsed.frame_bytes = align_up(bytes, 16);
  function_directives(parsed);
  if (accept(";")) {
    module_.functions_.try_emplace(parsed.name, parsed);
    return;
  }
  expect("{");
  parsed.defined = true;
  function_ = &parsed;
  scopes_.assign(1, {});
  body();
  Instruction end;
  end.op = entry ? Op::exit : Op::ret;
  end.flags = kControl;
  end.text = "}";
  end.line = tokens_[at_ - 1].line;
  parsed.code.push_back(end);
  module_.functions_[parsed.name] = std::move(parsed);
}

}  // namespace ptxsim
