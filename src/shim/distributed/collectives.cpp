// The store and the collectives of data parallel.
#include "process_group.h"

#include <c10/util/env.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <iostream>
#include <mutex>

namespace {

using std::chrono::milliseconds;

// Gloo reports its connections on standard output, which belongs to the program's results.
class QuietOutput {
public:
  QuietOutput() { std::cout.setstate(std::ios_base::failbit); }
  ~QuietOutput() { std::cout.clear(); }
};

// c10d logs a broken connection as a warning with a stack trace; the caller gets the error. PyTorch's variable brings
// the warnings back.
void log_errors_only() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!getenv("TORCH_CPP_LOG_LEVEL"))
      FLAGS_caffe2_log_level = c10::GLOG_ERROR;
  });
}

c10::intrusive_ptr<c10d::TCPStore> connect(const std::string &host, const c10d::TCPStoreOptions &options) {
  log_errors_only();
  return c10::make_intrusive<c10d::TCPStore>(host, options);
}

// The store under a prefix, by a connection of its own: while a rank waits for others there, it can use the store elsewhere.
c10::intrusive_ptr<c10d::Store> own_connection(shim_store *store, const char *prefix, milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = store->store->getPort();
  options.waitWorkers = false;
  options.timeout = timeout;
  return c10::make_intrusive<c10d::PrefixStore>(prefix, connect(store->store->getHost(), options));
}

// c10d keeps a record of operations for a debugger that we do not have, and crashes if two groups of a process
// add to it at the same time.
void without_flight_recorder() {
  static std::once_flag once;
  std::call_once(once, [] { c10::utils::set_env("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/false); });
}

void sum(Group &group, at::Tensor tensor) {
  std::vector<at::Tensor> tensors{std::move(tensor)};
  c10::intrusive_ptr<c10d::Work> work;
  {
    auto lock = group.next();
    work = group.group->allreduce(tensors);
  }
  work->wait();
}

std::vector<at::Tensor> detached(size_t n, tensor *tensors) {
  std::vector<at::Tensor> values;
  values.reserve(n);
  for (size_t i = 0; i < n; ++i)
    values.push_back(tensors[i]->detach());
  return values;
}

} // namespace

struct shim_pending {
  std::shared_ptr<Group> group;
  c10::intrusive_ptr<c10d::Work> work;
};

char *shim_store_connect(const char *host, int port, int server, int listener, int64_t timeout_ms, int *port_out,
                         shim_store **out) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = server != 0;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    if (listener >= 0)
      options.masterListenFd = listener;
    auto store = connect(host, options);
    *port_out = store->getPort();
    *out = new shim_store{std::move(store)};
  });
}

char *shim_store_set(shim_store *store, const char *key, const uint8_t *value, size_t length) {
  return guarded([&] { store->store->set(key, std::vector<uint8_t>(value, value + length)); });
}

char *shim_store_get(shim_store *store, const char *key, int64_t timeout_ms, char **value, size_t *length) {
  return guarded([&] {
    store->store->wait({key}, milliseconds(timeout_ms));
    auto bytes = store->store->get(key);
    // Not null, also if empty.
    auto *copy = static_cast<char *>(malloc(bytes.size() + 1));
    TORCH_CHECK(copy, "out of memory for a value of ", bytes.size(), " bytes");
    if (!bytes.empty())
      memcpy(copy, bytes.data(), bytes.size());
    *value = copy;
    *length = bytes.size();
  });
}

char *shim_store_has(shim_store *store, const char *key, int *has) {
  return guarded([&] { *has = store->store->check({key}); });
}

char *shim_store_add(shim_store *store, const char *key, int64_t amount, int64_t *sum) {
  return guarded([&] { *sum = store->store->add(key, amount); });
}

void shim_store_free(shim_store *store) { delete store; }

