// A model for decode_step as JavaScript holds it: bound once, freed by the garbage collector.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "decode.h"

namespace sffn {

struct BoundModel {
  std::vector<double> weights;  // handles
  std::shared_ptr<const DecodeModel> model;

  // (weights, shape, eps, rotary_base) of kernels.def -> a model.
  static Napi::Value bind(const Napi::CallbackInfo& info);
  // Throws Error("ERR_ARGUMENT") unless the value is a model.
  static const BoundModel& of(const Napi::Value& v);
};

}  // namespace sffn
