// Device tensors as tensors of the CPU over the same bytes, for the time of one kernel.
#pragma once

#include "runtime.h"

#include <ATen/ATen.h>

namespace rehearsal {

using at::Tensor;

class Aliases {
public:
  // `index`: device of results that share no memory with an argument.
  explicit Aliases(c10::DeviceIndex index) : index_(index) {}

  // Tensors that share a storage share it here as well.
  Tensor enter(const Tensor &tensor, bool written = false) {
    Tensor cpu = at::detail::make_tensor<c10::TensorImpl>(
        c10::Storage(alias_of(tensor.storage())), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
    auto *impl = cpu.unsafeGetTensorImpl();
    impl->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
    // `2 * x` must not promote to the type of 2.
    if (tensor.unsafeGetTensorImpl()->is_wrapped_number())
      impl->set_wrapped_number(true);
    if (written)
      written_.emplace_back(tensor, cpu);
    return cpu;
  }

  // A kernel's result as a tensor of the device: a view of an argument, or new memory.
  Tensor leave(const Tensor &cpu) {
    if (!cpu.defined() || cpu.is_cuda())
      return cpu;
    c10::Storage storage = original_of(cpu.storage());
    if (!storage)
      storage = copied(cpu.storage());
    Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(
        std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA), cpu.dtype());
    tensor.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides(), cpu.storage_offset());
    return tensor;
  }

  // Gives arguments that a kernel wrote to and resized their new form.
  void finish() {
    for (auto &[tensor, cpu] : written_) {
      auto *storage = tensor.storage().unsafeGetStorageImpl();
      const auto *alias = cpu.storage().unsafeGetStorageImpl();
      if (alias->data() != host_view(storage->data()) || alias->nbytes() != storage->nbytes()) {
        storage->set_data_ptr_noswap(sent(alias->data(), alias->nbytes()));
        storage->set_nbytes(alias->nbytes());
      }
      if (cpu.sizes() != tensor.sizes() || cpu.strides() != tensor.strides() ||
          cpu.storage_offset() != tensor.storage_offset())
        tensor.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides(), cpu.storage_offset());
    }
  }

private:
  struct Pair {
    c10::Storage device, alias;
    void *host;
  };

  c10::intrusive_ptr<c10::StorageImpl> alias_of(const c10::Storage &storage) {
    for (const auto &pair : pairs_)
      if (pair.device.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl())
        return c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(pair.alias.unsafeGetStorageImpl());
    void *host = host_view(storage.data());
    // A view of it keeps the device memory.
    c10::DataPtr data(host, new c10::Storage(storage), [](void *p) { delete static_cast<c10::Storage *>(p); },
                      c10::Device(c10::DeviceType::CPU));
    auto alias = c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), storage.nbytes(),
                                                       std::move(data), c10::GetAllocator(c10::DeviceType::CPU),
                                                       /*resizable=*/true);
    pairs_.push_back({storage, c10::Storage(alias), host});
    return alias;
  }

  c10::Storage original_of(const c10::Storage &alias) const {
    for (const auto &pair : pairs_)
      if (pair.alias.unsafeGetStorageImpl() == alias.unsafeGetStorageImpl() && alias.data() == pair.host)
        return pair.device;
    return {};
  }

  c10::DataPtr sent(const void *bytes, size_t size) const {
    auto data = allocator().allocate_on(size, index_);
    if (size)
      memcpy(host_view(data.get()), bytes, size);
    return data;
  }

  c10::Storage copied(const c10::Storage &cpu) const {
    return c10::Storage(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), cpu.nbytes(),
                                                              sent(cpu.data(), cpu.nbytes()), &allocator(),
                                                              /*resizable=*/true));
  }

  c10::DeviceIndex index_;
  std::vector<Pair> pairs_;
  std::vector<std::pair<Tensor, Tensor>> written_;
};

} // namespace rehearsal
