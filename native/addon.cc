// The exports of the addon. Every kernel of kernels.def is exported twice under its own name: synchronously (below
// `kernels`) and as a job that returns a Promise (below `async`). binding.h explains how. The other exports are for
// memory and settings.
#include <napi.h>

#include <algorithm>
#include <string_view>

#include "allocator.h"
#include "binding.h"
#include "counters.h"

namespace sffn {
namespace {

// A kind of device and an index, or -1 for the kind's default device: kind + 256 · (index + 1). Nothing: the CPU.
struct DeviceCode {
  DeviceKind kind = DeviceKind::cpu;
  int index = -1;

  explicit DeviceCode(const Napi::Value& v) {
    if (!v.IsNumber()) return;
    const int64_t code = v.As<Napi::Number>().Int64Value();
    if (code < 0 || code % 256 >= static_cast<int64_t>(kKinds))
      throw Error("ERR_ARGUMENT", "no device has the number " + std::to_string(code));
    kind = static_cast<DeviceKind>(code % 256);
    index = static_cast<int>(std::min<int64_t>(code / 256, INT32_MAX)) - 1;
  }
  const Backend& backend() const { return backend_of(kind); }
};

// Throws Error("ERR_DEVICE") where it cannot be used.
Device device_argument(const Napi::Value& v) {
  const DeviceCode code(v);
  return code.kind == DeviceKind::cpu && code.index < 0 ? Device{} : open_device(code.kind, code.index);
}

// Makes V8 collect all garbage now. In Node-API the only way is to report more external memory than any heap may have.
void collect_garbage(Napi::Env env) {
  constexpr int64_t kMoreThanAnyHeap = int64_t{1} << 50;
  Napi::MemoryManagement::AdjustExternalMemory(env, kMoreThanAnyHeap);
  Napi::MemoryManagement::AdjustExternalMemory(env, -kMoreThanAnyHeap);
  Environment& environment = Environment::of(env);
  environment.sweep();
  for (Undisposed& memory : environment.undisposed) memory.collected();
}

Napi::Value sweep(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    Environment::of(info.Env()).sweep();
    return info.Env().Undefined();
  });
}

// (length, dtype, device, owner) -> handle. dtype is one of codes.def. The contents are not set. With an owner the
// memory goes after that was collected, else by `release` alone.
Napi::Value allocate_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const int64_t size = info[0].As<Napi::Number>().Int64Value();
    const DType dtype = code_argument<DType>(info[1]);
    const Device device = device_argument(info[2]);
    Environment& environment = Environment::of(info.Env());
    BufferTable& buffers = environment.buffers;
    double handle;
    try {
      handle = buffers.create(size, dtype, device);
    } catch (const Error& error) {
      if (std::string_view(error.code) != "ERR_OUT_OF_MEMORY") throw;
      collect_garbage(info.Env());
      handle = buffers.create(size, dtype, device);
    }
    if (info[3].IsObject()) buffers.set_owner(handle, info[3]);
    const int64_t bytes = size * static_cast<int64_t>(size_of(dtype));
    const bool collect = environment.undisposed[slot_of(device)].add(bytes, memory_of(device).stats().limit);
    if (collect)
      collect_garbage(info.Env());
    else if (buffers.sweep_due())
      environment.sweep();
    return Napi::Number::New(info.Env(), handle);
  });
}

// (handle)
Napi::Value release_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    Environment& environment = Environment::of(info.Env());
    const BufferTable::Released released = environment.buffers.release(info[0].As<Napi::Number>().DoubleValue());
    environment.undisposed[slot_of(released.device)].dispose(released.bytes);
    return info.Env().Undefined();
  });
}

