// Tracing: what a computation does, as a graph that other programs run (TorchScript) or that is written
// anew in another format.
#include "shim.h"
#include "guard.h"

#include <ATen/TracerMode.h>
#include <ATen/record_function.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

struct Script {
  torch::jit::Module module;
};

struct Traced {
  // Without attributes, and with everything computed that no input changes. The second: of other sizes.
  std::shared_ptr<torch::jit::Graph> graph, other;
  std::vector<at::Tensor> tensors;
};

namespace {
namespace jit = torch::jit;

using Pairs = std::vector<std::pair<jit::Node *, jit::Node *>>;

// The submodule that `path` names, created if there is none, and the last part of the path.
std::pair<jit::Module, std::string> place_of(jit::Module module, const std::string &path) {
  size_t start = 0;
  for (size_t dot; (dot = path.find('.', start)) != std::string::npos; start = dot + 1) {
    auto part = path.substr(start, dot - start);
    if (!module.hasattr(part)) {
      jit::Module child("Module", module._ivalue()->compilation_unit(), true);
      module.register_module(part, child);
    }
    module = module.attr(part).toModule();
  }
  return {module, path.substr(start)};
}

// A tensor made of data is, for the tracer, one of zeros: tch allocates zeros and copies the data behind
// libtorch's back. This keeps what each of them holds when the next operator starts.
struct Filled {
  struct Pending {
    c10::Storage storage;
    std::vector<int64_t> sizes;
    at::ScalarType dtype;
  };
  // Not the tensor: a second owner would make libtorch hand another one to the caller.
  std::optional<Pending> pending;
  std::vector<at::Tensor> values;
  at::CallbackHandle callback;
  static thread_local Filled *current;

