// What tch cannot express: the order of streams, and a device pointer that the host follows. Each check is
// named on the command line, and what the device thinks of it is in its statistics.
#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdio>
#include <cstring>
#include <dlfcn.h>

namespace {

const c10::Device device(c10::DeviceType::CUDA, 0);

c10::Stream other_stream() { return c10::impl::VirtualGuardImpl(device.type()).getNewStream(device); }

at::Tensor pinned(double value) {
  return at::full({256}, value, at::TensorOptions().pinned_memory(true));
}

// A batch uploaded on a stream of its own, and used on the default stream.
bool upload(bool wait) {
  auto host = pinned(3);
  auto copies = other_stream();
  c10::Event arrived(device.type());
  at::Tensor there;
  {
    c10::StreamGuard guard(copies);
    there = host.to(device, /*non_blocking=*/true);
    arrived.record(copies);
  }
  auto compute = at::accelerator::getCurrentStream(device.index());
  if (wait)
    arrived.block(compute);
  there.record_stream(compute);
  return there.mul(2).sum().item<float>() == 6 * 256;
}

// Memory of the copy stream that is freed while the default stream still reads it.
bool free_early(bool record) {
  auto copies = other_stream();
  auto compute = at::accelerator::getCurrentStream(device.index());
  c10::Event arrived(device.type());
  at::Tensor there;
  {
    c10::StreamGuard guard(copies);
    there = at::full({256}, 1., at::TensorOptions().device(device));
    arrived.record(copies);
  }
  arrived.block(compute);
  auto sum = there.sum();
  if (record)
    there.record_stream(compute);
  there.reset();
  return sum.item<float>() == 256;
}

// The upload's target is overwritten while the default stream may still read it.
bool overwrite(bool wait) {
  auto there = at::full({256}, 1., at::TensorOptions().device(device));
  auto host = pinned(3);
  auto copies = other_stream();
  auto compute = at::accelerator::getCurrentStream(device.index());
  auto sum = there.sum();
  if (wait) {
    c10::Event used(device.type());
    used.record(compute);
    used.block(copies);
  }
  {
    c10::StreamGuard guard(copies);
    there.copy_(host, /*non_blocking=*/true);
  }
  copies.synchronize();
  return sum.item<float>() == 256 && there.sum().item<float>() == 3 * 256;
}

// Results that are fetched without waiting, and read after a wait for an event, or for the wrong stream.
bool fetch(bool right) {
  auto copies = other_stream();
  auto host = pinned(0);
  auto there = at::full({256}, 5., at::TensorOptions().device(device));
  host.copy_(there, /*non_blocking=*/true);
  c10::Event fetched(device.type());
  fetched.record(at::accelerator::getCurrentStream(device.index()));
  if (right)
    fetched.synchronize();
  else
    copies.synchronize();
  bool arrived = host.sum().item<float>() == 5 * 256;
  return arrived == right;
}

bool no_device(bool) { return at::accelerator::deviceCount() == 0; }

// A kernel of the host that is handed memory of the device.
bool follow_pointer(bool) {
  auto there = at::full({256}, 5., at::TensorOptions().device(device));
  return there.const_data_ptr<float>()[0] == 5;
}

} // namespace

int main(int count, char **arguments) {
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL)) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  const struct {
    const char *name;
    bool (*check)(bool);
    bool right;
  } checks[] = {
      {"upload", upload, true},         {"upload_without_wait", upload, false},
      {"free", free_early, true},       {"free_without_record", free_early, false},
      {"overwrite", overwrite, true},   {"overwrite_without_wait", overwrite, false},
      {"fetch", fetch, true},           {"fetch_and_wait_for_another", fetch, false},
      {"no_device", no_device, true},
      {"follow_pointer", follow_pointer, true},
  };
  for (const auto &check : checks)
    if (count == 2 && !strcmp(arguments[1], check.name)) {
      bool right = check.check(check.right);
      puts(right ? "right" : "wrong");
      return right ? 0 : 1;
    }
  fprintf(stderr, "no such check\n");
  return 2;
}
