// What stands in for NCCL: ranks, each a process with a device of its own here, exchange the bytes of their devices by
// Gloo. As with NCCL an operation is queued on a stream of its own, behind what the program has queued so far, and the
// program's stream may use the result once it waits for that. The host does not wait for the device.
//
// A translation unit of its own: c10d's headers take as long to compile as the rest of the device.
#include "runtime.h"

#include <c10/core/StreamGuard.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "distributed/process_group.h"

namespace rehearsal {
namespace {

using Tensors = std::vector<at::Tensor>;
using Future = c10::ivalue::Future;

class Communication final : public c10d::Work {
public:
  Communication(c10::intrusive_ptr<c10d::Work> exchange, c10::intrusive_ptr<Future> future, c10::DeviceIndex index,
                Clock end)
      : exchange_(std::move(exchange)), future_(std::move(future)), index_(index), end_(std::move(end)) {}

  bool isCompleted() override { return exchange_->isCompleted(); }
  bool isSuccess() const override { return exchange_->isSuccess(); }
  void synchronize() override { wait(); }
  // Kernels run when they are launched, so that the bytes must be there; on a GPU this takes no time of the host.
  bool wait(std::chrono::milliseconds timeout = kNoTimeout) override {
    exchange_->wait(timeout);
    streams().wait(streams().current(index_), end_);
    return true;
  }
  c10::intrusive_ptr<Future> getFuture() override { return future_; }

private:
  c10::intrusive_ptr<c10d::Work> exchange_;
  c10::intrusive_ptr<Future> future_;
  c10::DeviceIndex index_;
  // How far its stream had come with the operation.
  Clock end_;
};

at::Tensor on_host(const at::Tensor &tensor) {
  TORCH_CHECK(tensor.is_contiguous(), "Tensors must be contiguous");
  return at::from_blob(host_view(tensor.data_ptr()), tensor.sizes(), tensor.options().device(at::kCPU));
}

class Nccl final : public c10d::Backend {
public:
  Nccl(int rank, int size, c10::DeviceIndex index, c10::intrusive_ptr<GlooBackend> gloo)
      : Backend(rank, size), index_(index), stream_(streams().fresh(cuda(index))), gloo_(std::move(gloo)) {}

  const std::string getBackendName() const override { return "nccl"; }
  void abort() override { gloo_->close(); }

  c10::intrusive_ptr<c10d::Work> allreduce(Tensors &tensors, const c10d::AllreduceOptions &options) override {
    return start("nccl:all_reduce", tensors, tensors, [&] {
      Tensors bytes{on_host(tensors[0])};
      return gloo_->allreduce(bytes, options);
    });
  }

  c10::intrusive_ptr<c10d::Work> broadcast(Tensors &tensors, const c10d::BroadcastOptions &options) override {
    bool root = getRank() == options.rootRank;
    return start("nccl:broadcast", root ? tensors : Tensors{}, root ? Tensors{} : tensors, [&] {
      Tensors bytes{on_host(tensors[0])};
      return gloo_->broadcast(bytes, options);
    });
  }

  c10::intrusive_ptr<c10d::Work> allgather(std::vector<Tensors> &outputs, Tensors &inputs,
                                           const c10d::AllgatherOptions &options) override {
    return start("nccl:all_gather", inputs, outputs[0], [&] {
      std::vector<Tensors> to(1);
      for (const auto &output : outputs[0])
        to[0].push_back(on_host(output));
      Tensors from{on_host(inputs[0])};
      return gloo_->allgather(to, from, options);
    });
  }

private:
  template <typename F>
  c10::intrusive_ptr<c10d::Work> start(const char *name, const Tensors &read, const Tensors &written, F exchange) {
    Tensors used = read;
    used.insert(used.end(), written.begin(), written.end());
    for (const auto &tensor : used)
      TORCH_CHECK(tensor.device() == cuda(index_), name, ": the group is for ", cuda(index_), ", not ", tensor.device());
    Clock end = queue(name, read, written);
    auto work = exchange();
    auto future = c10::make_intrusive<Future>(c10::ListType::create(c10::TensorType::get()),
                                              std::vector<c10::Device>{cuda(index_)});
    work->getFuture()->addCallback([future, used, written, stream = stream_](Future &done) {
      if (done.hasError())
        return future->setError(done.exception_ptr());
      c10::StreamGuard guard(stream);
      future->markCompleted(c10::IValue(written.empty() ? used : written));
    });
    return c10::make_intrusive<Communication>(std::move(work), std::move(future), index_, std::move(end));
  }

  // Launches the operation on the stream of its own; returns how far that has come then.
  Clock queue(const char *name, const Tensors &read, const Tensors &written) {
    Lock lock(bookkeeping());
    auto program = streams().current(index_);
    streams().wait(stream_, Clock(streams().known_to(streams().number(program))));
    streams().exchange(stream_);
    auto launch = streams().launch(index_);
    streams().exchange(program);
    statistics().launch(name);
    for (const auto &tensor : read)
      use(tensor.data_ptr(), launch, false, name);
    for (const auto &tensor : written)
      use(tensor.data_ptr(), launch, true, name);
    for (const auto *tensors : {&read, &written})
      for (const auto &tensor : *tensors)
        allocator().recordStream(tensor.storage().data_ptr(), stream_);
    return streams().known_to(streams().number(stream_));
  }

  c10::DeviceIndex index_;
  c10::Stream stream_;
  c10::intrusive_ptr<GlooBackend> gloo_;
};

} // namespace
} // namespace rehearsal

// The function of the shim's nccl/backend.cpp.
extern "C" char *sonotune_nccl_backend(void *store, int rank, int size, int64_t timeout_ms, int device_index,
                                       void **backend) {
  return guarded([&] {
    auto index = static_cast<c10::DeviceIndex>(device_index);
    rehearsal::check_device(index);
    auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(timeout_ms));
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    const auto &found = *static_cast<c10::intrusive_ptr<c10d::Store> *>(store);
    auto gloo = c10::make_intrusive<GlooBackend>(found, rank, size, options);
    c10::intrusive_ptr<c10d::Backend> made = c10::make_intrusive<rehearsal::Nccl>(rank, size, index, std::move(gloo));
    *backend = new c10::intrusive_ptr<c10d::Backend>(std::move(made));
  });
}
