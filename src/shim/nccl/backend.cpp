// A shared object of its own, libsonotune_nccl.so: c10d's NCCL backend needs libtorch's CUDA half, which the program
// opens at run time, if at all.
#include "../guard.h"

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

// A shim_backend of distributed.h.
extern "C" __attribute__((visibility("default"))) char *sonotune_nccl_backend(void *store, int rank, int size,
                                                                              int64_t timeout_ms, int device_index,
                                                                              void **backend) {
  return guarded([&] {
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/false);
    options->timeout = std::chrono::milliseconds(timeout_ms);
    const auto &found = *static_cast<c10::intrusive_ptr<c10d::Store> *>(store);
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_index));
    c10::intrusive_ptr<c10d::Backend> made = c10::make_intrusive<c10d::ProcessGroupNCCL>(found, rank, size, options);
    *backend = new c10::intrusive_ptr<c10d::Backend>(std::move(made));
  });
}
