// What one JavaScript environment (the main thread, or a worker thread) owns, and how its errors are thrown.
#pragma once

#include <napi.h>

#include "buffers.h"

namespace sffn {

class JobQueue;

struct Environment {
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  BufferTable buffers;
  std::unique_ptr<JobQueue> jobs;
};

inline Napi::Error to_js(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, error.code));
  return result;
}

// Runs `body` and turns a native exception into a JavaScript one: nothing else may cross the boundary.
template <class Body>
Napi::Value guarded(const Napi::CallbackInfo& info, Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    to_js(info.Env(), error).ThrowAsJavaScriptException();
  } catch (const std::bad_alloc&) {
    to_js(info.Env(), Error("ERR_OUT_OF_MEMORY", "out of memory")).ThrowAsJavaScriptException();
  }
  return info.Env().Undefined();
}

}  // namespace sffn
