// Bootstrap only: kernels that nobody has written yet. Deleted when the table is complete.
#define KERNEL(name, ...) \
  template <class... A>   \
  void name(A...) {       \
    throw Error("ERR_PENDING", #name); \
  }
#include "../kernels.def"
#undef KERNEL
