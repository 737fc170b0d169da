// Activation checkpointing: forward keeps only a block's input, backward computes the block again.
#include "shim.h"
#include "guard.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <stdexcept>
#include <string>

namespace {

// A Rust closure, owned.
struct Closure : torch::CustomClassHolder {
  void *data;
  checkpoint_call call;
  checkpoint_drop drop;
  Closure(void *d, checkpoint_call c, checkpoint_drop f) : data(d), call(c), drop(f) {}
  ~Closure() override { drop(data); }

  at::Tensor operator()(const at::Tensor &input) const {
    tensor out = nullptr;
    at::Tensor argument = input;
    if (char *message = call(data, &argument, &out)) {
      std::string text(message);
      free(message);
      throw std::runtime_error(text);
    }
    at::Tensor result = *out;
    delete out;
    return result;
  }
};

// Restores the autocast state of forward, but without its cache of 16-bit weights: weights cached
// in forward have no gradients, so in backward nothing would be learnt through them.
struct AutocastScope {
  at::DeviceType device;
  bool enabled, cache;
  at::ScalarType dtype;
  AutocastScope(at::DeviceType on, bool enable, at::ScalarType type)
      : device(on), enabled(at::autocast::is_autocast_enabled(on)), cache(at::autocast::is_autocast_cache_enabled()),
        dtype(at::autocast::get_autocast_dtype(on)) {
    at::autocast::set_autocast_enabled(device, enable);
    at::autocast::set_autocast_dtype(device, type);
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~AutocastScope() {
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, dtype);
    at::autocast::set_autocast_cache_enabled(cache);
  }
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  // `anchor` requires a gradient, so that the call is recorded even if only the block's own variables
  // are trained.
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &input, const at::Tensor &anchor,
                            const c10::intrusive_ptr<Closure> &closure) {
    (void)anchor;
    auto device = input.device().type();
    bool autocast = at::autocast::is_autocast_enabled(device);
    auto dtype = at::autocast::get_autocast_dtype(device);
    ctx->save_for_backward({input});
    ctx->saved_data["closure"] = c10::IValue::make_capsule(closure);
    ctx->saved_data["autocast"] = autocast;
    ctx->saved_data["dtype"] = static_cast<int64_t>(dtype);
    AutocastScope scope(device, autocast, dtype);
    at::NoGradGuard no_grad;
    return (*closure)(input);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list gradients) {
    auto saved = ctx->get_saved_variables()[0];
    auto closure = c10::static_intrusive_pointer_cast<Closure>(ctx->saved_data["closure"].toCapsule());
    at::AutoGradMode record(true);
    auto input = saved.detach();
    input.set_requires_grad(ctx->needs_input_grad(0));
    at::Tensor output;
    {
      AutocastScope scope(input.device().type(), ctx->saved_data["autocast"].toBool(),
                          static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt()));
      output = (*closure)(input);
    }
    // This call itself adds to the gradients of the block's variables.
    torch::autograd::backward({output}, {gradients[0]});
    return {input.grad(), at::Tensor(), at::Tensor()};
  }
};

} // namespace

char *shim_checkpoint(tensor input, void *data, checkpoint_call call, checkpoint_drop drop, tensor *out) {
  auto closure = c10::make_intrusive<Closure>(data, call, drop);
  return guarded([&] {
    auto anchor = at::zeros({1}, at::kFloat).set_requires_grad(true);
    *out = new at::Tensor(Checkpoint::apply(*input, anchor, closure));
  });
}