// handle -> ArrayBuffer over the memory itself. Whoever releases the handle detaches the ArrayBuffer first
// (storage.ts).
Napi::Value array_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    auto buffer = Environment::of(info.Env()).buffers.get(info[0].As<Napi::Number>().DoubleValue());
    if (buffer->device != Device{})
      throw Error("ERR_DEVICE", "the memory of '" + name_of(buffer->device) + "' cannot be addressed here");
    buffer->exposure = new Exposure{buffer};
    return Napi::ArrayBuffer::New(
        info.Env(), buffer->data, buffer->bytes(),
        [](Napi::BasicEnv, void*, Exposure* exposure) {
          if (exposure->owner && exposure->owner->exposure == exposure) exposure->owner->exposure = nullptr;
          delete exposure;
        },
        buffer->exposure);
  });
}

// (handle, its ArrayBuffer): the ArrayBuffer becomes empty and no longer keeps the memory.
Napi::Value detach(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    auto buffer = Environment::of(info.Env()).buffers.get(info[0].As<Napi::Number>().DoubleValue());
    info[1].As<Napi::ArrayBuffer>().Detach();
    if (buffer->exposure) buffer->exposure->owner.reset();
    buffer->exposure = nullptr;
    return info.Env().Undefined();
  });
}

// (from, to): all elements, between devices too.
Napi::Value transfer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    Environment& environment = Environment::of(info.Env());
    const View from = environment.operand(info[0].As<Napi::Number>().DoubleValue())->view();
    const View to = environment.operand(info[1].As<Napi::Number>().DoubleValue())->view();
    if (from.size != to.size || from.dtype != to.dtype)
      throw Error("ERR_ARGUMENT", "buffers of different sizes or dtypes");
    copy_elements(from, to);
    return info.Env().Undefined();
  });
}

// (device, ...): questions to the allocator of a device.
Napi::Value reset_peak_memory(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    memory_of(device_argument(info[0])).reset_peak();
    return info.Env().Undefined();
  });
}

Napi::Value set_memory_limit(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    memory_of(device_argument(info[0])).set_limit(info[1].As<Napi::Number>().Int64Value());
    return info.Env().Undefined();
  });
}

Napi::Value empty_cache(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    memory_of(device_argument(info[0])).empty_cache();
    return info.Env().Undefined();
  });
}

// (count)
Napi::Value refuse_allocation(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const int64_t left = host_memory().refuse_allocation(info[0].As<Napi::Number>().Int64Value());
    return Napi::Number::New(info.Env(), static_cast<double>(left));
  });
}

Napi::Value memory_stats(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const MemoryStats stats = memory_of(device_argument(info[0])).stats();
    Napi::Object result = Napi::Object::New(info.Env());
    const auto set = [&](const char* name, int64_t value) { result.Set(name, static_cast<double>(value)); };
    set("allocated", stats.allocated);
    set("cached", stats.cached);
    set("peak", stats.peak);
    set("limit", stats.limit);
    set("allocations", stats.allocations);
    set("systemAllocations", stats.system_allocations);
    return result;
  });
}

using RecordingHandle = Napi::External<std::unique_ptr<RecordedWork>>;

std::unique_ptr<RecordedWork>& recording_argument(const Napi::CallbackInfo& info) {
  return *info[0].As<RecordingHandle>().Data();
}

// (device)
Napi::Value begin_recording(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    auto work = std::make_unique<RecordedWork>(device_argument(info[0]));
    Environment::of(info.Env()).recording = std::move(work);
    return info.Env().Undefined();
  });
}

Napi::Value end_recording(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto work = std::move(Environment::of(info.Env()).recording);
    if (!work) throw Error("ERR_RECORDING", "no recording is under way");
    work->finish();
    return RecordingHandle::New(info.Env(), new std::unique_ptr<RecordedWork>(std::move(work)),
                                [](Napi::BasicEnv, std::unique_ptr<RecordedWork>* handle) { delete handle; });
  });
}

Napi::Value abandon_recording(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    Environment::of(info.Env()).recording.reset();
    return info.Env().Undefined();
  });
}

Napi::Value replay(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const auto& work = recording_argument(info);
    if (!work) throw Error("ERR_DISPOSED", "recording: it was released");
    work->launch();
    return info.Env().Undefined();
  });
}

