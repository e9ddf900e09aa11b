// Settings by environment variables. A value that is not understood is an error that names the variable, what was
// expected and what came. Ignoring it would leave a run with unwanted settings.
#pragma once

#include <charconv>
#include <cstdlib>
#include <string>

#include "tensor.h"

namespace sffn {

// A whole number from `least` to `most`; `unset` if there is no such variable.
inline int integer_setting(const char* variable, int least, int most, int unset) {
  const char* value = std::getenv(variable);
  if (!value) return unset;
  const std::string text = value;
  const char* end = text.data() + text.size();
  int number = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end || number < least || number > most)
    throw Error("ERR_OPTION", std::string(variable) + ": expected a whole number from " + std::to_string(least) +
                                  " to " + std::to_string(most) + ", got '" + text + "'");
  return number;
}

// 1 switches it on; 0 is the same as no variable.
inline bool switch_setting(const char* variable) { return integer_setting(variable, 0, 1, 0) == 1; }

}  // namespace sffn
