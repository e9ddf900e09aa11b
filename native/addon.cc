// The Node-API boundary. Every kernel of kernels.def is exported twice under its own name, synchronously and (below
// `async`) as a job that returns a Promise; a kernel's C++ signature is its contract. The rest is memory and settings.
#include <napi.h>

#include <cstring>
#include <tuple>
#include <utility>

#include "async.h"
#include "counters.h"
#include "environment.h"
#include "kernels.h"
#include "thread_pool.h"

namespace sffn {
namespace {

// An argument of a call: what the kernel gets, and what keeps it alive while an asynchronous job runs.
template <class T>
struct Argument;

template <>
struct Argument<int64_t> {
  int64_t value = 0;
  Argument(Environment&, const Napi::Value& v, bool) : value(v.As<Napi::Number>().Int64Value()) {}
};

template <>
struct Argument<double> {
  double value = 0;
  Argument(Environment&, const Napi::Value& v, bool) : value(v.As<Napi::Number>().DoubleValue()) {}
};

template <>
struct Argument<View> {
  View value;
  std::shared_ptr<Buffer> owner;
  Argument(Environment& environment, const Napi::Value& v, bool async) {
    if (v.IsNull()) return;
    double handle;
    if (napi_get_value_double(v.Env(), v, &handle) == napi_ok) {
      const auto& buffer = environment.buffers.get(handle);
      if (async) owner = buffer;
      value = buffer->view();
      return;
    }
    if (async) throw Error("ERR_ARGUMENT", "an asynchronous job takes tensors only");
    value = typed_array(v);
  }

 private:
  // napi_get_typedarray_info alone is three times as fast as the wrapper's accessors.
  static View typed_array(const Napi::Value& v) {
    napi_typedarray_type type;
    size_t size;
    void* data;
    if (napi_get_typedarray_info(v.Env(), v, &type, &size, &data, nullptr, nullptr) != napi_ok)
      throw Error("ERR_ARGUMENT", "expected a tensor or a typed array");
    if (type != napi_float32_array && type != napi_int32_array)
      throw Error("ERR_DTYPE", "expected a Float32Array or an Int32Array");
    return {data, static_cast<int64_t>(size), type == napi_float32_array ? DType::f32 : DType::i32, Device::cpu};
  }
};

template <>
struct Argument<Ints> {
  std::vector<int32_t> storage;
  Ints value;
  Argument(Environment&, const Napi::Value& v, bool) {
    napi_typedarray_type type;
    size_t size;
    void* data;
    if (napi_get_typedarray_info(v.Env(), v, &type, &size, &data, nullptr, nullptr) != napi_ok ||
        type != napi_int32_array)
      throw Error("ERR_ARGUMENT", "expected an Int32Array of sizes");
    const int32_t* values = static_cast<const int32_t*>(data);
    storage.assign(values, values + size);
    value = storage;
  }
  Argument(Argument&& other) noexcept : storage(std::move(other.storage)), value(storage) {}
};

template <>
struct Argument<Views> {
  std::vector<View> storage;
  std::vector<std::shared_ptr<Buffer>> owners;
  Views value;
  Argument(Environment& environment, const Napi::Value& v, bool async) {
    const Napi::Array array = v.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); ++i) {
      Argument<View> one(environment, array.Get(i), async);
      storage.push_back(one.value);
      if (one.owner) owners.push_back(std::move(one.owner));
    }
    value = storage;
  }
  Argument(Argument&& other) noexcept
      : storage(std::move(other.storage)), owners(std::move(other.owners)), value(storage) {}
};

// Where a kernel runs: where its operands are. TypeScript has refused mixed ones with their names; this is for raw
// arrays.
struct Placement {
  bool found = false;
  Device device = Device::cpu;

  void add(const View& view) {
    if (!view) return;
    if (found && view.device != device) throw Error("ERR_DEVICE", "operands on 'cpu' and on 'cuda'");
    found = true;
    device = view.device;
  }
  void add(const Views& views) {
    for (const View& view : views) add(view);
  }
  template <class T>
  void add(const T&) {}
};

