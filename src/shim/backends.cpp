// Which CUDA device is used and which of its kernels. All of it is state of the process; what is set here
// does not change the CPU's results.
#include "guard.h"
#include "shim.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/SDPBackend.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/AllocatorConfig.h>

#include <cstdlib>
#include <vector>

char *shim_set_attention_backend(int backend) {
  return guarded([&] {
    using Backend = at::SDPBackend;
    auto chosen = static_cast<Backend>(backend);
    auto &context = at::globalContext();
    // The CPU also asks for these, so "any" must leave all of them on.
    bool any = chosen == Backend::error;
    context.setSDPUseFlash(any || chosen == Backend::flash_attention || chosen == Backend::cudnn_attention);
    context.setSDPUseMemEfficient(any || chosen != Backend::math);
    context.setSDPUseCuDNN(any || chosen == Backend::cudnn_attention);
    context.setSDPUseMath(true);
    // On Hopper libtorch itself puts cuDNN first, at the first attention.
    if (chosen == Backend::cudnn_attention)
      context.setSDPPriorityOrder({static_cast<int64_t>(Backend::cudnn_attention),
                                   static_cast<int64_t>(Backend::flash_attention),
                                   static_cast<int64_t>(Backend::efficient_attention),
                                   static_cast<int64_t>(Backend::math)});
  });
}

int shim_attention_backends(void) {
  auto &context = at::globalContext();
  auto bit = [](at::SDPBackend backend) { return 1 << static_cast<int>(backend); };
  return (context.userEnabledMathSDP() ? bit(at::SDPBackend::math) : 0) |
         (context.userEnabledFlashSDP() ? bit(at::SDPBackend::flash_attention) : 0) |
         (context.userEnabledMemEfficientSDP() ? bit(at::SDPBackend::efficient_attention) : 0) |
         (context.userEnabledCuDNNSDP() ? bit(at::SDPBackend::cudnn_attention) : 0);
}

char *shim_set_tf32(int allowed) {
  return guarded([&] {
    auto &context = at::globalContext();
    // Not setFloat32MatmulPrecision: it sets oneDNN's precision as well, which is the CPU's.
    context.setAllowTF32CuBLAS(allowed != 0);
    context.setAllowTF32CuDNN(allowed != 0);
  });
}

char *shim_tf32(int *products, int *convolutions) {
  return guarded([&] {
    auto &context = at::globalContext();
    *products = context.allowTF32CuBLAS();
    *convolutions = context.allowTF32CuDNN(at::Float32Op::CONV);
  });
}

int shim_set_cudnn_benchmark(int on) {
  auto &context = at::globalContext();
  bool before = context.benchmarkCuDNN();
  context.setBenchmarkCuDNN(on != 0);
  return before;
}

char *shim_select_cuda_device(int device_index) {
  return guarded([&] { at::accelerator::setDeviceIndex(static_cast<c10::DeviceIndex>(device_index)); });
}

char *shim_cuda_has_bf16(int *has) {
  // libtorch's CPU half cannot ask for the compute capability; for cuDNN this is whether it is 8.0 or above.
  return guarded([&] { *has = at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8(); });
}

char *shim_set_allocator(const char *settings) {
  return guarded([&] { c10::CachingAllocator::setAllocatorSettings(settings); });
}

char *shim_allocator_is_expandable(int *expandable) {
  return guarded([&] { *expandable = c10::CachingAllocator::AcceleratorAllocatorConfig::use_expandable_segments(); });
}
