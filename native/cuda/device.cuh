// The state of each device: its stream, its memory, and the parts that belong to recorded graphs.
#pragma once

#include <memory>

#include "../segment_allocator.h"
#include "common.cuh"
#include "gemm/settings.cuh"
#include "staging.cuh"

namespace sffn::cuda {

struct DeviceState {
  // Selects the device for this thread.
  explicit DeviceState(int index);

  const GemmSettings& gemm;  // first: errors in the environment are found before anything is made
  const std::unique_ptr<SegmentAllocator> segments;
  const int index;
  int multiprocessors = 0;
  int shared_memory_per_block = 0;
  cudaStream_t stream = nullptr;
  cudaEvent_t reached = nullptr;  // for other devices that wait
  int* fault_flags = nullptr;
  int* host_flags = nullptr;  // page-locked, where they are read to
  Staging staging;
};

// Of the thread's device.
DeviceState& state();
// Opened at the first use.
DeviceState& state_of(int index);
// Whether it was opened.
bool is_open(int index);

// As in Backend.
int default_index();
void set_default_index(int index);
int select(int index);
void leave(int before) noexcept;
void synchronize();

void allow_tf32(bool allowed);

}  // namespace sffn::cuda
