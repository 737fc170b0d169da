// What the program made the device do, phase by phase, written as one JSON object a line.
//
// A phase begins when the program seeds the generators. A training step does so once a batch, so without
// gradient accumulation a phase is a step, from its forward pass to the upload of the next batch.
#pragma once

#include "settings.h"

#include <atomic>
#include <cstdio>
#include <dlfcn.h>
#include <execinfo.h>
#include <map>
#include <mutex>
#include <pthread.h>
#include <string>
#include <tuple>
#include <unistd.h>
#include <vector>

namespace rehearsal {

// Bookkeeping of every kind is under one lock. A kernel computes outside of it.
inline std::recursive_mutex &bookkeeping() {
  static auto *mutex = new std::recursive_mutex;
  return *mutex;
}
using Lock = std::lock_guard<std::recursive_mutex>;

// What the host does to wait for the device, or may do without waiting.
enum class Event { wait, copy, attention };

class Statistics {
public:
  void begin_phase() { ++phase_; }
  int64_t phase() const { return phase_; }

  void launch(const std::string &op) {
    Lock lock(bookkeeping());
    ++launches_[phase_][op];
  }

  void event(Event kind, const std::string &what, uint64_t bytes = 0) {
    std::vector<void *> stack;
    if (settings().places) {
      stack.resize(128);
      stack.resize(backtrace(stack.data(), static_cast<int>(stack.size())));
    }
    Lock lock(bookkeeping());
    auto &count = events_[{phase_, kind, what, thread(), std::move(stack)}];
    ++count.times;
    count.bytes += bytes;
  }

  // A mistake that a real device would answer with a crash, or with wrong numbers and no message.
  void problem(const std::string &text) {
    Lock lock(bookkeeping());
    if (problems_[text]++ == 0)
      fprintf(stderr, "rehearsal: PROBLEM: %s\n", text.c_str());
  }

  void write(const std::vector<uint64_t> &peaks) {
    Lock lock(bookkeeping());
    if (settings().statistics.empty())
      return;
    FILE *file = fopen(settings().statistics.c_str(), "w");
    if (!file) {
      perror(("rehearsal: " + settings().statistics).c_str());
      return;
    }
    for (size_t i = 0; i < peaks.size(); ++i)
      fprintf(file, "{\"kind\":\"memory\",\"device\":%zu,\"peak_bytes\":%llu}\n", i, ull(peaks[i]));
    for (const auto &[phase, operators] : launches_)
      for (const auto &[op, times] : operators)
        fprintf(file, "{\"kind\":\"launch\",\"phase\":%lld,\"what\":%s,\"times\":%llu}\n", (long long)phase,
                quoted(op).c_str(), ull(times));
    for (const auto &[key, count] : events_) {
      const auto &[phase, kind, what, thread, stack] = key;
      fprintf(file,
              "{\"kind\":\"%s\",\"phase\":%lld,\"what\":%s,\"thread\":%s,\"times\":%llu,\"bytes\":%llu,"
              "\"stack\":[%s]}\n",
              name(kind), (long long)phase, quoted(what).c_str(), quoted(thread).c_str(), ull(count.times),
              ull(count.bytes), frames(stack).c_str());
    }
    for (const auto &[text, times] : problems_)
      fprintf(file, "{\"kind\":\"problem\",\"what\":%s,\"times\":%llu}\n", quoted(text).c_str(), ull(times));
    // A reader tells by it that the process ended as it should.
    fprintf(file, "{\"kind\":\"end\"}\n");
    fclose(file);
  }

private:
  struct Count {
    uint64_t times = 0, bytes = 0;
  };
  using Key = std::tuple<int64_t, Event, std::string, std::string, std::vector<void *>>;

  static unsigned long long ull(uint64_t value) { return value; }
  static const char *name(Event kind) {
    return kind == Event::wait ? "wait" : kind == Event::copy ? "copy" : "attention";
  }
  // A thread of its own may wait without stopping the program's.
  static std::string thread() {
    if (gettid() == getpid())
      return "main";
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    return name;
  }
  static std::string quoted(const std::string &text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\')
        out += '\\';
      out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    return out + "\"";
  }
  // `"file+0x12"` of each frame: addresses that addr2line understands, whatever the loader added.
  static std::string frames(const std::vector<void *> &stack) {
    std::string out;
    for (void *frame : stack) {
      Dl_info info;
      if (!dladdr(frame, &info) || !info.dli_fname)
        continue;
      char offset[32];
      auto distance = static_cast<char *>(frame) - static_cast<char *>(info.dli_fbase);
      snprintf(offset, sizeof offset, "+0x%llx", ull(distance));
      out += (out.empty() ? "" : ",") + quoted(info.dli_fname + std::string(offset));
    }
    return out;
  }

  std::atomic<int64_t> phase_{0};
  std::map<int64_t, std::map<std::string, uint64_t>> launches_;
  std::map<Key, Count> events_;
  std::map<std::string, uint64_t> problems_;
};

inline Statistics &statistics() {
  static auto *statistics = new Statistics;
  return *statistics;
}

} // namespace rehearsal
