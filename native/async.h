// Asynchronous kernel calls: a queue with one thread per JavaScript environment, never libuv's threads. Jobs run in
// order.
#pragma once

#include <functional>

#include "environment.h"

namespace sffn {

// Runs `work` on the queue's thread; the Promise resolves with undefined or rejects with the native error.
Napi::Promise enqueue(Napi::Env env, std::function<void()> work);

}  // namespace sffn
