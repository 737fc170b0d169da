// Pinned host memory, and the copies to and from it that have not ended.
//
// A copy without waiting reads its pinned source some time before the next wait, and writes its pinned target
// as late. So the source must not change until then, which a checksum finds out, and the target keeps NaN
// until then, so that a program that reads too early gets nonsense every time.
#pragma once

#include "streams.h"

#include <c10/core/Allocator.h>

#include <cstdlib>
#include <cstring>

namespace rehearsal {

class Pinned {
public:
  void *take(size_t size) {
    Lock lock(bookkeeping());
    void *p = aligned_alloc(512, (size + 511) / 512 * 512 + 512);
    TORCH_CHECK(p, "CUDA error: out of memory");
    blocks_[static_cast<char *>(p)] = size;
    return p;
  }

  void give(void *p) {
    Lock lock(bookkeeping());
    auto found = blocks_.find(static_cast<char *>(p));
    // libtorch's own allocator keeps a freed block until the copies from it have ended: not a mistake.
    drop(found->first, found->second);
    blocks_.erase(found);
    free(p);
  }

  bool has(const void *p) {
    Lock lock(bookkeeping());
    auto after = blocks_.upper_bound(static_cast<char *>(const_cast<void *>(p)));
    if (after == blocks_.begin())
      return false;
    --after;
    return p < after->first + std::max<size_t>(after->second, 1);
  }

  // A copy from pinned memory to the device is under way.
  void send(const void *from, size_t size, const Launch &launch) {
    Lock lock(bookkeeping());
    auto *bytes = static_cast<const char *>(from);
    sent_.push_back({bytes, size, checksum(bytes, size), launch});
  }

  // A copy from the device is: `bytes` appear at `to` with the next wait for it.
  void fetch(char *to, const char *bytes, size_t size, const Launch &launch) {
    Lock lock(bookkeeping());
    due_.push_back({to, std::vector<char>(bytes, bytes + size), launch});
    memset(to, 0xFF, size);
  }

  // Ends what the host has waited for.
  void settle(const Clock &known) {
    Lock lock(bookkeeping());
    std::erase_if(sent_, [&](const Sent &copy) {
      if (!knows(known, copy.launch))
        return false;
      check(copy);
      return true;
    });
    std::erase_if(due_, [&](const Due &copy) {
      if (!knows(known, copy.launch))
        return false;
      memcpy(copy.to, copy.bytes.data(), copy.bytes.size());
      return true;
    });
  }

  // What is never waited for is looked at when the process ends.
  void check_all() {
    Lock lock(bookkeeping());
    for (const auto &copy : sent_)
      check(copy);
  }

private:
  struct Sent {
    const char *from;
    size_t size;
    uint64_t checksum;
    Launch launch;
  };
  struct Due {
    char *to;
    std::vector<char> bytes;
    Launch launch;
  };

  static uint64_t checksum(const char *p, size_t size) {
    // FNV-1a over words.
    uint64_t sum = 1469598103934665603ull;
    for (size_t i = 0; i < size; i += 8) {
      uint64_t word = 0;
      memcpy(&word, p + i, std::min<size_t>(8, size - i));
      sum = (sum ^ word) * 1099511628211ull;
    }
    return sum;
  }

  static void check(const Sent &copy) {
    if (checksum(copy.from, copy.size) != copy.checksum)
      statistics().problem("pinned memory was written while a copy from it to the device was under way");
  }

  void drop(const char *begin, size_t size) {
    auto inside = [&](const char *p) { return p >= begin && p < begin + std::max<size_t>(size, 1); };
    std::erase_if(sent_, [&](const Sent &copy) {
      if (inside(copy.from))
        check(copy);
      return inside(copy.from);
    });
    std::erase_if(due_, [&](const Due &copy) { return inside(copy.to); });
  }

  std::map<char *, size_t> blocks_;
  std::vector<Sent> sent_;
  std::vector<Due> due_;
};

inline Pinned &pinned() {
  static auto *pinned = new Pinned;
  return *pinned;
}

inline void give_pinned_memory(void *p) {
  if (p)
    pinned().give(p);
}

struct PinnedAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    void *p = pinned().take(size);
    return {p, p, &give_pinned_memory, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_pinned_memory; }
  void copy_data(void *to, const void *from, size_t size) const override { memcpy(to, from, size); }
};

inline PinnedAllocator &pinned_allocator() {
  static auto *allocator = new PinnedAllocator;
  return *allocator;
}

// The host learns that work is done.
inline void host_knows(const Clock &clock) {
  Lock lock(bookkeeping());
  streams().host_waits(clock);
  pinned().settle(streams().known_to_host());
}

// It waits for it, which is counted.
inline void host_waits(const Clock &clock, const std::string &what, uint64_t bytes = 0) {
  statistics().event(Event::wait, what, bytes);
  host_knows(clock);
}

inline void host_waits_for_stream(const c10::Stream &stream, const std::string &what, uint64_t bytes = 0) {
  Lock lock(bookkeeping());
  Clock clock = streams().known_to(streams().number(stream));
  host_waits(clock, what, bytes);
}

} // namespace rehearsal
