// The devices' memory: an allocator over address space that the host may not touch.
//
// A device pointer lies in a reservation without permissions, so host code that follows one dies of SIGSEGV,
// as it would with a GPU. Kernels see the same bytes elsewhere, at `host_view(pointer)`. Fresh memory is
// filled with 0xFF (NaN, or -1), because a program that relies on zeros gets them often enough on a GPU, and
// not always.
#pragma once

#include "streams.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cstring>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

namespace rehearsal {

// A use of a block of memory by streams, for the order of Streams.
struct Uses {
  Launch write;
  std::map<size_t, uint64_t> reads;
};

struct Block {
  size_t size = 0;
  size_t asked = 0;
  // Number of the stream that it was allocated for.
  size_t stream = 0;
  Uses uses;
  // Streams for which the program has called record_stream.
  std::set<size_t> recorded;
};

class Heap {
public:
  explicit Heap(c10::DeviceIndex index) : index_(index), capacity_(static_cast<size_t>(settings().memory)) {
    space_ = reserve(PROT_NONE);
    view_ = reserve(PROT_READ | PROT_WRITE);
  }

  bool has(const void *p) const { return p >= space_ && p < space_ + capacity_; }
  void *view(const void *p) const { return view_ + (static_cast<const char *>(p) - space_); }
  c10::DeviceIndex index() const { return index_; }

  char *take(size_t asked) {
    Lock lock(bookkeeping());
    size_t size = (asked + 511) / 512 * 512;
    char *p = find(size);
    size_t stream = streams().number(streams().current(index_));
    blocks_[p] = {size, asked, stream, {}, {}};
    used_ += size;
    peak_ = std::max(peak_, used_);
    memset(view(p), 0xFF, asked);
    return p;
  }

  void give(char *p) {
    Lock lock(bookkeeping());
    auto found = blocks_.find(p);
    check_order_of_freeing(found->second);
    size_t size = found->second.size;
    blocks_.erase(found);
    used_ -= size;
    // Pages of large blocks go back to the system: a test should not need more memory than its tensors do.
    if (size >= (size_t(8) << 20))
      madvise(view(p), size, MADV_DONTNEED);
    put(p, size);
  }

  // The block that an address lies in.
  Block *block_of(const void *p) {
    auto after = blocks_.upper_bound(static_cast<char *>(const_cast<void *>(p)));
    if (after == blocks_.begin())
      return nullptr;
    --after;
    return p < after->first + after->second.size ? &after->second : nullptr;
  }

  // Gives memory that is not used back to the driver, as far as it lies at the end.
  void empty_cache() {
    Lock lock(bookkeeping());
    if (!free_.empty()) {
      auto last = std::prev(free_.end());
      if (last->first + last->second == space_ + reserved_) {
        reserved_ -= last->second;
        free_.erase(last);
      }
    }
  }

