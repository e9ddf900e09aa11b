#include "lexer.h"

#include <cctype>
#include <cstdlib>

namespace ptxsim {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<u8>(c)) || c == '_' || c == '$' || c == '%' || c == '.'; }

}  // namespace

std::vector<Token> tokenize(const std::string& source) {
  std::vector<Token> tokens;
  int line = 1;
  const size_t size = source.size();
  const auto at = [&](size_t i) { return i < size ? source[i] : '\0'; };
  for (size_t i = 0; i < size;) {
    const char c = source[i];
    if (c == '\n') ++line;
    if (std::isspace(static_cast<u8>(c))) {
      ++i;
    } else if (c == '/' && at(i + 1) == '/') {
      while (i < size && source[i] != '\n') ++i;
    } else if (c == '/' && at(i + 1) == '*') {
      for (i += 2; i < size && !(source[i] == '*' && at(i + 1) == '/'); ++i)
        if (source[i] == '\n') ++line;
      i += 2;
    } else if (c == '"') {
      const size_t start = i++;
      while (i < size && source[i] != '"') ++i;
      tokens.push_back({source.substr(start, ++i - start), line});
    } else if (is_word(c)) {
      const size_t start = i;
      while (i < size && (is_word(source[i]) || (source[i] == ':' && at(i + 1) == ':'))) i += source[i] == ':' ? 2 : 1;
      const std::string word = source.substr(start, i - start);
      if (word == ".loc") {
        while (i < size && source[i] != '\n') ++i;
      } else {
        tokens.push_back({word, line});
      }
    } else {
      tokens.push_back({std::string(1, c), line});
      ++i;
    }
  }
  return tokens;
}

u64 parse_number(const std::string& text) {
  const bool bit_pattern = text.size() > 2 && text[0] == '0' && std::string("fFdD").find(text[1]) != std::string::npos;
  if (bit_pattern) return std::strtoull(text.c_str() + 2, nullptr, 16);
  return std::strtoull(text.c_str(), nullptr, 0);
}

}  // namespace ptxsim
