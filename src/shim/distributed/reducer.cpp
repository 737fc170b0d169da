// c10d's Reducer: gradients summed over ranks while backward runs.
#include "process_group.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>

namespace {

namespace autograd = torch::autograd;

// What one pass has seen, shared by reducer and hooks. Hooks write bytes of their own, on the threads of backward.
struct Pass {
  // Whether a parameter's hook fired since the pass was prepared.
  std::vector<uint8_t> fired;
  // Whether a gradient arrived, also in passes before it that accumulated.
  std::vector<uint8_t> reached;
  std::vector<c10::intrusive_ptr<c10::ivalue::Future>> sums;
};

// Sums a bucket, without the division by the number of ranks that is c10d's default.
class SumHook : public c10d::CommHookInterface {
public:
  SumHook(std::shared_ptr<Group> group, std::shared_ptr<Pass> pass)
      : group_(std::move(group)), pass_(std::move(pass)) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket &bucket) override {
    std::vector<at::Tensor> tensors{bucket.getBufferRef()};
    auto lock = group_->next();
    auto sum = group_->group->allreduce(tensors)->getFuture();
    pass_->sums.push_back(sum);
    return sum;
  }

  at::Tensor parseHookResult(const c10::IValue &result) override {
    return c10d::detail::parseCppCommHookResult(result);
  }

private:
  std::shared_ptr<Group> group_;
  std::shared_ptr<Pass> pass_;
};

// Notes that a parameter's gradient was accumulated.
class Arrival : public autograd::FunctionPostHook {
public:
  Arrival(std::shared_ptr<Pass> pass, size_t index) : pass_(std::move(pass)), index_(index) {}

  autograd::variable_list operator()(const autograd::variable_list &outputs,
                                     const autograd::variable_list &inputs) override {
    pass_->fired[index_] = 1;
    if (!inputs.empty() && inputs[0].defined())
      pass_->reached[index_] = 1;
    return outputs;
  }

private:
  std::shared_ptr<Pass> pass_;
  size_t index_;
};

using Buckets = std::vector<std::vector<size_t>>;

// From the last parameter to the first, roughly the order in which gradients arrive.
Buckets assign(const std::vector<at::Tensor> &parameters, size_t bucket_bytes) {
  std::vector<at::Tensor> reversed(parameters.rbegin(), parameters.rend());
  std::vector<int64_t> indices;
  for (size_t i = parameters.size(); i > 0; --i)
    indices.push_back(static_cast<int64_t>(i - 1));
  auto first = std::min<size_t>(bucket_bytes, c10d::kDefaultFirstBucketBytes);
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(reversed, {first, bucket_bytes}, {}, indices));
  // The last bucket of each dtype comes in the order of a hash of dtype and device, which may differ between ranks.
  std::sort(buckets.begin(), buckets.end(), [](const auto &a, const auto &b) { return a.front() > b.front(); });
  return buckets;
}

class SumReducer : public c10d::Reducer {
public:
  SumReducer(std::vector<at::Tensor> parameters, const Buckets &buckets, const std::shared_ptr<Group> &group,
             size_t bucket_bytes, std::unordered_map<size_t, std::string> names)
      : Reducer(std::move(parameters), buckets, group->group, {}, static_cast<int64_t>(bucket_bytes),
                /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true, std::move(names),
                c10d::kDefaultFirstBucketBytes, /*skip_all_reduce_unused_params=*/false,
                /*use_python_reducer=*/false, {}),
        pass_(std::make_shared<Pass>()) {
    // With three ranks and more a sum depends on its place in the bucket, so that training on from a checkpoint would
    // differ from training through if buckets were rebuilt. c10d then also stops collecting the order of arrival.
    has_rebuilt_bucket_ = true;
    pass_->fired.resize(params_.size());
    pass_->reached.resize(params_.size());
    register_comm_hook(std::make_unique<SumHook>(group, pass_));
    for (size_t i = 0; i < params_.size(); ++i) {
      auto node = grad_accumulators_[i];
      arrivals_.emplace_back(node, node->add_post_hook(std::make_unique<Arrival>(pass_, i)));
    }
  }

