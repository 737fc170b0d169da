// The order of work on a device: streams, events, what the host knows to be done.
//
// Kernels run at once, in the order in which the program launches them, which is one of the orders that a
// GPU may choose. Whether the program forces that order is decided by vector clocks: a stream counts its
// launches, an event remembers how far its stream and all that this has waited for had come, and a wait
// adds what the event remembers to what the waiting stream (or the host) knows. Two uses of the same memory
// of which one writes must be ordered by what the second stream knows; otherwise the program is at the mercy
// of the GPU's timing, and that is a problem even if its numbers are right today.
#pragma once

#include "settings.h"
#include "statistics.h"

#include <c10/core/Stream.h>
#include <c10/util/Exception.h>

#include <map>
#include <vector>

namespace rehearsal {

// How far each stream had come, by its number.
using Clock = std::vector<uint64_t>;

inline void merge(Clock &into, const Clock &from) {
  if (into.size() < from.size())
    into.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    into[i] = std::max(into[i], from[i]);
}

// A launch: the number of its stream, and its place there (from 1).
struct Launch {
  size_t stream = 0;
  uint64_t tick = 0;
};

inline bool knows(const Clock &clock, const Launch &launch) {
  return launch.tick == 0 || (launch.stream < clock.size() && clock[launch.stream] >= launch.tick);
}

inline c10::Device cuda(c10::DeviceIndex index) { return {c10::DeviceType::CUDA, index}; }

inline int device_count() { return settings().old_driver ? 0 : static_cast<int>(settings().devices); }

inline void check_device(c10::DeviceIndex index) {
  // The runtime's own words. -1 is the current device.
  TORCH_CHECK(index < device_count(), "CUDA error: invalid device ordinal");
}

// The device of this thread, as the CUDA runtime keeps it.
inline c10::DeviceIndex &current_device() {
  static thread_local c10::DeviceIndex index = 0;
  return index;
}

inline c10::DeviceIndex or_current(c10::DeviceIndex index) { return index < 0 ? current_device() : index; }

class Streams {
public:
  // Number of a stream; the default streams come first.
  size_t number(const c10::Stream &stream) const {
    return stream.id() == 0 ? static_cast<size_t>(stream.device_index()) : static_cast<size_t>(stream.id());
  }

  c10::Stream fresh(c10::Device device) {
    Lock lock(bookkeeping());
    clocks_.emplace_back();
    return c10::Stream(c10::Stream::UNSAFE, cuda(or_current(device.index())),
                       static_cast<c10::StreamId>(clocks_.size() - 1));
  }

  c10::Stream current(c10::DeviceIndex index) {
    const auto &streams = of_thread();
    auto found = streams.find(or_current(index));
    return found != streams.end() ? found->second : c10::Stream(c10::Stream::DEFAULT, cuda(or_current(index)));
  }

  c10::Stream exchange(c10::Stream stream) {
    auto old = current(stream.device_index());
    of_thread().insert_or_assign(stream.device_index(), stream);
    return old;
  }

  // A kernel or copy on the current stream of a device.
  Launch launch(c10::DeviceIndex index) {
    Lock lock(bookkeeping());
    size_t stream = number(current(index));
    auto &clock = clocks_[stream];
    if (clock.size() <= stream)
      clock.resize(stream + 1);
    return {stream, ++clock[stream]};
  }

  const Clock &known_to(size_t stream) const { return clocks_[stream]; }
  const Clock &known_to_host() const { return host_; }

  // A stream waits for all that `clock` stands for.
  void wait(const c10::Stream &stream, const Clock &clock) {
    Lock lock(bookkeeping());
    merge(clocks_[number(stream)], clock);
  }

  // The host does. Whatever it launches from now on comes later.
  void host_waits(const Clock &clock) {
    Lock lock(bookkeeping());
    merge(host_, clock);
    for (auto &own : clocks_)
      merge(own, clock);
  }

  std::string shown(size_t stream) const {
    return stream < static_cast<size_t>(device_count()) ? "the default stream of cuda:" + std::to_string(stream)
                                                        : "stream " + std::to_string(stream);
  }

  // All that was ever launched, on any device: only a program that keeps two devices busy at a time could
  // tell the difference.
  Clock known_to_all() {
    Lock lock(bookkeeping());
    Clock all;
    for (const auto &clock : clocks_)
      merge(all, clock);
    return all;
  }

private:
  static std::map<c10::DeviceIndex, c10::Stream> &of_thread() {
    static thread_local std::map<c10::DeviceIndex, c10::Stream> streams;
    return streams;
  }

  std::vector<Clock> clocks_ = std::vector<Clock>(std::max(device_count(), 1));
  Clock host_;
};

inline Streams &streams() {
  static auto *streams = new Streams;
  return *streams;
}

} // namespace rehearsal
