// Everything that must be included before an ISA file changes the compile target, and the macros that change it. System
// headers compiled for a wider target would leave inline functions with AVX code, and the linker might give those to
// old CPUs.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../allocator.h"
#include "../counters.h"
#include "../decode.h"
#include "../kernels.h"
#include "../linalg.h"
#include "../random.h"
#include "../thread_pool.h"

// Features of the AVX-512 units; a test emulates them (test/native/emulated_avx512.h).
#ifndef SFFN_AVX512
#define SFFN_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2"
#define SFFN_AVX512_BF16 "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,bmi2"
#endif

#define SFFN_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define SFFN_TARGET_BEGIN(features) \
  SFFN_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define SFFN_TARGET_END SFFN_PRAGMA(clang attribute pop)
#else
#define SFFN_TARGET_BEGIN(features) SFFN_PRAGMA(GCC push_options) SFFN_PRAGMA(GCC target(features))
#define SFFN_TARGET_END SFFN_PRAGMA(GCC pop_options)
#endif

#define SFFN_INLINE inline __attribute__((always_inline))
// A loop over a small array of vector registers. It must be unrolled completely, or the array is spilled to memory.
#if defined(__clang__)
#define SFFN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SFFN_UNROLL _Pragma("GCC unroll 64")
#endif
