{
  # The default build: CPU only, needs nothing but a C++ compiler, Python and make. STRUCTURED_FFN_CUDA=ON in the
  # environment adds the CUDA backend (Linux, nvcc on the PATH or NVCC).
  # The source list is shared with CMakeLists.txt: native/sources.json.
  "variables": {
    "with_cuda%": "<!(node -p \"process.env.STRUCTURED_FFN_CUDA === 'ON' ? 1 : 0\")",
    "nvcc_flags": [
      "-O3", "-std=c++20", "-DNDEBUG", "--compress-mode=size", "--threads=0",
      "-gencode=arch=compute_80,code=compute_80", "-gencode=arch=compute_80,code=sm_80",
      "-gencode=arch=compute_90a,code=sm_90a",
      "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra,-Wno-psabi,-Wno-unknown-pragmas"
    ]
  },
  "targets": [{
    "target_name": "structured_ffn",
    "sources": [
      "<!@(node -p \"require('./native/sources.json').core.join(' ')\")"
    ],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native"],
    "defines": [
      "NAPI_VERSION=8",
      "NODE_ADDON_API_DISABLE_DEPRECATED",
      # Without it, terminating a worker thread during a native job aborts the process.
      "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      "NAPI_CPP_EXCEPTIONS"
    ],
    "cflags!": ["-fno-exceptions", "-O2"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": [
      "-std=c++20", "-O3", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
      "-Wall", "-Wextra", "-Wno-psabi", "-Wno-restrict",
      # Warnings are errors for us (npm run check, CI), not for a user with a newer compiler.
      "<!(node -p \"process.env.STRUCTURED_FFN_WERROR ? '-Werror' : '-Wall'\")"
    ],
    "conditions": [
      ["with_cuda==1", {
        "defines": ["STRUCTURED_FFN_WITH_CUDA"],
        "sources": ["<!@(node -p \"require('./native/sources.json').cuda.join(' ')\")"],
        "rules": [{
          "rule_name": "nvcc",
          "extension": "cu",
          "outputs": ["<(INTERMEDIATE_DIR)/<(RULE_INPUT_ROOT).cu.o"],
          "process_outputs_as_sources": 1,
          "message": "NVCC <(RULE_INPUT_PATH)",
          "action": [
            "<!(node scripts/cuda_toolkit.cjs nvcc)", "-c", "<@(nvcc_flags)", "<(RULE_INPUT_PATH)",
            "-o", "<(INTERMEDIATE_DIR)/<(RULE_INPUT_ROOT).cu.o"
          ]
        }],
        "libraries": ["-L<!(node scripts/cuda_toolkit.cjs libraries)", "-lcudart_static", "-lrt", "-lpthread", "-ldl"]
      }],
      # nodelete: the pool's threads outlive the worker that loaded the addon, so its code must stay mapped.
      ["OS=='linux'", { "ldflags": ["-Wl,-z,nodelete", "-Wl,--version-script=<(module_root_dir)/native/exports.map"] }],
      ["OS=='mac'", {
        "xcode_settings": {
          "CLANG_CXX_LANGUAGE_STANDARD": "c++20", "GCC_ENABLE_CPP_EXCEPTIONS": "YES", "GCC_ENABLE_CPP_RTTI": "YES",
          "GCC_OPTIMIZATION_LEVEL": "3", "MACOSX_DEPLOYMENT_TARGET": "11.0",
          "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
        }
      }]
    ]
  }]
}
