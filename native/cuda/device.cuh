// The memory of the device, and what of it belongs to recorded graphs.
#pragma once

#include "../segment_allocator.h"
#include "common.cuh"

namespace sffn::cuda {

SegmentAllocator& segments();

}  // namespace sffn::cuda
