// Making tensors, and giving them other memory.
#include "kernels.h"

#include <ATen/EmptyTensor.h>

namespace rehearsal {
namespace {

using Layout = std::optional<at::Layout>;
using Type = std::optional<at::ScalarType>;

at::ScalarType or_default(Type type) { return type.value_or(c10::typeMetaToScalarType(c10::get_default_dtype())); }

// Allocates on a device for the time of a scope.
class OnDevice {
public:
  explicit OnDevice(std::optional<c10::Device> device) {
    auto index = device ? or_current(device->index()) : current_device();
    check_device(index);
    before_ = std::exchange(current_device(), index);
  }
  ~OnDevice() { current_device() = before_; }

private:
  c10::DeviceIndex before_;
};

const c10::DispatchKeySet keys(c10::DispatchKey::CUDA);

Tensor empty(at::IntArrayRef size, Type type, Layout, std::optional<c10::Device> device, std::optional<bool> pin,
             std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pin.value_or(false), "Only dense CPU tensors can be pinned");
  OnDevice on(device);
  return at::detail::empty_generic(size, &allocator(), keys, or_default(type), format);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, Type type, Layout,
                     std::optional<c10::Device> device, std::optional<bool>) {
  OnDevice on(device);
  return at::detail::empty_strided_generic(size, stride, &allocator(), keys, or_default(type));
}

void grow(c10::StorageImpl *storage, size_t size) {
  auto data = allocator().allocate_on(size, storage->device().index());
  size_t kept = std::min(size, storage->nbytes());
  if (kept)
    memcpy(host_view(data.get()), host_view(storage->data()), kept);
  storage->set_data_ptr_noswap(std::move(data));
  storage->set_nbytes(size);
}

const Tensor &resize_(const Tensor &self, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  auto *impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(size);
  size_t needed = at::detail::computeStorageNbytesContiguous(size, self.element_size(), self.storage_offset());
  if (needed > self.storage().nbytes())
    grow(self.storage().unsafeGetStorageImpl(), needed);
  if (format && *format != at::MemoryFormat::Preserve)
    impl->empty_tensor_restride(*format);
  return self;
}

Tensor &set_storage(Tensor &self, c10::Storage source, int64_t offset, at::IntArrayRef size, at::IntArrayRef stride) {
  auto *impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  if (stride.size() == size.size()) {
    impl->set_sizes_and_strides(size, stride, offset);
  } else {
    impl->set_sizes_contiguous(size);
    impl->set_storage_offset(offset);
  }
  return self;
}

Tensor &set_whole_storage(Tensor &self, c10::Storage source) {
  auto count = static_cast<int64_t>(source.nbytes() / self.element_size());
  return set_storage(self, std::move(source), 0, {count}, {1});
}

Tensor &set_tensor(Tensor &self, const Tensor &source) {
  return set_storage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

Tensor &set_nothing(Tensor &self) {
  OnDevice on(self.device());
  c10::Storage nothing(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), 0,
                                                             allocator().allocate(0), &allocator(), true));
  return set_storage(self, std::move(nothing), 0, {0}, {1});
}

} // namespace

void register_storage(torch::Library &aten, std::set<std::string> &own) {
  add(aten, own, "empty.memory_format", TORCH_FN(empty));
  add(aten, own, "empty_strided", TORCH_FN(empty_strided));
  add(aten, own, "resize_", TORCH_FN(resize_));
  add(aten, own, "set_.source_Storage", TORCH_FN(set_whole_storage));
  add(aten, own, "set_.source_Storage_storage_offset", TORCH_FN(set_storage));
  add(aten, own, "set_.source_Tensor", TORCH_FN(set_tensor));
  add(aten, own, "set_", TORCH_FN(set_nothing));
}

} // namespace rehearsal
