// What libtorch asks a CUDA runtime: devices, streams, events, generators.
#include "runtime.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Generator.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace rehearsal {
namespace {

void host_waits_for_all() { host_waits(streams().known_to_all(), "synchronize the device"); }

// libtorch's words for a driver that is too old (c10/cuda/CUDAFunctions.cpp); it then counts no device.
int count_devices() {
  if (settings().old_driver) {
    TORCH_WARN_ONCE("CUDA initialization: The NVIDIA driver on your system is too old (found version 12020). Please "
                    "update your GPU driver by downloading and installing a new version from the URL: "
                    "http://www.nvidia.com/Download/index.aspx Alternatively, go to: https://pytorch.org to install a "
                    "PyTorch version that has been compiled with your version of the CUDA driver.");
  }
  return device_count();
}

// With a DeviceGuard of its own a device gets its own thread in autograd, as a GPU does.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  using Device = c10::Device;
  using Stream = c10::Stream;

  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  Device exchangeDevice(Device device) const override {
    auto old = cuda(current_device());
    setDevice(device);
    return old;
  }
  Device getDevice() const override { return cuda(current_device()); }
  void setDevice(Device device) const override {
    check_device(device.index());
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(Device device) const noexcept override { current_device() = or_current(device.index()); }
  c10::DeviceIndex deviceCount() const noexcept override { return static_cast<c10::DeviceIndex>(count_devices()); }

  Stream getStream(Device device) const override { return streams().current(device.index()); }
  Stream getDefaultStream(Device device) const override {
    return Stream(Stream::DEFAULT, cuda(or_current(device.index())));
  }
  Stream getNewStream(Device device, int) const override { return streams().fresh(device); }
  Stream getStreamFromGlobalPool(Device device, bool) const override { return streams().fresh(device); }
  Stream exchangeStream(Stream stream) const override { return streams().exchange(stream); }

  // An event is how far its stream had come when it was recorded.
  void record(void **event, const Stream &stream, c10::DeviceIndex, c10::EventFlag) const override {
    Lock lock(bookkeeping());
    if (!*event)
      *event = new Clock;
    *static_cast<Clock *>(*event) = streams().known_to(streams().number(stream));
  }
  void block(void *event, const Stream &stream) const override {
    if (event)
      streams().wait(stream, *static_cast<Clock *>(event));
  }
  // Once a query has said that the work is done, the host may rely on it, as after a wait that took no time.
  bool queryEvent(void *event) const override {
    if (event)
      host_knows(*static_cast<Clock *>(event));
    return true;
  }
  bool queryStream(const Stream &stream) const override {
    Lock lock(bookkeeping());
    host_knows(Clock(streams().known_to(streams().number(stream))));
    return true;
  }
  void destroyEvent(void *event, c10::DeviceIndex) const noexcept override { delete static_cast<Clock *>(event); }
  void synchronizeStream(const Stream &stream) const override {
    host_waits_for_stream(stream, "synchronize a stream");
  }
  void synchronizeEvent(void *event) const override {
    if (event)
      host_waits(*static_cast<Clock *>(event), "synchronize an event");
  }
  void synchronizeDevice(c10::DeviceIndex) const override { host_waits_for_all(); }
  void recordDataPtrOnStream(const c10::DataPtr &data, const Stream &stream) const override {
    allocator().recordStream(data, stream);
  }
  double elapsedTime(void *, void *, c10::DeviceIndex) const override { return 0; }
};

// Kernels run on the CPU and draw from its generator, so this one only keeps its seed. With the same seed a
// program gets the numbers of a run on the CPU.
struct Generator final : c10::GeneratorImpl {
  explicit Generator(c10::DeviceIndex index)
      : c10::GeneratorImpl(cuda(index), c10::DispatchKeySet(c10::DispatchKey::CUDA)) {}
  void set_current_seed(uint64_t seed) override {
    seed_ = seed;
    if (device().index() == 0)
      statistics().begin_phase();
  }
  uint64_t current_seed() const override { return seed_; }
  uint64_t seed() override { return seed_; }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  void set_state(const c10::TensorImpl &) override { TORCH_CHECK(false, "rehearsal: a generator has no state"); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    TORCH_CHECK(false, "rehearsal: a generator has no state");
  }
  Generator *clone_impl() const override { return new Generator(device().index()); }

private:
  uint64_t seed_ = c10::detail::getNonDeterministicRandom();
};

const at::Generator &default_generator(c10::DeviceIndex index) {
  static auto *generators = [] {
    auto *all = new std::vector<at::Generator>;
    for (int i = 0; i < device_count(); ++i)
      all->push_back(at::Generator(c10::make_intrusive<Generator>(static_cast<c10::DeviceIndex>(i))));
    return all;
  }();
  check_device(index);
  return generators->at(or_current(index));
}

} // namespace

void write_statistics() {
  pinned().check_all();
  std::vector<uint64_t> peaks;
  for (auto *heap : heaps())
    peaks.push_back(heap->peak());
  statistics().write(peaks);
}

} // namespace rehearsal

namespace at {

// The name under which libtorch looks for it.
struct RehearsalHooks final : CUDAHooksInterface {
  explicit RehearsalHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return deviceCount() > 0; }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasCuDNN() const override { return true; }
  bool compiledWithCuDNN() const override { return true; }
  bool hasPrimaryContext(DeviceIndex index) const override { return index < rehearsal::device_count(); }
  DeviceIndex deviceCount() const override { return static_cast<DeviceIndex>(rehearsal::count_devices()); }
  int getNumGPUs() const override { return deviceCount(); }
  DeviceIndex current_device() const override { return rehearsal::current_device(); }
  DeviceIndex getCurrentDevice() const override { return rehearsal::current_device(); }
  void setCurrentDevice(DeviceIndex index) const override {
    rehearsal::check_device(index);
    rehearsal::current_device() = index;
  }
  DeviceIndex exchangeDevice(DeviceIndex index) const override {
    auto old = rehearsal::current_device();
    setCurrentDevice(index);
    return old;
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override { return exchangeDevice(index); }
  const Generator &getDefaultGenerator(DeviceIndex index) const override {
    return rehearsal::default_generator(index);
  }
  Generator getNewGenerator(DeviceIndex index) const override {
    return Generator(c10::make_intrusive<rehearsal::Generator>(rehearsal::or_current(index)));
  }
  bool isPinnedPtr(const void *p) const override { return rehearsal::pinned().has(p); }
  Allocator *getPinnedMemoryAllocator() const override { return &rehearsal::pinned_allocator(); }
  Allocator *getCUDADeviceAllocator() const override { return &rehearsal::allocator(); }
  Device getDeviceFromPtr(void *p) const override {
    auto *heap = rehearsal::heap_of(p);
    TORCH_CHECK(heap, "The specified pointer resides on host memory and is not registered with any CUDA device.");
    return rehearsal::cuda(heap->index());
  }
  long versionCuDNN() const override { return 91900; }
  long versionRuntimeCuDNN() const override { return 91900; }
  long versionCUDART() const override { return 13000; }
  std::string showConfig() const override { return "rehearsal device"; }
  void deviceSynchronize(DeviceIndex) const override { rehearsal::host_waits_for_all(); }
};

using at::CUDAHooksRegistry;
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, RehearsalHooks)

} // namespace at

namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, rehearsal::Guard)
} // namespace c10::impl