// Wraps the kernel `Member` of the table: conversions and arity derive from its type.
template <auto Member>
struct Binding;

template <class... A, void (*Kernels::*Member)(A...)>
struct Binding<Member> {
  using Arguments = std::tuple<Argument<A>...>;

  static Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
      Arguments arguments = convert(info, false, std::index_sequence_for<A...>{});
      run(arguments, std::index_sequence_for<A...>{});
      return info.Env().Undefined();
    });
  }

  static Napi::Value call_async(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
      auto arguments = std::make_shared<Arguments>(convert(info, true, std::index_sequence_for<A...>{}));
      return enqueue(info.Env(), [arguments] { run(*arguments, std::index_sequence_for<A...>{}); });
    });
  }

 private:
  template <size_t... I>
  static Arguments convert(const Napi::CallbackInfo& info, bool async, std::index_sequence<I...>) {
    if (info.Length() != sizeof...(A))
      throw Error("ERR_ARGUMENT",
                  "expected " + std::to_string(sizeof...(A)) + " arguments, got " + std::to_string(info.Length()));
    Environment& environment = Environment::of(info.Env());
    return Arguments{Argument<A>(environment, info[I], async)...};
  }

  template <size_t... I>
  static void run(const Arguments& arguments, std::index_sequence<I...>) {
    Placement placement;
    (placement.add(std::get<I>(arguments).value), ...);
    auto kernel = kernels_on(placement.device).*Member;
    ComputeScope scope;
    kernel(std::get<I>(arguments).value...);
  }
};

// 0 cpu (also when left out), 1 cuda.
Device device_argument(const Napi::Value& v) {
  return v.IsNumber() && v.As<Napi::Number>().Int32Value() == 1 ? Device::cuda : Device::cpu;
}

// (length, dtype, device) -> handle. dtype: 0 f32, 1 i32, 2 bf16, 3 i8; device: 0 cpu, 1 cuda. The contents are not
// set.
Napi::Value allocate_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const int64_t size = info[0].As<Napi::Number>().Int64Value();
    const auto dtype = static_cast<DType>(info[1].As<Napi::Number>().Int32Value());
    const Device device = device_argument(info[2]);
    const double handle = Environment::of(info.Env()).buffers.create(size, dtype, device);
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), size * static_cast<int64_t>(size_of(dtype)));
    return Napi::Number::New(info.Env(), handle);
  });
}

Napi::Value release_buffer(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const size_t bytes = Environment::of(info.Env()).buffers.release(info[0].As<Napi::Number>().DoubleValue());
    if (bytes > 0) Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -static_cast<int64_t>(bytes));
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
    BufferTable& buffers = Environment::of(info.Env()).buffers;
    const View from = buffers.get(info[0].As<Napi::Number>().DoubleValue())->view();
    const View to = buffers.get(info[1].As<Napi::Number>().DoubleValue())->view();
    if (from.size != to.size || from.dtype != to.dtype)
      throw Error("ERR_ARGUMENT", "buffers of different sizes or dtypes");
    ComputeScope scope;
    if (from.device == Device::cpu && to.device == Device::cpu)
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

// (m, n, k, dtype) -> how C [m, n] = A [m, k] · Bᵀ would be launched.
Napi::Value plan_product(const Napi::CallbackInfo& info) {
  return guarded(info, [&] {
    const auto number = [&](size_t i) { return info[i].As<Napi::Number>().Int64Value(); };
    ComputeScope scope;
    const GemmPlan plan = plan_gemm(number(0), number(1), number(2), static_cast<DType>(number(3)));
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
    ComputeScope scope;
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
#define KERNEL(name, ...)                                \
  define(exports, #name, Binding<&Kernels::name>::call); \
  define(async, #name, Binding<&Kernels::name>::call_async);
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
  define(exports, "countedFlops", setting<counted_flops>);
  return exports;
}

}  // namespace
}  // namespace sffn

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return sffn::initialize(env, exports); }

NODE_API_MODULE(structured_ffn, Init)