Napi::Value release_recording(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    recording_argument(info).reset();
    return info.Env().Undefined();
  });
}

template <class T>
Napi::Value value_of(Napi::Env env, const T& value) {
  return Napi::Value::From(env, value);
}
Napi::Value value_of(Napi::Env env, const Setting& value) {
  return std::visit([&](const auto& one) { return Napi::Value::From(env, one); }, value);
}
template <class T>
Napi::Value value_of(Napi::Env env, const std::map<std::string, T>& values) {
  Napi::Object result = Napi::Object::New(env);
  for (const auto& [name, value] : values) result.Set(name, value_of(env, value));
  return result;
}

// An object of numbers and strings.
Settings settings_argument(const Napi::Value& v) {
  Settings values;
  const Napi::Object object = v.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    const Napi::Value value = object.Get(name);
    if (value.IsNumber())
      values[name] = value.As<Napi::Number>().DoubleValue();
    else
      values[name] = value.ToString().Utf8Value();
  }
  return values;
}

// Questions about a device, which need not be usable.
template <auto Member>
Napi::Value of_device(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const DeviceCode code(info[0]);
    return value_of(info.Env(), (code.backend().*Member)(code.index));
  });
}
template <auto Member>
Napi::Value of_kind(const Napi::CallbackInfo& info) {
  return guarded(info,
                 [&]() -> Napi::Value { return value_of(info.Env(), (DeviceCode(info[0]).backend().*Member)()); });
}

Napi::Value host_kernels(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const auto kernels = DeviceCode(info[0]).backend().host_kernels;
    Napi::Array names = Napi::Array::New(info.Env());
    for (const char* name : kernels) names.Set(names.Length(), name);
    return names;
  });
}

Napi::Value set_default_device(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const DeviceCode code(info[0]);
    const auto set_default = code.backend().set_default;
    if (!set_default)
      throw Error("ERR_DEVICE",
                  std::string("device '") + code.backend().name + "' is " + code.backend().status(code.index));
    set_default(code.index);
    return info.Env().Undefined();
  });
}

// Calls `body` with the backend of the device in the first argument, inside that device's scope.
template <class Body>
Napi::Value on_device(const Napi::CallbackInfo& info, Body body) {
  return guarded(info, [&]() -> Napi::Value {
    const Device device = device_argument(info[0]);
    const ComputeScope scope(device);
    return body(backend_of(device));
  });
}

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  return on_device(info, [&](const Backend& backend) {
    if (backend.synchronize) backend.synchronize();
    return info.Env().Undefined();
  });
}

Napi::Value settings(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const Device device = device_argument(info[0]);
    const auto settings = backend_of(device).settings;
    return value_of(info.Env(), settings ? settings(device.index) : Settings{});
  });
}

// (device, some of the settings)
Napi::Value set_settings(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const Device device = device_argument(info[0]);
    const auto set = backend_of(device).set_settings;
    if (!set) throw Error("ERR_OPTION", "device '" + name_of(device) + "' has no settings");
    set(device.index, settings_argument(info[1]));
    return info.Env().Undefined();
  });
}

// (device, what, sizes)
Napi::Value plan(const Napi::CallbackInfo& info) {
  return on_device(info, [&](const Backend& backend) {
    if (!backend.plan) throw Error("ERR_OPTION", std::string("device '") + backend.name + "' has no plans");
    std::vector<int64_t> sizes;
    const Napi::Array array = info[2].As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); ++i) sizes.push_back(array.Get(i).As<Napi::Number>().Int64Value());
    return value_of(info.Env(), backend.plan(info[1].As<Napi::String>().Utf8Value(), sizes));
  });
}

