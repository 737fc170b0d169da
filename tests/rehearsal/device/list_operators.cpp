// Lists the operators for which a real libtorch_cuda.so has kernels: cuda_operators.txt, to be made again for
// each release of libtorch. No GPU is needed, only the libraries: `cargo xtask setup --cuda`, then
//
//   g++ -std=c++20 -w -I$LIBTORCH/include -o list_operators list_operators.cpp \
//       -L$LIBTORCH/lib -Wl,-rpath,$LIBTORCH/lib -Wl,--no-as-needed -ltorch_cpu -lc10 -ldl
//   ./list_operators | sort
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdio>
#include <dlfcn.h>

int main() {
  auto &dispatcher = c10::Dispatcher::singleton();
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL)) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  for (const auto &name : dispatcher.getAllOpNames()) {
    auto op = dispatcher.findOp(name);
    if (!op || !op->hasSchema() || !op->hasKernelForDispatchKey(c10::DispatchKey::CUDA) || name.name.rfind("aten::", 0))
      continue;
    printf("%s%s%s\n", name.name.c_str(), name.overload_name.empty() ? "" : ".", name.overload_name.c_str());
  }
}
