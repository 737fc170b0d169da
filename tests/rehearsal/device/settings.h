// What a test asks of the device, by environment variables that the program under test does not know.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

namespace rehearsal {

inline int64_t number(const char *name, int64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoll(text, nullptr, 10) : otherwise;
}

struct Settings {
  // How many devices the driver reports.
  int64_t devices = number("REHEARSAL_DEVICES", 1);
  // The driver is older than libtorch's CUDA: it reports no device, and says why.
  bool old_driver = number("REHEARSAL_OLD_DRIVER", 0) != 0;
  // Memory of each device in bytes. Address space for it is reserved, pages are taken only when written.
  int64_t memory = number("REHEARSAL_MEMORY_BYTES", int64_t(24) << 30);
  // How much of it another process holds.
  int64_t held = number("REHEARSAL_HELD_BYTES", 0);
  // From this phase on freed memory is not used again, as if it lay in pieces too small: a run that has
  // gone well so far runs out of memory. 0: never.
  int64_t fragmented_from = number("REHEARSAL_FRAGMENTED_FROM_PHASE", 0);
  // Where the statistics are written when the process ends; empty: nowhere.
  std::string statistics = getenv("REHEARSAL_STATISTICS") ? getenv("REHEARSAL_STATISTICS") : "";
  // Keep the stack of each wait and copy. Costs time.
  bool places = number("REHEARSAL_PLACES", 0) != 0;
  // Print each operator.
  bool trace = number("REHEARSAL_TRACE", 0) != 0;
};

// Never destroyed, like everything else here that has state: libtorch's threads outlive static objects.
inline const Settings &settings() {
  static auto *settings = new Settings;
  return *settings;
}

} // namespace rehearsal