  Filled() {
    current = this;
    callback = at::addThreadLocalCallback(
        at::RecordFunctionCallback(before, after).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
  }
  ~Filled() {
    at::removeCallback(callback);
    current = nullptr;
  }

  void settle() {
    if (!pending)
      return;
    at::DisableRecordFunctionGuard unobserved;
    at::tracer::impl::NoTracerDispatchMode untraced;
    auto [storage, sizes, dtype] = *std::exchange(pending, std::nullopt);
    values.push_back(at::from_blob(storage.mutable_data(), sizes, at::TensorOptions().dtype(dtype)).clone());
  }

  static std::unique_ptr<at::ObserverContext> before(const at::RecordFunction &) {
    if (current)
      current->settle();
    return nullptr;
  }

  static void after(const at::RecordFunction &function, at::ObserverContext *) {
    // Operators within an operator are not recorded.
    if (!current || c10::impl::tls_is_dispatch_key_excluded(c10::DispatchKey::Tracer) ||
        std::strcmp(function.name(), "aten::zeros") != 0)
      return;
    auto &zeros = function.outputs()[0].toTensor();
    TORCH_CHECK(zeros.device().is_cpu() && zeros.is_contiguous(), "a tensor of zeros that is not on the CPU");
    current->pending = Pending{zeros.storage(), zeros.sizes().vec(), zeros.scalar_type()};
  }

  // Puts the values in place of the zeros, while the tracer has all of them: what is not used is dropped next.
  void insert_into(jit::Graph &graph) {
    settle();
    at::tracer::impl::NoTracerDispatchMode untraced;
    std::vector<jit::Node *> nodes;
    for (auto node : graph.nodes())
      if (node->kind() == c10::aten::zeros)
        nodes.push_back(node);
    TORCH_CHECK(nodes.size() == values.size(), values.size(), " tensors were made of data, but the graph has ",
                nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) {
      jit::WithInsertPoint before(nodes[i]);
      nodes[i]->output()->replaceAllUsesWith(graph.insertConstant(values[i]));
    }
  }
};
thread_local Filled *Filled::current = nullptr;

std::shared_ptr<jit::Graph> record(jit::Module &module, size_t n, tensor *inputs, void *data, trace_call call) {
  jit::Stack stack;
  for (size_t i = 0; i < n; ++i)
    stack.emplace_back(*inputs[i]);
  auto run = [&](jit::Stack given) {
    // It would warn about every operator in place. The caller compares results.
    jit::tracer::getTracingState()->warn = false;
    std::vector<at::Tensor> held;
    for (auto &value : given)
      held.push_back(value.toTensor());
    std::vector<tensor> handles;
    for (auto &one : held)
      handles.push_back(&one);
    std::vector<at::Tensor> results;
    if (char *message = call(data, handles.data(), handles.size(), &results)) {
      std::string text(message);
      free(message);
      throw std::runtime_error(text);
    }
    TORCH_CHECK(!results.empty(), "the computation gave no tensor");
    Filled::current->insert_into(*jit::tracer::getTracingState()->graph);
    if (results.size() == 1)
      return jit::Stack{results[0]};
    std::vector<c10::IValue> all(results.begin(), results.end());
    return jit::Stack{c10::ivalue::Tuple::create(std::move(all))};
  };
  auto name = [](const torch::autograd::Variable &) { return std::string(); };
  Filled filled;
  auto graph = jit::tracer::trace(std::move(stack), run, name, true, true, &module).first->graph;
  for (auto node : graph->nodes())
    TORCH_CHECK(node->kind() != c10::aten::zeros || !node->hasUses(), "a result that no input changes");
  return graph;
}

void flatten_into(jit::Block *a, jit::Block *b, Pairs &pairs) {
  auto x = a->nodes().begin(), y = b->nodes().begin();
  for (; x != a->nodes().end() && y != b->nodes().end(); ++x, ++y) {
    TORCH_CHECK(x->kind() == y->kind() && x->inputs().size() == y->inputs().size() && x->blocks().empty(),
                "the computation takes another course for other sizes: ", x->kind().toQualString(), " became ",
                y->kind().toQualString());
    pairs.emplace_back(*x, *y);
  }
  TORCH_CHECK(x == a->nodes().end() && y == b->nodes().end(), "the computation takes another course for other sizes");
}

bool is_int(jit::Node *node) {
  return node->kind() == c10::prim::Constant && node->hasAttribute(c10::attr::value) &&
         node->kindOf(c10::attr::value) == jit::AttributeKind::i;
}

// A size that differs between both traces is one that the inputs decide: in a reshape it becomes -1.
void generalise(jit::Graph &graph, jit::Graph &other) {
  Pairs pairs;
  flatten_into(graph.block(), other.block(), pairs);
  std::vector<jit::Node *> lists;
  for (auto [node, twin] : pairs) {
    if (!is_int(node) || !is_int(twin) || node->i(c10::attr::value) == twin->i(c10::attr::value))
      continue;
    for (auto &use : node->output()->uses()) {
      auto list = use.user;
      bool is_shape = list->kind() == c10::prim::ListConstruct;
      for (auto &by : list->output()->uses())
        is_shape = is_shape && by.offset == 1 && (by.user->kind() == c10::aten::view || by.user->kind() == c10::aten::reshape);
      TORCH_CHECK(is_shape, "a size that depends on the inputs is used by ",
                  (list->kind() == c10::prim::ListConstruct ? list->output()->uses()[0].user : list)->kind().toQualString(),
                  ", whose sizes are fixed in a graph");
      TORCH_CHECK(std::find(lists.begin(), lists.end(), list) == lists.end(),
                  "two sizes of one reshape depend on the inputs");
      lists.push_back(list);
    }
    node->i_(c10::attr::value, -1);
    twin->i_(c10::attr::value, -1);
  }
}

// Attributes become constants, and what only constants decide is computed.
std::shared_ptr<jit::Graph> folded(const jit::Module &module, jit::Graph &traced) {
  auto graph = traced.copy();
  jit::Inline(*graph);
  std::unordered_map<jit::Value *, c10::IValue> known{{graph->inputs()[0], module._ivalue()}};
  std::vector<jit::Node *> read;
  for (auto node : graph->nodes()) {
    if (node->kind() != c10::prim::GetAttr)
      continue;
    auto owner = known.find(node->input());
    TORCH_CHECK(owner != known.end(), "an attribute of something that is not a module");
    auto value = owner->second.toObject()->getAttr(node->s(c10::attr::name));
    known[node->output()] = value;
    if (value.isTensor()) {
      jit::WithInsertPoint before(node);
      node->output()->replaceAllUsesWith(graph->insertConstant(value.toTensor().detach()));
    }
    read.push_back(node);
  }
  for (auto node = read.rbegin(); node != read.rend(); ++node)
    (*node)->destroy();
  graph->eraseInput(0);
  jit::ConstantPropagation(graph);
  jit::EliminateDeadCode(graph);
  return graph;
}

struct Writer {
  Traced &traced;
  std::ostringstream out;
  std::unordered_map<jit::Value *, size_t> ids;

  size_t id(jit::Value *value) { return ids.emplace(value, ids.size()).first->second; }

  // `value id dtype sizes`; -1: a size that the inputs decide.
  void value(jit::Value *value, jit::Value *twin) {
    out << "value\t" << id(value);
    auto type = value->type()->cast<c10::TensorType>();
    auto sizes = type ? type->sizes().concrete_sizes() : std::nullopt;
    if (type && type->scalarType() && sizes) {
      std::optional<std::vector<int64_t>> others = sizes;
      if (twin)
        if (auto of_twin = twin->type()->cast<c10::TensorType>())
          others = of_twin->sizes().concrete_sizes();
      out << '\t' << static_cast<int>(*type->scalarType()) << '\t';
      for (size_t i = 0; i < sizes->size(); ++i) {
        bool fixed = others && others->size() == sizes->size() && (*others)[i] == (*sizes)[i];
        out << (i ? "," : "") << (fixed ? (*sizes)[i] : -1);
      }
    }
    out << '\n';
  }

