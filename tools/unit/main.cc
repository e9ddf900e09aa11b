#include <cstdio>
#include <exception>

#include "unit.h"

namespace unit {
namespace {

int failures_of_test = 0;

}  // namespace

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

void fail(const char* file, int line, const std::string& message) {
  ++failures_of_test;
  std::printf("  %s:%d: %s\n", file, line, message.c_str());
}

}  // namespace unit

int main() {
  using namespace unit;
  int passed = 0, failed = 0;
  for (const Test& test : tests()) {
    failures_of_test = 0;
    try {
      test.run();
    } catch (const std::exception& error) {
      fail(test.name, 0, error.what());
    }
    if (failures_of_test == 0) {
      ++passed;
    } else {
      ++failed;
      std::printf("FAILED %s\n", test.name);
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}
