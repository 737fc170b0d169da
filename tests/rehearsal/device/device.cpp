// The rehearsal device: a `libtorch_cuda.so` made of host memory, for machines without a GPU.
//
// A program that opens libtorch's CUDA half gets this instead, if the folder of this library comes first in
// LD_LIBRARY_PATH, and runs unchanged, on the CUDA key. docs/gpu.md says what is modelled.
//
// One translation unit: libtorch's headers take longer to compile than all of this.
#include "attention.cpp"
#include "copies.cpp"
#include "operators.cpp"
#include "runtime.cpp"
#include "storage.cpp"

namespace rehearsal {
namespace {

struct Start {
  Start() {
    c10::SetAllocator(c10::DeviceType::CUDA, &allocator());
    static auto *aten = new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
    std::set<std::string> own;
    register_copies(*aten, own);
    register_storage(*aten, own);
    register_attention(*aten, own);
    register_operators(own);
    atexit(&write_statistics);
  }
} start;

} // namespace
} // namespace rehearsal
