// Every operator for which libtorch's CUDA half has a kernel, as the CPU's kernel on the same bytes; any
// other is refused.
#include "operators.h"

#include "known.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <sstream>

namespace rehearsal {
namespace {

using c10::IValue;

std::string name_of(const c10::OperatorHandle &op) {
  const auto &name = op.operator_name();
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

std::string describe(const Tensor &tensor) {
  std::ostringstream text;
  text << tensor.device() << " " << tensor.scalar_type() << tensor.sizes();
  return text.str();
}

// One call of an operator: its arguments are checked, replaced by aliases, and its results replaced back.
class Call {
public:
  Call(const c10::OperatorHandle &op, torch::jit::Stack &stack)
      : op_(op), stack_(stack), name_(name_of(op)), count_(op.schema().arguments().size()),
        begin_(stack.size() - count_), originals_(stack.begin() + static_cast<long>(begin_), stack.end()),
        index_(device()), aliases_(index_) {}

  void run() {
    if (settings().trace)
      fprintf(stderr, "rehearsal: %s\n", name_.c_str());
    c10::DeviceIndex before = std::exchange(current_device(), index_);
    try {
      run_on_device();
    } catch (...) {
      current_device() = before;
      throw;
    }
    current_device() = before;
  }

private:
  void run_on_device() {
    if (!is_view()) {
      launch_ = streams().launch(index_);
      statistics().launch(name_);
    }
    for (size_t i = 0; i < count_; ++i)
      enter(i);
    if (!is_view()) {
      if (const char *kernel = not_deterministic(name_))
        at::globalContext().alertNotDeterministic(kernel);
      if (waits_for_device(name_))
        host_waits_for_stream(streams().current(index_), name_);
      if (mask_index_)
        host_waits_for_stream(streams().current(index_), name_ + ", which counts the ones of a mask");
    }
    // Mistakes in the rehearsal's own list must not look like mistakes of the program.
    TORCH_CHECK(op_.hasComputedKernelForDispatchKey(c10::DispatchKey::CPU), "rehearsal: ", name_,
                " has a CUDA kernel, but none for the CPU that could stand in for it; add one to the device");
    op_.callBoxed(&stack_);
    aliases_.finish();
    leave();
  }

  // The device of the first tensor that has one, or that a factory function is asked for.
  c10::DeviceIndex device() const {
    for (const auto &value : originals_) {
      if (value.isTensor() && value.toTensor().defined() && value.toTensor().is_cuda())
        return value.toTensor().device().index();
      if (value.isTensorList())
        for (const Tensor &tensor : value.toTensorVector())
          if (tensor.defined() && tensor.is_cuda())
            return tensor.device().index();
      if (value.isDevice() && value.toDevice().is_cuda())
        return or_current(value.toDevice().index());
    }
    return current_device();
  }

  const std::vector<c10::Argument> &arguments() const { return op_.schema().arguments(); }
  const std::vector<c10::Argument> &returns() const { return op_.schema().returns(); }
  static bool is_written(const c10::Argument &argument) {
    return argument.alias_info() && argument.alias_info()->isWrite();
  }
  bool is_view() const {
    for (const auto &result : returns())
      if (result.alias_info() && !result.alias_info()->isWrite())
        return true;
    return false;
  }

  void enter(size_t i) {
    IValue &value = stack_[begin_ + i];
    if (value.isTensor()) {
      value = enter(value.toTensor(), i);
    } else if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor &tensor : value.toTensorVector())
        list.push_back(enter(tensor, i));
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const std::optional<Tensor> &tensor : value.toOptionalTensorVector()) {
        mask_index_ |= takes_indices_of_host(name_) && tensor && tensor->defined() && is_mask(*tensor);
        list.push_back(tensor ? std::optional<Tensor>(enter(*tensor, i)) : tensor);
      }
      value = list;
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      value = c10::Device(c10::DeviceType::CPU);
    } else if (value.isGenerator()) {
      // The CPU's, see Generator.
      value = IValue();
    }
  }

  static bool is_mask(const Tensor &tensor) {
    return tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte;
  }