  size_t used() const { return used_; }
  size_t peak() const { return peak_; }
  size_t reserved() const { return reserved_; }
  size_t reserved_peak() const { return reserved_peak_; }
  size_t capacity() const { return capacity_; }
  void reset_peaks() { peak_ = used_, reserved_peak_ = reserved_; }
  // What the driver has left.
  size_t left() const {
    size_t taken = reserved_ + static_cast<size_t>(settings().held);
    return taken < capacity_ ? capacity_ - taken : 0;
  }

private:
  char *reserve(int permissions) const {
    void *p = mmap(nullptr, capacity_, permissions, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(p != MAP_FAILED, "rehearsal: cannot reserve ", capacity_, " bytes of address space: ", strerror(errno));
    return static_cast<char *>(p);
  }

  // First fit, so that the same program finds the same addresses.
  char *find(size_t size) {
    bool fragmented = settings().fragmented_from > 0 && statistics().phase() >= settings().fragmented_from;
    for (auto free = free_.begin(); free != free_.end() && !fragmented; ++free) {
      auto [p, length] = *free;
      if (length < size)
        continue;
      free_.erase(free);
      if (length > size)
        free_[p + size] = length - size;
      return p;
    }
    // As libtorch's allocator does before it gives up.
    if (size > left() && !fragmented)
      empty_cache();
    if (size > left())
      out_of_memory(size);
    char *p = space_ + reserved_;
    reserved_ += size;
    reserved_peak_ = std::max(reserved_peak_, reserved_);
    return p;
  }

  void put(char *p, size_t size) {
    auto after = free_.lower_bound(p);
    if (after != free_.end() && p + size == after->first) {
      size += after->second;
      after = free_.erase(after);
    }
    if (after != free_.begin()) {
      auto before = std::prev(after);
      if (before->first + before->second == p) {
        before->second += size;
        return;
      }
    }
    free_[p] = size;
  }

  // Reusing memory is ordered by the stream it was allocated for alone; others must have been announced, or
  // waited for.
  void check_order_of_freeing(const Block &block) {
    auto known = [&](const Launch &launch) {
      return launch.stream == block.stream || knows(streams().known_to(block.stream), launch) ||
             block.recorded.count(launch.stream);
    };
    bool ordered = known(block.uses.write);
    for (auto [stream, tick] : block.uses.reads)
      ordered = ordered && known({stream, tick});
    if (!ordered)
      statistics().problem("memory of " + streams().shown(block.stream) +
                           " was freed while another stream may still use it: record_stream, or a wait, is missing");
  }

  static std::string shown(size_t bytes) {
    static const char *units[] = {"bytes", "KiB", "MiB", "GiB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    for (; value >= 1024 && unit < 3; ++unit)
      value /= 1024;
    char text[64];
    snprintf(text, sizeof text, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
    return text;
  }

  // In the words of libtorch 2.11 (c10/cuda/CUDACachingAllocator.cpp).
  [[noreturn]] void out_of_memory(size_t size) {
    std::string others;
    if (settings().held > 0)
      others = "Process 4242 has " + shown(static_cast<size_t>(settings().held)) + " memory in use. ";
    TORCH_CHECK_WITH(
        OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", shown(size), ". GPU ", int(index_),
        " has a total capacity of ", shown(capacity_), " of which ", shown(left()), " is free. ", others,
        "Including non-PyTorch memory, this process has ", shown(reserved_), " memory in use. ", "Of the allocated memory ",
        shown(used_), " is allocated by PyTorch, and ", shown(reserved_ - used_),
        " is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting ",
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory "
        "Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-"
        "pytorch-cuda-alloc-conf)");
    abort();
  }

  c10::DeviceIndex index_;
  size_t capacity_;
  char *space_, *view_;
  std::map<char *, size_t> free_;
  std::map<char *, Block> blocks_;
  size_t used_ = 0, peak_ = 0, reserved_ = 0, reserved_peak_ = 0;
};

inline std::vector<Heap *> &heaps() {
  static auto *heaps = [] {
    auto *all = new std::vector<Heap *>;
    for (int i = 0; i < device_count(); ++i)
      all->push_back(new Heap(static_cast<c10::DeviceIndex>(i)));
    return all;
  }();
  return *heaps;
}

inline Heap &heap(c10::DeviceIndex index) {
  check_device(index);
  return *heaps()[or_current(index)];
}

inline Heap *heap_of(const void *p) {
  for (auto *heap : heaps())
    if (heap->has(p))
      return heap;
  return nullptr;
}

// Where kernels find what a device pointer points to.
inline void *host_view(const void *p) {
  auto *heap = p ? heap_of(p) : nullptr;
  return heap ? heap->view(p) : nullptr;
}

// A launch uses the memory at a device pointer.
inline void use(const void *p, const Launch &launch, bool write, const std::string &op) {
  auto *heap = p ? heap_of(p) : nullptr;
  if (!heap)
    return;
  Lock lock(bookkeeping());
  auto *block = heap->block_of(p);
  if (!block)
    return;
  auto &uses = block->uses;
  const auto &known = streams().known_to(launch.stream);
  auto ordered = [&](const Launch &other) { return other.stream == launch.stream || knows(known, other); };
  auto race = [&](const char *how, size_t other) {
    statistics().problem(op + " on " + streams().shown(launch.stream) + how + streams().shown(other) +
                         " without waiting for it");
  };
  if (!ordered(uses.write))
    race(write ? " overwrites what was written on " : " reads what was written on ", uses.write.stream);
  if (write) {
    for (auto [stream, tick] : uses.reads)
      if (!ordered({stream, tick}))
        race(" overwrites what is read on ", stream);
    uses = {launch, {}};
  } else {
    uses.reads[launch.stream] = launch.tick;
  }
}

inline void give_device_memory(void *p) {
  if (p)
    heap_of(p)->give(static_cast<char *>(p));
}

class Allocator final : public c10::DeviceAllocator {
public:
  c10::DataPtr allocate(size_t size) override { return allocate_on(size, current_device()); }

  c10::DataPtr allocate_on(size_t size, c10::DeviceIndex index) {
    char *p = size ? heap(index).take(size) : nullptr;
    return {p, p, &give_device_memory, cuda(index)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give_device_memory; }
  void copy_data(void *to, const void *from, size_t size) const override {
    memcpy(host_view(to), host_view(from), size);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {
    for (auto *heap : heaps())
      heap->empty_cache();
  }
  void recordStream(const c10::DataPtr &data, c10::Stream stream) override {
    Lock lock(bookkeeping());
    auto *heap = heap_of(data.get());
    auto *block = heap ? heap->block_of(data.get()) : nullptr;
    if (block)
      block->recorded.insert(streams().number(stream));
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    Lock lock(bookkeeping());
    const auto &own = heap(index);
    c10::CachingDeviceAllocator::DeviceStats stats;
    auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    stats.allocated_bytes[all].current = static_cast<int64_t>(own.used());
    stats.allocated_bytes[all].peak = static_cast<int64_t>(own.peak());
    stats.reserved_bytes[all].current = static_cast<int64_t>(own.reserved());
    stats.reserved_bytes[all].peak = static_cast<int64_t>(own.reserved_peak());
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex index) override {
    Lock lock(bookkeeping());
    heap(index).reset_peaks();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    Lock lock(bookkeeping());
    return {heap(index).left(), heap(index).capacity()};
  }
};

inline Allocator &allocator() {
  static auto *allocator = new Allocator;
  return *allocator;
}

} // namespace rehearsal
