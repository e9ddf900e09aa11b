// What one JavaScript environment (the main thread, or a worker thread) owns, and how its errors are thrown.
#pragma once

#include <napi.h>

#include <array>

#include "recorded_work.h"
#include "undisposed.h"

namespace sffn {

class JobQueue;

struct Environment {
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  // A buffer that a kernel is about to use.
  const std::shared_ptr<Buffer>& operand(double handle) {
    const auto& buffer = buffers.get(handle);
    if (recording) recording->keep(buffer);
    return buffer;
  }

  // Releases memory whose owners were collected.
  void sweep() {
    buffers.sweep([&](const BufferTable::Released& freed) { undisposed[slot_of(freed.device)].finalize(freed.bytes); });
  }

  BufferTable buffers;
  std::array<Undisposed, kDeviceSlots> undisposed;  // by slot_of a device
  std::unique_ptr<JobQueue> jobs;
  // While this thread records.
  std::unique_ptr<RecordedWork> recording;
};

inline Napi::Error to_js(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, error.code));
  return result;
}

// To be called inside a catch block: the exception as the one kind of error that JavaScript gets.
inline Error caught_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error("ERR_OUT_OF_MEMORY", "out of memory");
  } catch (const std::exception& error) {
    return Error("ERR_INTERNAL", error.what());
  } catch (...) {
    return Error("ERR_INTERNAL", "an exception of unknown type");
  }
}

// Runs `body` and turns a native exception into a JavaScript one: nothing else may cross the boundary.
template <class Body>
Napi::Value guarded(const Napi::CallbackInfo& info, Body&& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;  // an exception of JavaScript, which its wrapper handles
  } catch (...) {
    to_js(info.Env(), caught_error()).ThrowAsJavaScriptException();
  }
  return info.Env().Undefined();
}

}  // namespace sffn
