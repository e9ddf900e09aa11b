// Shared memory as its hardware has it: 32 banks of 4 bytes.
#pragma once
#include <bitset>
#include <cstdint>
#include <vector>

/** Whether accesses of `bytes` each, aligned, at these bytes of shared memory go through at once: no bank twice. */
inline bool conflict_free(const std::vector<int64_t>& addresses, int bytes) {
  std::bitset<32> busy;
  for (const int64_t address : addresses) {
    if (address % bytes != 0) return false;
    for (int64_t word = address / 4; word < (address + bytes + 3) / 4; ++word) {
      if (busy[word % 32]) return false;
      busy[word % 32] = true;
    }
  }
  return true;
}
