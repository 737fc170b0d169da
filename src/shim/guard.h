// Exceptions must not cross into Rust, so they become messages.
#pragma once
#include <cstring>
#include <exception>

template <typename F> char *guarded(F body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception &e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}
