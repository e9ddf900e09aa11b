// Every CPU kernel, written once; each isa_*.cc includes this under its own target and namespace.
// In the order of use.
// clang-format off
#include "simd.inl"
#include "elements.inl"
#include "parallel.inl"
#include "strides.inl"
#include "activation.inl"
#include "elementwise.inl"
#include "binary.inl"
#include "reduce.inl"
#include "strided.inl"
#include "softmax.inl"
#include "embedding.inl"
#include "cross_entropy.inl"
#include "layer_norm.inl"
#include "rms_norm.inl"
#include "../adamw_numbers.inl"
#include "adamw.inl"
#include "stream.inl"
#include "shuffle.inl"
#include "layer_activation.inl"
#include "micro_kernel.inl"
#include "pack.inl"
#include "product.inl"
#include "skinny_arithmetic.inl"
#include "byte_arithmetic.inl"
#include "skinny.inl"
#include "gemm.inl"
#include "layer.inl"
#include "linear.inl"
#include "prologue.inl"
#include "linear_backward.inl"
#include "ffn.inl"
#include "merge.inl"
#include "linear_cross_entropy.inl"
#include "matmul.inl"
#include "rotary.inl"
#include "attention_tiles.inl"
#include "attention_forward.inl"
#include "attention_backward.inl"
#include "quantize.inl"
#include "byte_product.inl"
#include "decode_linear.inl"
#include "decode_attention.inl"
#include "decode_step.inl"
#include "probe.inl"
// clang-format on

// The same code on every instruction set.
using sffn::polar;
using sffn::random_normal;
using sffn::random_uniform;
using sffn::svd;

extern const Kernels kernels;
const Kernels kernels = {
#define KERNEL(name, ...) name,
#include "../kernels.def"
#undef KERNEL
};
