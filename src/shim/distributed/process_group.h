// What the parts of data parallel share.
#pragma once
#include "distributed.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <mutex>

struct shim_store {
  c10::intrusive_ptr<c10d::TCPStore> store;
};

// c10d's, whose pending operations can be given up.
class GlooBackend : public c10d::ProcessGroupGloo {
public:
  using ProcessGroupGloo::ProcessGroupGloo;

  // Its destructor would wait for them, up to the timeout of the group.
  void give_up() {
    {
      std::lock_guard<std::mutex> lock(workMutex_);
      bool idle = workQueue_.empty();
      for (const auto &work : workInProgress_)
        idle = idle && !work.defined();
      if (idle)
        return;
    }
    for (auto &context : contexts_)
      context->closeConnections();
  }
};

// Shared by its handle and the reducers on it.
struct Group {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  c10::intrusive_ptr<GlooBackend> gloo;
  // c10d numbers operations in the order of their start, without a lock of its own.
  std::mutex start;

  ~Group() {
    try {
      if (gloo)
        gloo->give_up();
    } catch (...) {
      // A connection that cannot be closed is broken already.
    }
  }
};

struct shim_group {
  std::shared_ptr<Group> shared;
};