template <auto Function>
Napi::Value setting(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    if constexpr (std::is_invocable_v<decltype(Function), const std::string&>) {
      Function(info[0].As<Napi::String>().Utf8Value());
    } else if constexpr (std::is_invocable_v<decltype(Function), int64_t>) {
      Function(info[0].As<Napi::Number>().Int64Value());
    } else if constexpr (std::is_void_v<decltype(Function())>) {
      Function();
    } else {
      return value_of(info.Env(), Function());
    }
    return info.Env().Undefined();
  });
}

// The names of a list of codes.def, each with its number.
template <class Code>
Napi::Object codes(Napi::Env env) {
  Napi::Object result = Napi::Object::New(env);
  for (uint32_t i = 0; i < std::size(kNames<Code>); ++i) result.Set(kNames<Code>[i], i);
  return result;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  const auto define = [&](Napi::Object& target, const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    target.Set(name, Napi::Function::New(env, function, name));
  };
  Napi::Object kernels = Napi::Object::New(env), async = Napi::Object::New(env), parameters = Napi::Object::New(env);
#define KERNEL(name, ...)                                                                       \
  {                                                                                             \
    using Call = Binding<&Kernels::name, decltype(operand::name), operand::name##_description>; \
    define(kernels, #name, Call::call);                                                         \
    define(async, #name, Call::call_async);                                                     \
    parameters.Set(#name, operand::name##_description.parameters);                              \
  }
#include "kernels.def"
#undef KERNEL
  exports.Set("kernels", kernels);
  exports.Set("async", async);
  exports.Set("parameters", parameters);
  exports.Set("dtypes", codes<DType>(env));
  exports.Set("activations", codes<Activation>(env));
  exports.Set("unaryOps", codes<UnaryOp>(env));
  exports.Set("binaryOps", codes<BinaryOp>(env));
  exports.Set("reductions", codes<Reduction>(env));
  define(exports, "allocate", allocate_buffer);
  define(exports, "release", release_buffer);
  define(exports, "sweep", sweep);
  define(exports, "arrayBuffer", array_buffer);
  define(exports, "detach", detach);
  define(exports, "transfer", transfer);
  define(exports, "bindModel", BoundModel::bind);
  define(exports, "memoryStats", memory_stats);
  define(exports, "resetPeakMemory", reset_peak_memory);
  define(exports, "setMemoryLimit", set_memory_limit);
  define(exports, "emptyCache", empty_cache);
  define(exports, "refuseAllocation", refuse_allocation);
  define(exports, "threadsSetting", setting<threads_setting>);
  define(exports, "numThreads", setting<num_threads>);
  define(exports, "setNumThreads", setting<set_num_threads>);
  define(exports, "availableCores", setting<available_cores>);
  define(exports, "availableProcessors", setting<available_processors>);
  define(exports, "firstThreadWarning", setting<first_thread_warning>);
  define(exports, "isas", setting<available_isas>);
  define(exports, "isa", setting<current_isa>);
  define(exports, "setIsa", setting<set_isa>);
  define(exports, "deviceCount", of_kind<&Backend::count>);
  define(exports, "defaultDevice", of_kind<&Backend::default_index>);
  define(exports, "setDefaultDevice", set_default_device);
  define(exports, "available", of_device<&Backend::available>);
  define(exports, "status", of_device<&Backend::status>);
  define(exports, "hostKernels", host_kernels);
  define(exports, "synchronize", synchronize);
  define(exports, "settings", settings);
  define(exports, "setSettings", set_settings);
  define(exports, "plan", plan);
  define(exports, "kernelLaunches", setting<LaunchCount::all>);
  define(exports, "countedSynchronizations", setting<counted_synchronizations>);
  define(exports, "beginRecording", begin_recording);
  define(exports, "endRecording", end_recording);
  define(exports, "abandonRecording", abandon_recording);
  define(exports, "replay", replay);
  define(exports, "releaseRecording", release_recording);
  define(exports, "countedFlops", setting<counted_flops>);
  return exports;
}

}  // namespace
}  // namespace sffn

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return sffn::initialize(env, exports); }

NODE_API_MODULE(structured_ffn, Init)
