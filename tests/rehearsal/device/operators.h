#pragma once

#include "alias.h"

#include <ATen/core/stack.h>

#include <set>

namespace c10 {
class OperatorHandle;
}

namespace rehearsal {

// The kernel of an operator: the CPU's, with the checks of a device.
void run_on_host(const c10::OperatorHandle &op, torch::jit::Stack *stack);

// Registers it for all operators that have a CUDA kernel, except those in `own`.
void register_operators(const std::set<std::string> &own);

} // namespace rehearsal