  template <typename L> void list(const char *kind, const L &list) {
    out << kind << '\t';
    for (size_t i = 0; i < list.size(); ++i)
      out << (i ? "," : "") << list[i];
  }

  void constant(jit::Node *node) {
    auto value = jit::toIValue(node->output());
    TORCH_CHECK(value, "a constant without a value");
    out << "constant\t" << id(node->output()) << '\t';
    if (value->isNone())
      out << "none";
    else if (value->isTensor()) {
      out << "tensor\t" << traced.tensors.size();
      traced.tensors.push_back(value->toTensor());
    } else if (value->isInt())
      out << "int\t" << value->toInt();
    else if (value->isDouble())
      out << "float\t" << value->toDouble();
    else if (value->isBool())
      out << "int\t" << value->toBool();
    else if (value->isString())
      out << "text\t" << value->toStringRef();
    else if (value->isIntList())
      list("ints", value->toIntVector());
    else if (value->isDoubleList())
      list("floats", value->toDoubleVector());
    else if (value->isBoolList()) {
      auto bools = value->toBoolList();
      list("ints", std::vector<int>(bools.begin(), bools.end()));
    } else if (value->isTensorList()) {
      auto tensors = value->toTensorVector();
      out << "tensors\t" << traced.tensors.size() << ',' << tensors.size();
      traced.tensors.insert(traced.tensors.end(), tensors.begin(), tensors.end());
    } else
      out << "other\t" << value->tagKind();
    out << '\n';
  }

  template <typename V> void ids_of(const V &values) {
    out << '\t';
    for (size_t i = 0; i < values.size(); ++i)
      out << (i ? "," : "") << id(values[i]);
  }

  void write() {
    auto &graph = *traced.graph;
    out << std::setprecision(17);
    Pairs pairs;
    if (traced.other)
      flatten_into(graph.block(), traced.other->block(), pairs);
    else
      for (auto node : graph.nodes())
        pairs.emplace_back(node, nullptr);
    for (size_t i = 0; i < graph.inputs().size(); ++i)
      value(graph.inputs()[i], traced.other ? traced.other->inputs()[i] : nullptr);
    for (auto [node, twin] : pairs) {
      for (size_t i = 0; i < node->outputs().size(); ++i)
        value(node->outputs()[i], twin ? twin->outputs()[i] : nullptr);
      if (node->kind() == c10::prim::Constant) {
        constant(node);
        continue;
      }
      out << "node\t" << node->kind().toQualString();
      ids_of(node->inputs());
      ids_of(node->outputs());
      out << '\n';
    }
    out << "inputs";
    ids_of(graph.inputs());
    out << "\noutputs";
    ids_of(graph.outputs());
    out << '\n';
  }
};

} // namespace

int shim_is_tracing(void) { return torch::jit::tracer::isTracing(); }

void shim_push_result(void *results, tensor result) {
  static_cast<std::vector<at::Tensor> *>(results)->push_back(*result);
}

char *shim_script(size_t num_variables, const char *const *names, tensor *variables, script *out) {
  return guarded([&] {
    jit::Module module("__torch__.Sonotune");
    module.train(false);
    for (size_t i = 0; i < num_variables; ++i) {
      auto [owner, name] = place_of(module, names[i]);
      owner.register_buffer(name, *variables[i]);
    }
    *out = new Script{module};
  });
}

char *shim_script_record(script to, const char *method, size_t num_inputs, tensor *inputs, tensor *other_inputs,
                         void *data, trace_call call, traced *out) {
  return guarded([&] {
    TORCH_CHECK(!jit::tracer::isTracing(), "a computation is being traced already");
    at::NoGradGuard no_grad;
    auto &module = to->module;
    auto graph = record(module, num_inputs, inputs, data, call);
    std::shared_ptr<jit::Graph> other;
    if (other_inputs) {
      other = record(module, num_inputs, other_inputs, data, call);
      generalise(*graph, *other);
      other = folded(module, *other);
    }
    auto own = folded(module, *graph);
    c10::QualifiedName name(*module.type()->name(), method);
    module.type()->addMethod(module._ivalue()->compilation_unit()->create_function(name, graph));
    *out = new Traced{own, other, {}};
  });
}

char *shim_script_save(script from, const char *path, const char *note_name, const char *note) {
  return guarded([&] { from->module.save(path, {{note_name, note}}); });
}

void shim_script_free(script owned) { delete owned; }

char *shim_traced_graph(traced trace, char **text, size_t *num_tensors) {
  return guarded([&] {
    trace->tensors.clear();
    Writer writer{*trace, {}, {}};
    writer.write();
    *text = strdup(writer.out.str().c_str());
    TORCH_CHECK(*text, "no memory");
    *num_tensors = trace->tensors.size();
  });
}

char *shim_traced_tensor(traced trace, size_t index, tensor *out) {
  return guarded([&] { *out = new at::Tensor(trace->tensors.at(index)); });
}

void shim_traced_free(traced trace) { delete trace; }
