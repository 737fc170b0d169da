// Copies between host and device, and values read by the host: where a program waits.
#include "kernels.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

namespace rehearsal {
namespace {

bool is_pinned(const Tensor &tensor) { return pinned().has(tensor.storage().data()); }

uint64_t bytes_of(const Tensor &tensor) { return static_cast<uint64_t>(tensor.numel()) * tensor.element_size(); }

// Whether one transfer of bytes does it, without a kernel that converts or reorders.
bool is_plain(const Tensor &to, const Tensor &from) {
  return to.scalar_type() == from.scalar_type() && to.sizes() == from.sizes() && to.strides() == from.strides() &&
         to.is_non_overlapping_and_dense();
}

c10::DeviceIndex device_of(const Tensor &to, const Tensor &from) {
  return to.is_cuda() ? to.device().index() : from.device().index();
}

// The kernel and its place in the order of its stream.
Launch launch(const Tensor &to, const Tensor &from, const std::string &name) {
  statistics().launch(name);
  auto launch = streams().launch(device_of(to, from));
  if (from.is_cuda())
    use(from.storage().data(), launch, false, name);
  if (to.is_cuda())
    use(to.storage().data(), launch, true, name);
  return launch;
}

// Between devices libtorch lets the two current streams wait for each other before and after.
void wait_for_each_other(const Tensor &to, const Tensor &from) {
  if (to.device() == from.device())
    return;
  Lock lock(bookkeeping());
  auto one = streams().current(to.device().index()), other = streams().current(from.device().index());
  Clock all = streams().known_to(streams().number(one));
  merge(all, streams().known_to(streams().number(other)));
  streams().wait(one, all);
  streams().wait(other, all);
}

void on_device(const Tensor &to, const Tensor &from) {
  wait_for_each_other(to, from);
  launch(to, from, to.scalar_type() == from.scalar_type() ? "copy" : "copy with cast");
  wait_for_each_other(to, from);
}

void to_device(const Tensor &to, const Tensor &from, bool non_blocking) {
  auto own = launch(to, from, "copy to the device");
  auto stream = streams().current(to.device().index());
  bool plain = from.scalar_type() == to.scalar_type() && from.is_non_overlapping_and_dense();
  if (!non_blocking)
    return host_waits_for_stream(stream, "copy to the device", bytes_of(to));
  // The driver copies by way of pinned memory of its own, and returns when that is done.
  if (!plain || !is_pinned(from))
    return host_waits_for_stream(stream, "copy to the device, which was not to wait, of memory that is not pinned",
                                 bytes_of(to));
  statistics().event(Event::copy, "to the device", bytes_of(to));
  pinned().send(from.const_data_ptr(), bytes_of(from), own);
}

// Whether the bytes are there already, or appear later.
bool to_host(const Tensor &to, const Tensor &from, const Tensor &view, bool non_blocking) {
  auto own = launch(to, from, "copy to the host");
  if (!non_blocking) {
    host_waits_for_stream(streams().current(from.device().index()), "copy to the host", bytes_of(to));
    return false;
  }
  if (!is_pinned(to) || !is_plain(to, from)) {
    host_waits_for_stream(streams().current(from.device().index()),
                          "copy to the host, which was not to wait, to memory that is not pinned", bytes_of(to));
    return false;
  }
  statistics().event(Event::copy, "to the host", bytes_of(to));
  pinned().fetch(static_cast<char *>(to.mutable_data_ptr()), static_cast<const char *>(view.const_data_ptr()),
                 bytes_of(to), own);
  return true;
}

Tensor &copy_(Tensor &self, const Tensor &source, bool non_blocking) {
  at::AutoDispatchBelowAutograd below;
  if (self.numel() == 0)
    return self;
  Aliases aliases(device_of(self, source));
  Tensor to = self.is_cuda() ? aliases.enter(self) : self;
  Tensor from = source.is_cuda() ? aliases.enter(source) : source;
  if (self.is_cuda() && source.is_cuda())
    on_device(self, source);
  else if (self.is_cuda())
    to_device(self, source, non_blocking);
  else if (to_host(self, source, from, non_blocking))
    return self;
  to.copy_(from);
  return self;
}

Tensor copy_from(const Tensor &self, const Tensor &target, bool non_blocking) {
  Tensor to = target;
  copy_(to, self, non_blocking);
  return to;
}

at::Scalar local_scalar_dense(const Tensor &self) {
  at::AutoDispatchBelowAutograd below;
  auto index = self.device().index();
  use(self.storage().data(), streams().launch(index), false, "aten::_local_scalar_dense");
  host_waits_for_stream(streams().current(index), "read of a value", self.element_size());
  return Aliases(index).enter(self).item();
}

void record_stream(Tensor &self, c10::Stream stream) {
  allocator().recordStream(self.storage().data_ptr(), stream);
}

} // namespace

void register_copies(torch::Library &aten, std::set<std::string> &own) {
  add(aten, own, "copy_", TORCH_FN(copy_));
  add(aten, own, "_copy_from", TORCH_FN(copy_from));
  add(aten, own, "_local_scalar_dense", TORCH_FN(local_scalar_dense));
  add(aten, own, "record_stream", TORCH_FN(record_stream));
}

} // namespace rehearsal