  ~SumReducer() noexcept(false) {
    for (auto &[node, key] : arrivals_)
      node->del_post_hook(key);
  }

  void prepare() {
    std::fill(pass_->fired.begin(), pass_->fired.end(), 0);
    pass_->sums.clear();
    prepare_for_backward({});
    prepared_ = true;
  }

  void finish(uint8_t *reached) {
    TORCH_CHECK(prepared_, "no backward pass was prepared for reduction");
    prepared_ = false;
    std::vector<size_t> missing;
    for (size_t i = 0; i < params_.size(); ++i) {
      if (!pass_->fired[i])
        missing.push_back(i);
    }
    if (!missing.empty())
      mark_ready(missing);
    // If backward failed after its last gradient, it may seem complete.
    for (const auto &sum : pass_->sums) {
      if (sum->hasError())
        std::rethrow_exception(sum->exception_ptr());
    }
    TORCH_CHECK(!expect_autograd_hooks_, "gradients are missing: the backward pass did not complete");
    std::copy(pass_->reached.begin(), pass_->reached.end(), reached);
    std::fill(pass_->reached.begin(), pass_->reached.end(), 0);
  }

private:
  // c10d waits for the sums in a callback that only a running backward pass can queue, so this runs a tiny one.
  void mark_ready(const std::vector<size_t> &missing) {
    at::AutoGradMode record(true);
    auto leaf = at::zeros({1}).set_requires_grad(true);
    leaf.register_hook([&](const at::Tensor &) {
      std::lock_guard<std::mutex> lock(mutex_);
      for (auto index : missing)
        mark_variable_ready(index);
    });
    autograd::backward({leaf * 1}, {at::ones({1})});
  }

  std::shared_ptr<Pass> pass_;
  std::vector<std::pair<std::shared_ptr<autograd::Node>, uintptr_t>> arrivals_;
  bool prepared_ = false;
};

void check_parameter(const at::Tensor &parameter, const std::string &name) {
  TORCH_CHECK(parameter.is_leaf() && parameter.requires_grad(), "parameter ", name,
              " is not trained: only leaves that require a gradient can be reduced");
}

} // namespace

struct shim_reducer {
  std::shared_ptr<Group> group;
  std::unique_ptr<SumReducer> reducer;
};

char *shim_reducer_new(shim_group *group, size_t n, tensor *parameters, const char *const *names,
                       size_t bucket_bytes, size_t *bucket_of, shim_reducer **out) {
  return guarded([&] {
    TORCH_CHECK(n > 0, "no parameter is trained, so there is no gradient to reduce");
    std::vector<at::Tensor> tensors;
    std::unordered_map<size_t, std::string> named;
    std::unordered_map<const void *, size_t> seen;
    for (size_t i = 0; i < n; ++i) {
      check_parameter(*parameters[i], names[i]);
      auto [first, is_new] = seen.emplace(parameters[i]->unsafeGetTensorImpl(), i);
      TORCH_CHECK(is_new, "parameters ", names[first->second], " and ", names[i], " are the same tensor");
      tensors.push_back(*parameters[i]);
      named.emplace(i, names[i]);
    }
    auto buckets = assign(tensors, bucket_bytes);
    for (size_t bucket = 0; bucket < buckets.size(); ++bucket) {
      for (auto index : buckets[bucket])
        bucket_of[index] = bucket;
    }
    auto reducer = std::make_unique<SumReducer>(std::move(tensors), buckets, group->shared, bucket_bytes,
                                                std::move(named));
    *out = new shim_reducer{group->shared, std::move(reducer)};
  });
}

char *shim_reducer_prepare(shim_reducer *reducer) {
  return guarded([&] { reducer->reducer->prepare(); });
}

char *shim_reducer_finish(shim_reducer *reducer, uint8_t *reached) {
  return reducer->group->communicate([&] { reducer->reducer->finish(reached); });
}

// The destructor of a reducer may throw.
char *shim_reducer_free(shim_reducer *reducer) {
  return guarded([&] {
    auto *held = reducer->reducer.release();
    delete reducer;
    delete held;
  });
}
