{
  # The default build: CPU only, needs nothing but a C++ compiler, Python and make.
  # The source list is shared with CMakeLists.txt: native/sources.json.
  "targets": [{
    "target_name": "structured_ffn",
    "sources": [
      "<!@(node -p \"const s = require('./native/sources.json'); [...s.core, ...s.no_cuda].join(' ')\")"
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
      # nodelete: the pool's threads outlive the worker that loaded the addon, so its code must stay mapped.
      ["OS=='linux'", { "ldflags": ["-Wl,-z,nodelete", "-Wl,--exclude-libs,ALL"] }],
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
