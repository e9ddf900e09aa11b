// The exports of the addon. Every kernel of kernels.def is there twice under its own name, synchronously and (below
// `async`) as a job that returns a Promise; binding.h has how. The rest is memory and settings.
#include <napi.h>

#include <cstring>
#include <string_view>

#include "binding.h"
#include "counters.h"

namespace sffn {
namespace {

// 0 cpu (also when left out), 1 cuda.
Device device_argument(const Napi::Value& v) {
  return v.IsNumber() && v.As<Napi::Number>().Int32Value() == 1 ? Device::cuda : Device::cpu;
}

DType dtype_argument(const Napi::Value& v) {
  const int32_t code = v.As<Napi::Number>().Int32Value();
  if (code < 0 || code > static_cast<int32_t>(DType::i8))
    throw Error("ERR_DTYPE", "no element type has the number " + std::to_string(code));
  return static_cast<DType>(code);
}

// Has V8 collect all garbage now. The way that Node-API has is to report more external memory than any heap may have.
void collect_garbage(Napi::Env env) {
  constexpr int64_t kMoreThanAnyHeap = int64_t{1} << 50;
  Napi::MemoryManagement::AdjustExternalMemory(env, kMoreThanAnyHeap);
  Napi::MemoryManagement::AdjustExternalMemory(env, -kMoreThanAnyHeap);
  for (Undisposed& memory : Environment::of(env).undisposed) memory.collected();
}

// (length, dtype, device) -> handle. dtype: 0 f32, 1 i32, 2 bf16, 3 i8; device: 0 cpu, 1 cuda. The contents are not
// set.
Napi::Value allocate_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const int64_t size = info[0].As<Napi::Number>().Int64Value();
    const DType dtype = dtype_argument(info[1]);
    const Device device = device_argument(info[2]);
    Environment& environment = Environment::of(info.Env());
    double handle;
    try {
      handle = environment.buffers.create(size, dtype, device);
    } catch (const Error& error) {
      // Too late for this call, but a caller who goes on will find what it frees.
      if (std::string_view(error.code) == "ERR_OUT_OF_MEMORY") collect_garbage(info.Env());
      throw;
    }
    const int64_t bytes = size * static_cast<int64_t>(size_of(dtype));
    if (environment.undisposed[static_cast<size_t>(device)].add(bytes, memory_of(device).stats().limit))
      collect_garbage(info.Env());
    return Napi::Number::New(info.Env(), handle);
  });
}

// (handle, whether by a finalizer)
Napi::Value release_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    Environment& environment = Environment::of(info.Env());
    const BufferTable::Released released = environment.buffers.release(info[0].As<Napi::Number>().DoubleValue());
    Undisposed& memory = environment.undisposed[static_cast<size_t>(released.device)];
    if (info[1].ToBoolean())
      memory.finalize(released.bytes);
    else
      memory.dispose(released.bytes);
    return info.Env().Undefined();
  });
}

// handle -> ArrayBuffer over the very memory. Whoever releases the handle detaches the ArrayBuffer first (storage.ts).
Napi::Value array_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    auto buffer = Environment::of(info.Env()).buffers.get(info[0].As<Napi::Number>().DoubleValue());
    if (buffer->device != Device::cpu)
      throw Error("ERR_DEVICE", "the memory of a CUDA device cannot be addressed here");
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
    const bool here = from.device == Device::cpu && to.device == Device::cpu;
    const ComputeScope scope(here ? Device::cpu : Device::cuda);
    if (here)
      std::memcpy(to.data, from.data, static_cast<size_t>(from.size) * size_of(from.dtype));
    else
      cuda_copy(from, to);
    return info.Env().Undefined();
  });
}

// (device, ...): what the allocator of a device is asked.
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

Napi::Value begin_recording(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    auto work = std::make_unique<RecordedWork>();
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
    if (!work) throw Error("ERR_DISPOSED", "the recording was released");
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

// (m, n, k, dtype) -> how C [m, n] = A [m, k] · Bᵀ would be launched.
Napi::Value plan_product(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const auto number = [&](size_t i) { return info[i].As<Napi::Number>().Int64Value(); };
    const ComputeScope scope(Device::cuda);
    const GemmPlan plan = plan_gemm(number(0), number(1), number(2), dtype_argument(info[3]));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("kernel", plan.kernel);
    result.Set("blocks", static_cast<double>(plan.blocks));
    result.Set("steps", static_cast<double>(plan.steps));
    result.Set("resident", plan.resident);
    result.Set("multiprocessors", plan.multiprocessors);
    return result;
  });
}

