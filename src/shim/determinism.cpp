#include "guard.h"
#include "shim.h"

#include <ATen/Context.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <string>

namespace {

// Keeps libtorch's warnings about operators that are not deterministic; passes on all others.
class Collector : public c10::WarningHandler {
public:
  void process(const c10::Warning &warning) override {
    const std::string &text = warning.msg();
    auto end = text.find(" does not have a deterministic implementation");
    // Attention and cuBLAS use their own wording.
    if (end == std::string::npos && (text.find("non-deterministic") != std::string::npos ||
                                     text.find("Deterministic behavior was enabled") != std::string::npos))
      end = text.find(". ");
    else if (end == std::string::npos)
      return c10::WarningHandler::process(warning);
    std::lock_guard<std::mutex> lock(mutex_);
    operators_.insert(text.substr(0, end));
  }

  void record(const char *name) {
    std::lock_guard<std::mutex> lock(mutex_);
    operators_.insert(name);
  }

  std::string operators() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::string lines;
    for (const auto &name : operators_)
      lines += name + "\n";
    return lines;
  }

private:
  std::mutex mutex_;
  std::set<std::string> operators_;
};

// Never destroyed: libtorch's threads may outlive static objects.
Collector &collector() {
  static auto *collector = new Collector;
  return *collector;
}

} // namespace

char *shim_set_determinism(int mode) {
  return guarded([&] {
    bool enabled = mode != 0;
    // cuBLAS reads it when its first handle is created, so this must come before any CUDA work. A value
    // set by the user is kept; libtorch warns if it is not suitable.
    if (enabled)
      setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    auto &context = at::globalContext();
    context.setDeterministicAlgorithms(enabled, /*warn_only=*/mode == 1);
    // Helps to find reads of uninitialised memory; it takes time, and we have no such reads.
    context.setDeterministicFillUninitializedMemory(false);
    context.setBenchmarkCuDNN(false);
    context.setDeterministicCuDNN(enabled);
    context.setDeterministicMkldnn(enabled);
    c10::WarningUtils::set_warning_handler(enabled ? &collector() : nullptr);
  });
}

char *shim_nondeterministic_operators(char **out) {
  return guarded([&] { *out = strdup(collector().operators().c_str()); });
}

char *shim_record_nondeterministic(const char *name) {
  return guarded([&] { collector().record(name); });
}

char *shim_alert_not_deterministic(const char *name) {
  return guarded([&] { at::globalContext().alertNotDeterministic(name); });
}
