// Copies between host and device that no thread waits for, by way of pinned memory.
#include "shim.h"
#include "guard.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <mutex>
#include <vector>

namespace {

// The device's copy engine reads and writes pinned memory on its own. From pageable memory libtorch
// would copy while the host waits, and everything queued before with it.
at::Tensor in_pinned_memory(const at::Tensor &tensor) {
  return tensor.is_pinned() ? tensor : tensor.pin_memory();
}

// A stream for copies that run beside the computation; the same one for all batches, so that the
// caching allocator can reuse their memory.
c10::Stream copy_stream(const c10::impl::VirtualGuardImpl &streams, c10::Device device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::Stream> of_device;
  std::lock_guard<std::mutex> lock(mutex);
  auto found = of_device.find(device.index());
  if (found == of_device.end())
    found = of_device.emplace(device.index(), streams.getStreamFromGlobalPool(device, false)).first;
  return found->second;
}

} // namespace

char *shim_pin(tensor source, tensor *out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    *out = new at::Tensor(in_pinned_memory(*source));
  });
}

char *shim_host_bytes(int64_t length, int pinned, tensor *out) {
  return guarded([&] {
    *out = new at::Tensor(
        at::empty({length}, at::TensorOptions().dtype(at::kByte).pinned_memory(pinned != 0)));
  });
}

char *shim_upload(tensor source, int device_index, tensor *out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(device_index));
    *out = new at::Tensor(in_pinned_memory(*source).to(device, /*non_blocking=*/true));
  });
}

char *shim_upload_ahead(size_t n, tensor *sources, int device_index, tensor *out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(device_index));
    c10::impl::VirtualGuardImpl streams(device.type());
    auto compute = streams.getStream(device), copies = copy_stream(streams, device);
    std::vector<at::Tensor> sent;
    {
      c10::StreamGuard guard(copies);
      for (size_t i = 0; i < n; ++i)
        sent.push_back(in_pinned_memory(*sources[i]).to(device, /*non_blocking=*/true));
      c10::Event done(device.type());
      done.record(copies);
      // What is queued from now on waits for the copies; what was queued before runs beside them.
      done.block(compute);
    }
    for (size_t i = 0; i < n; ++i) {
      // Allocated on the stream of the copies, so that stream's allocator must know of the other use.
      if (sent[i].numel() > 0)
        sent[i].record_stream(compute);
      out[i] = new at::Tensor(std::move(sent[i]));
    }
  });
}

char *shim_download(size_t n, tensor *sources, tensor *out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> fetched;
    std::optional<c10::Device> device;
    for (size_t i = 0; i < n; ++i) {
      const auto &source = *sources[i];
      auto on_device = !source.device().is_cpu();
      auto copy = at::empty_like(source, source.options().device(at::kCPU).pinned_memory(on_device));
      copy.copy_(source, /*non_blocking=*/on_device);
      if (on_device)
        device = source.device();
      fetched.push_back(std::move(copy));
    }
    if (device)
      c10::impl::VirtualGuardImpl(device->type()).getStream(*device).synchronize();
    for (size_t i = 0; i < n; ++i)
      out[i] = new at::Tensor(std::move(fetched[i]));
  });
}