// (m, n, k, rank) -> both products of LowRank in one launch.
Napi::Value plan_both(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const auto number = [&](size_t i) { return info[i].As<Napi::Number>().Int64Value(); };
    const ComputeScope scope(Device::cuda);
    const ChainPlan plan = plan_chain(number(0), number(1), number(2), number(3));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("kernel", plan.kernel);
    result.Set("together", plan.together);
    result.Set("alone", plan.alone);
    return result;
  });
}

template <class T>
Napi::Value value_of(Napi::Env env, const T& value) {
  return Napi::Value::From(env, value);
}
template <class T>
Napi::Value value_of(Napi::Env env, const std::map<std::string, T>& values) {
  Napi::Object result = Napi::Object::New(env);
  for (const auto& [name, value] : values) result.Set(name, Napi::Value::From(env, value));
  return result;
}

// An object of numbers or of strings.
template <class T>
std::map<std::string, T> map_argument(const Napi::Value& v) {
  std::map<std::string, T> values;
  const Napi::Object object = v.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    if constexpr (std::is_same_v<T, double>)
      values[name] = object.Get(name).As<Napi::Number>().DoubleValue();
    else
      values[name] = object.Get(name).As<Napi::String>().Utf8Value();
  }
  return values;
}

template <auto Function>
Napi::Value setting(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    if constexpr (std::is_invocable_v<decltype(Function), const std::string&>) {
      Function(info[0].As<Napi::String>().Utf8Value());
    } else if constexpr (std::is_invocable_v<decltype(Function), int64_t>) {
      Function(info[0].As<Napi::Number>().Int64Value());
    } else if constexpr (std::is_invocable_v<decltype(Function), const std::map<std::string, double>&>) {
      Function(map_argument<double>(info[0]));
    } else if constexpr (std::is_invocable_v<decltype(Function), const std::map<std::string, std::string>&>) {
      Function(map_argument<std::string>(info[0]));
    } else if constexpr (std::is_void_v<decltype(Function())>) {
      Function();
    } else {
      return value_of(info.Env(), Function());
    }
    return info.Env().Undefined();
  });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  const auto define = [&](Napi::Object& target, const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    target.Set(name, Napi::Function::New(env, function, name));
  };
  Napi::Object async = Napi::Object::New(env);
#define KERNEL(name, ...)                                                                       \
  {                                                                                             \
    using Call = Binding<&Kernels::name, decltype(operand::name), operand::name##_description>; \
    define(exports, #name, Call::call);                                                         \
    define(async, #name, Call::call_async);                                                     \
  }
#include "kernels.def"
#undef KERNEL
  exports.Set("async", async);
  define(exports, "allocate", allocate_buffer);
  define(exports, "release", release_buffer);
  define(exports, "arrayBuffer", array_buffer);
  define(exports, "detach", detach);
  define(exports, "transfer", transfer);
  define(exports, "memoryStats", memory_stats);
  define(exports, "resetPeakMemory", reset_peak_memory);
  define(exports, "setMemoryLimit", set_memory_limit);
  define(exports, "emptyCache", empty_cache);
  define(exports, "numThreads", setting<num_threads>);
  define(exports, "setNumThreads", setting<set_num_threads>);
  define(exports, "availableCores", setting<available_cores>);
  define(exports, "isas", setting<available_isas>);
  define(exports, "isa", setting<current_isa>);
  define(exports, "setIsa", setting<set_isa>);
  define(exports, "cudaAvailable", setting<cuda_available>);
  define(exports, "cudaStatus", setting<cuda_status>);
  define(exports, "setCudaDevice", setting<set_cuda_device>);
  define(exports, "cudaTf32", setting<cuda_tf32>);
  define(exports, "setCudaTf32", setting<set_cuda_tf32>);
  define(exports, "gemmSwitches", setting<gemm_switches>);
  define(exports, "setGemmSwitches", setting<set_gemm_switches>);
  define(exports, "gemmCosts", setting<gemm_costs>);
  define(exports, "setGemmCosts", setting<set_gemm_costs>);
  define(exports, "planProduct", plan_product);
  define(exports, "planChain", plan_both);
  define(exports, "kernelLaunches", setting<LaunchCount::all>);
  define(exports, "cudaSynchronize", setting<cuda_synchronize>);
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
