// PTX text to tokens.
#pragma once
#include <string>
#include <vector>

#include "numeric.h"

namespace ptxsim {

struct Token {
  std::string text;
  int line = 0;
};

/** Words (with their dots, % and $), strings, and single characters of punctuation; comments and .loc lines are
 * dropped. */
std::vector<Token> tokenize(const std::string& source);

/** An integer or a 0f / 0d bit pattern. */
u64 parse_number(const std::string& text);

}  // namespace ptxsim