char *shim_group_gloo(shim_store *store, const char *prefix, int rank, int size, int64_t timeout_ms,
                      const char *host_or_null, shim_group **out) {
  return guarded([&] {
    QuietOutput quiet;
    milliseconds timeout(timeout_ms);
    auto options = host_or_null ? c10d::ProcessGroupGloo::Options::create(timeout)
                                : c10d::ProcessGroupGloo::Options::create_default(timeout);
    if (host_or_null)
      options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(host_or_null));
    without_flight_recorder();
    auto own = own_connection(store, prefix, timeout);
    auto shared = std::make_shared<Group>();
    shared->gloo = c10::make_intrusive<GlooBackend>(own, rank, size, options);
    shared->group = c10::make_intrusive<c10d::ProcessGroup>(own, rank, size);
    for (auto device : {c10::DeviceType::CPU, c10::DeviceType::CUDA})
      shared->group->setBackend(device, c10d::ProcessGroup::BackendType::GLOO, shared->gloo);
    shared->group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
    // Connected on one side is not yet connected on the other: a rank that is done and leaves would be missing there.
    sum(*shared, at::zeros({1}));
    *out = new shim_group{std::move(shared)};
  });
}

char *shim_group_add_cuda(shim_group *group, shim_store *store, const char *prefix, int64_t timeout_ms,
                          shim_backend make, int device_index) {
  return group->shared->communicate([&] {
    QuietOutput quiet;
    auto &shared = *group->shared;
    auto own = own_connection(store, prefix, milliseconds(timeout_ms));
    void *made = nullptr;
    if (char *message = make(&own, shared.group->getRank(), shared.group->getSize(), timeout_ms, device_index, &made)) {
      std::string text = message;
      shim_free(message);
      TORCH_CHECK(false, text);
    }
    std::unique_ptr<c10::intrusive_ptr<c10d::Backend>> backend(static_cast<c10::intrusive_ptr<c10d::Backend> *>(made));
    shared.nccl = *backend;
    shared.group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, shared.nccl);
    // Connects the ranks' devices, so that a failure shows here.
    auto ones = at::ones({1}, c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device_index)));
    sum(shared, ones);
    auto ranks = ones.item<float>();
    TORCH_CHECK(ranks == shared.group->getSize(), "NCCL sums 1 over ", shared.group->getSize(), " ranks to ", ranks);
  });
}

char *shim_start_all_reduce(shim_group *group, tensor value, int op, shim_pending **out) {
  return group->shared->communicate([&] {
    auto tensors = detached(1, &value);
    c10d::AllreduceOptions options;
    options.reduceOp = op == 0 ? c10d::ReduceOp::SUM : c10d::ReduceOp::MAX;
    auto lock = group->shared->next();
    *out = new shim_pending{group->shared, group->shared->group->allreduce(tensors, options)};
  });
}

char *shim_wait(shim_pending *pending) {
  std::unique_ptr<shim_pending> owner(pending);
  return pending->group->communicate([&] { pending->work->wait(); });
}

void shim_pending_free(shim_pending *pending) { delete pending; }

char *shim_broadcast(shim_group *group, size_t n, tensor *tensors, int root) {
  return group->shared->communicate([&] {
    at::NoGradGuard no_grad;
    auto lock = group->shared->next();
    c10d::broadcast_coalesced(group->shared->group, detached(n, tensors), 250 << 20, root);
  });
}

char *shim_all_gather(shim_group *group, tensor input, size_t n, tensor *outputs) {
  return group->shared->communicate([&] {
    std::vector<std::vector<at::Tensor>> to{detached(n, outputs)};
    auto from = detached(1, &input);
    c10::intrusive_ptr<c10d::Work> work;
    {
      auto lock = group->shared->next();
      work = group->shared->group->allgather(to, from);
    }
    work->wait();
  });
}

char *shim_gather(shim_group *group, tensor input, size_t n, tensor *outputs, int root) {
  return group->shared->communicate([&] {
    std::vector<std::vector<at::Tensor>> to;
    if (n != 0)
      to.push_back(detached(n, outputs));
    auto from = detached(1, &input);
    c10d::GatherOptions options;
    options.rootRank = root;
    c10::intrusive_ptr<c10d::Work> work;
    {
      auto lock = group->shared->next();
      work = group->shared->group->gather(to, from, options);
    }
    work->wait();
  });
}

char *shim_verify_parameters(shim_group *group, size_t n, tensor *tensors) {
  return group->shared->communicate([&] {
    auto lock = group->shared->next();
    c10d::verify_params_across_processes(group->shared->group, detached(n, tensors), std::nullopt);
  });
}

char *shim_group_abandon(shim_group *group) {
  return guarded([&] { group->shared->abandon(); });
}

void shim_group_free(shim_group *group) { delete group; }
