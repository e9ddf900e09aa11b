// The test runner: TEST defines a test, CHECK a condition. main.cc runs every test that is linked with it.
#pragma once
#include <string>
#include <vector>

namespace unit {

struct Test {
  const char* name;
  void (*run)();
};

std::vector<Test>& tests();
/** Notes a failure of the running test. */
void fail(const char* file, int line, const std::string& message);

struct Registration {
  Registration(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

}  // namespace unit

#define TEST(name)                                      \
  static void name();                                   \
  static const unit::Registration name##_(#name, name); \
  static void name()

#define CHECK(condition) \
  if (!(condition)) unit::fail(__FILE__, __LINE__, #condition)
