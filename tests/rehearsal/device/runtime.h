#pragma once

#include "memory.h"
#include "pinned.h"

namespace rehearsal {

// When the process ends.
void write_statistics();

} // namespace rehearsal
