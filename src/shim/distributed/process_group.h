// What the parts of data parallel share.
#pragma once
#include "../guard.h"
#include "distributed.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <atomic>
#include <mutex>

struct shim_store {
  c10::intrusive_ptr<c10d::TCPStore> store;
};

// c10d's, whose pending operations can be given up.
class GlooBackend : public c10d::ProcessGroupGloo {
public:
  using ProcessGroupGloo::ProcessGroupGloo;

  bool idle() {
    std::lock_guard<std::mutex> lock(workMutex_);
    bool idle = workQueue_.empty();
    for (const auto &work : workInProgress_)
      idle = idle && !work.defined();
    return idle;
  }

  // Operations that run and those to come fail, here and for the other ranks.
  void close() {
    if (getSize() == 1)
      return;
    // A wait that times out ends all others on the same connections. Operations of one tag share them.
    for (size_t tag = 0; tag < contexts_.size(); ++tag) {
      try {
        std::vector<at::Tensor> never{at::empty({1}, at::kByte)};
        recv(never, getRank() == 0 ? 1 : 0, static_cast<int>(tag))->wait(std::chrono::milliseconds(1));
      } catch (const std::exception &) {
      }
    }
  }
};

// Shared by its handle and the reducers on it.
struct Group {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  c10::intrusive_ptr<GlooBackend> gloo;
  // Null without CUDA.
  c10::intrusive_ptr<c10d::Backend> nccl;
  // c10d numbers operations in the order of their start, without a lock of its own.
  std::mutex start;
  // Whether an operation has failed.
  std::atomic<bool> broken{false};
  // Whether this rank has left.
  std::atomic<bool> abandoned{false};

  // What `guarded` does, noting a failure.
  template <typename F> char *communicate(F body) {
    char *message = guarded(body);
    if (message)
      broken = true;
    return message;
  }

  // For the start of an operation.
  std::unique_lock<std::mutex> next() {
    TORCH_CHECK(!abandoned, "this rank has left the group");
    return std::unique_lock<std::mutex>(start);
  }

  void abandon() {
    abandoned = true;
    broken = true;
    if (nccl)
      nccl->abort();
    gloo->close();
  }

  ~Group() {
    try {
      // NCCL serves its peers until all have what they need, which those of a broken group never will.
      if (nccl && broken)
        nccl->abort();
      else if (nccl)
        nccl->shutdown();
    } catch (...) {
      // Its own destructor ends what is left.
    }
    try {
      // Its destructor would wait for operations, up to the timeout of the group.
      if (gloo && !gloo->idle())
        gloo->close();
    } catch (...) {
      // Then it waits.
    }
  }
};

struct shim_group {
  std::shared_ptr<Group> shared;
};