  Tensor enter(const Tensor &tensor, size_t i) {
    if (!tensor.defined())
      return tensor;
    if (tensor.is_cuda() && tensor.device().index() == index_) {
      bool written = is_written(arguments()[i]);
      if (!is_view())
        use(tensor.storage().data(), launch_, written, name_);
      return aliases_.enter(tensor, written);
    }
    if (tensor.is_cpu() && tensor.dim() == 0 && takes_scalars_of_host(name_))
      return tensor;
    if (tensor.is_cpu() && takes_indices_of_host(name_) && arguments()[i].name() == "indices") {
      host_waits_for_stream(streams().current(index_), name_ + " copies an index tensor from the host", tensor.nbytes());
      return tensor;
    }
    const auto text = name_ + ": argument '" + arguments()[i].name() + "' is " + describe(tensor) +
                      ", but the others are on cuda:" + std::to_string(index_);
    statistics().problem(text);
    TORCH_CHECK(false, "Expected all tensors to be on the same device, but found at least two devices, cuda:",
                int(index_), " and ", tensor.device(), "! (", text, ")");
  }

  void leave() {
    size_t first = stack_.size() - returns().size();
    for (size_t k = 0; k < returns().size(); ++k) {
      IValue &value = stack_[first + k];
      if (is_written(returns()[k])) {
        value = argument_of(returns()[k]);
      } else if (value.isTensor()) {
        value = aliases_.leave(value.toTensor());
      } else if (value.isTensorList()) {
        c10::List<Tensor> list;
        for (const Tensor &tensor : value.toTensorVector())
          list.push_back(aliases_.leave(tensor));
        value = list;
      }
      wrote(value);
    }
  }

  // New memory that a kernel filled belongs to its stream from then on.
  void wrote(const IValue &value) const {
    if (is_view())
      return;
    if (value.isTensor() && value.toTensor().defined())
      use(value.toTensor().storage().data(), launch_, true, name_);
    if (value.isTensorList())
      for (const Tensor &tensor : value.toTensorVector())
        use(tensor.storage().data(), launch_, true, name_);
  }

  // `add_(Tensor(a!) self, …) -> Tensor(a!)` returns its argument.
  IValue argument_of(const c10::Argument &result) const {
    for (size_t i = 0; i < count_; ++i)
      if (is_written(arguments()[i]) && arguments()[i].alias_info()->beforeSets() == result.alias_info()->beforeSets())
        return originals_[i];
    TORCH_CHECK(false, "rehearsal: ", name_, " returns an argument that it does not have");
  }

  const c10::OperatorHandle &op_;
  torch::jit::Stack &stack_;
  std::string name_;
  size_t count_, begin_;
  std::vector<IValue> originals_;
  c10::DeviceIndex index_;
  Aliases aliases_;
  Launch launch_;
  bool mask_index_ = false;
};

void refuse(const c10::OperatorHandle &op, torch::jit::Stack *) {
  const auto name = name_of(op);
  statistics().problem(name + ": libtorch has no CUDA kernel for it");
  TORCH_CHECK_NOT_IMPLEMENTED(false, "Could not run '", name, "' with arguments from the 'CUDA' backend. This could be ",
                              "because the operator doesn't exist for this backend.");
}

// Names of the operators with a kernel in libtorch's CUDA half; made by list_operators.cpp.
const char *const cuda_operators[] = {
#include "cuda_operators.inc"
};

// Composite on CUDA, but of cuDNN's kernels, for which the CPU has no counterpart.
const char *const composites_of_cudnn[] = {"aten::convolution"};

std::vector<torch::Library> *libraries() {
  static auto *libraries = new std::vector<torch::Library>;
  return libraries;
}

} // namespace

void run_on_host(const c10::OperatorHandle &op, torch::jit::Stack *stack) {
  at::AutoDispatchBelowAutograd below;
  Call(op, *stack).run();
}

void register_operators(const std::set<std::string> &own) {
  auto &all = libraries()->emplace_back(torch::Library::IMPL, "_", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  all.fallback(torch::CppFunction::makeFromBoxedFunction<&refuse>());
  auto &aten = libraries()->emplace_back(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  auto add = [&](const char *name) {
    if (!own.count(name))
      aten.impl(name, torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  };
  for (const char *name : cuda_operators)
    add(name);
  for (const char *name : composites_of_cudnn)
    add(name);
}

} // namespace rehearsal
