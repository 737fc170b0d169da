// Kernels that are more than the CPU's on the same bytes.
#pragma once

#include "operators.h"

#include <torch/library.h>

namespace rehearsal {

// Registers `kernel`, and notes that the operator has one of its own.
template <class Kernel>
void add(torch::Library &aten, std::set<std::string> &own, const char *name, Kernel kernel) {
  aten.impl(name, kernel);
  own.insert(std::string("aten::") + name);
}

void register_copies(torch::Library &aten, std::set<std::string> &own);
void register_storage(torch::Library &aten, std::set<std::string> &own);
void register_attention(torch::Library &aten, std::set<std::string> &own);

} // namespace rehearsal
