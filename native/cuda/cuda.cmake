# The CUDA backend as a part of structured_ffn: machine code for STRUCTURED_FFN_CUDA_ARCHS, and PTX of the oldest for
# later devices. For the PTX executor: PTX alone, uncompressed, and the executor instead of the CUDA runtime.
set(STRUCTURED_FFN_CUDA_ARCHS "80;90a" CACHE STRING "Compute capabilities to compile for: 80, 86, 89, 90a, 100, 120")
set(STRUCTURED_FFN_CUDA_PTX "80" CACHE STRING "Compute capability whose PTX is added for later devices")

set(GENCODE "SHELL:-gencode arch=compute_${STRUCTURED_FFN_CUDA_PTX},code=compute_${STRUCTURED_FFN_CUDA_PTX}")
if(STRUCTURED_FFN_CUDA STREQUAL "SIM")
  set(COMPRESSION none)
  # Instructions of compute capability 9.0 alone: its own machine code, besides the PTX for any device.
  set(WGMMA_SOURCES ${CUDA_SOURCES})
  list(FILTER WGMMA_SOURCES INCLUDE REGEX "wgmma\\.cu$")
  set_source_files_properties(${WGMMA_SOURCES} PROPERTIES COMPILE_OPTIONS -gencode=arch=compute_90a,code=compute_90a)
else()
  set(COMPRESSION size)
  foreach(arch IN LISTS STRUCTURED_FFN_CUDA_ARCHS)
    list(APPEND GENCODE "SHELL:-gencode arch=compute_${arch},code=sm_${arch}")
  endforeach()
endif()

# CMake 3.25 does not know nvcc 13's option for C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
add_library(structured_ffn_cuda OBJECT ${CUDA_SOURCES})
set_target_properties(structured_ffn_cuda PROPERTIES CUDA_STANDARD 20
  CUDA_RUNTIME_LIBRARY Static POSITION_INDEPENDENT_CODE ON CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_compile_options(structured_ffn_cuda PRIVATE ${GENCODE} --compress-mode=${COMPRESSION} --threads=0
  # The host compiler meets the unrolled loops of functions that both compile.
  -Xptxas=-warn-spills,-warn-lmem-usage "SHELL:-Xcompiler -Wall,-Wextra,-Wno-psabi,-Wno-unknown-pragmas"
  "$<$<BOOL:$ENV{STRUCTURED_FFN_WERROR}>:SHELL:-Werror all-warnings -Xcompiler -Werror>")

# The addon is linked by the C++ compiler, which keeps the CUDA runtime's symbols inside.
set_target_properties(structured_ffn PROPERTIES LINKER_LANGUAGE CXX)
target_link_libraries(structured_ffn PRIVATE structured_ffn_cuda)
if(STRUCTURED_FFN_CUDA STREQUAL "SIM")
  add_subdirectory(tools/ptxsim)
  target_link_libraries(structured_ffn PRIVATE ptxsim_cudart)
else()
  find_package(CUDAToolkit REQUIRED)
  target_link_libraries(structured_ffn PRIVATE CUDA::cudart_static)
endif()
