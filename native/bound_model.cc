#include "bound_model.h"

#include "binding.h"

namespace sffn {
namespace {

// Tells a model from any other External.
constexpr napi_type_tag kTag{0x6f1d3c5ab2984e07, 0x94c8a16e5d73b02f};

}  // namespace

Napi::Value BoundModel::bind(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    Environment& environment = Environment::of(info.Env());
    auto bound = std::make_unique<BoundModel>();
    std::vector<View> views;
    const Napi::Array weights = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < weights.Length(); ++i) {
      const Napi::Value weight = weights.Get(i);
      if (!weight.IsNull()) bound->weights.push_back(weight.As<Napi::Number>().DoubleValue());
      views.push_back(weight.IsNull() ? View{} : environment.buffers.get(bound->weights.back())->view());
    }
    const Argument<Ints> shape(environment, info[1], false);
    bound->model = std::make_shared<const DecodeModel>(views, shape.value, info[2].As<Napi::Number>().DoubleValue(),
                                                       info[3].As<Napi::Number>().DoubleValue());
    const auto external = Napi::External<BoundModel>::New(info.Env(), bound.get(),
                                                          [](Napi::BasicEnv, BoundModel* model) { delete model; });
    bound.release();
    external.TypeTag(&kTag);
    return external;
  });
}

const BoundModel& BoundModel::of(const Napi::Value& v) {
  if (!v.IsExternal() || !v.As<Napi::External<BoundModel>>().CheckTypeTag(&kTag))
    throw Error("ERR_ARGUMENT", "expected a model that was bound");
  return *v.As<Napi::External<BoundModel>>().Data();
}

}  // namespace sffn
