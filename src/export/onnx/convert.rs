//! Converts a recorded graph, operator by operator.

use anyhow::{Context, Result, bail};
use sonotune_base::Error;
use sonotune_shim::{Constant, Graph, Node};
use tch::{Kind, Tensor};

use super::{
    builder::{Builder, data_type_of},
    ops,
};

/// What a value of the graph has become.
#[derive(Debug, Clone)]
enum Operand {
    /// A tensor of the ONNX graph.
    Tensor(String),
    Tensors(Vec<String>),
}

/// A conversion under way.
pub(crate) struct Converter<'a> {
    pub(crate) builder: &'a mut Builder,
    graph: &'a Graph,
    operands: Vec<Option<Operand>>,
    /// The name of a constant that is a variable of the model.
    name_of: &'a dyn Fn(&Tensor) -> Option<String>,
}

/// Adds the operators of `graph` to `builder`, for inputs of those names; returns the names of its outputs.
///
/// # Errors
/// Of kind config if an operator has no counterpart; names it.
pub(crate) fn convert(
    builder: &mut Builder,
    graph: &Graph,
    inputs: &[String],
    name_of: &dyn Fn(&Tensor) -> Option<String>,
) -> Result<Vec<String>> {
    anyhow::ensure!(inputs.len() == graph.inputs.len(), "the graph has other inputs");
    let operands = vec![None; graph.values.len()];
    let mut converter = Converter { builder, graph, operands, name_of };
    for (&id, name) in graph.inputs.iter().zip(inputs) {
        converter.operands[id] = Some(Operand::Tensor(name.clone()));
    }
    for node in &graph.nodes {
        converter
            .node(node)
            .with_context(|| format!("converting the operator {} to ONNX", node.operator))?;
    }
    let mut outputs = Vec::new();
    for &id in &graph.outputs {
        match &converter.operands[id] {
            Some(Operand::Tensors(names)) => outputs.extend(names.clone()),
            _ => outputs.push(converter.tensor(id)?),
        }
    }
    Ok(outputs)
}

impl Converter<'_> {
    fn node(&mut self, node: &Node) -> Result<()> {
        match node.operator.as_str() {
            "prim::ListConstruct" | "prim::TupleConstruct" => {
                let ids = &node.inputs;
                // A list of numbers is read where it is used.
                if ids.iter().all(|&id| self.is_tensor(id)) {
                    let names = ids.iter().map(|&id| self.tensor(id)).collect::<Result<_>>()?;
                    self.operands[node.outputs[0]] = Some(Operand::Tensors(names));
                }
                Ok(())
            }
            "prim::ListUnpack" | "prim::TupleUnpack" => {
                let names = self.tensors(node.inputs[0])?;
                for (&id, name) in node.outputs.iter().zip(names) {
                    self.operands[id] = Some(Operand::Tensor(name));
                }
                Ok(())
            }
            _ => {
                let results = ops::convert(&mut Call { converter: self, node })?;
                let operand = match results {
                    ops::Results::One(name) => Operand::Tensor(name),
                    ops::Results::List(names) => Operand::Tensors(names),
                };
                self.operands[node.outputs[0]] = Some(operand);
                Ok(())
            }
        }
    }

    fn is_tensor(&self, id: usize) -> bool {
        let is_constant = matches!(self.graph.values[id].constant, Some(Constant::Tensor(_)));
        is_constant || matches!(self.operands[id], Some(Operand::Tensor(_)))
    }

    fn tensors(&self, id: usize) -> Result<Vec<String>> {
        match &self.operands[id] {
            Some(Operand::Tensors(names)) => Ok(names.clone()),
            _ => bail!("expected a list of tensors"),
        }
    }

    /// The name of a tensor; a constant becomes an initializer.
    fn tensor(&mut self, id: usize) -> Result<String> {
        if let Some(Operand::Tensor(name)) = &self.operands[id] {
            return Ok(name.clone());
        }
        let Some(Constant::Tensor(tensor)) = &self.graph.values[id].constant else {
            bail!("expected a tensor, got {:?}", self.graph.values[id].constant)
        };
        let name = self.constant(tensor)?;
        self.operands[id] = Some(Operand::Tensor(name.clone()));
        Ok(name)
    }

    /// An initializer. Repeated values of an expanded constant are stored once.
    fn constant(&mut self, tensor: &Tensor) -> Result<String> {
        let hint = (self.name_of)(tensor);
        let repeats = tensor.stride().iter().zip(tensor.size()).any(|(&s, n)| s == 0 && n > 1);
        if !repeats {
            return self.builder.constant(hint.as_deref(), tensor);
        }
        let strides = tensor.stride();
        let once = (0i64..).zip(&strides).fold(tensor.shallow_clone(), |once, (dim, &stride)| {
            if stride == 0 { once.narrow(dim, 0, 1) } else { once }
        });
        let once = self.builder.constant(None, &once)?;
        let shape = self.builder.ints(&tensor.size());
        Ok(self.builder.node("Expand", &[&once, &shape], &[]))
    }
}

/// One operator, whose arguments are read by their place.
pub(crate) struct Call<'c, 'a> {
    converter: &'c mut Converter<'a>,
    pub(crate) node: &'c Node,
}

impl Call<'_, '_> {
    pub(crate) fn builder(&mut self) -> &mut Builder {
        self.converter.builder
    }

    fn id(&self, index: usize) -> Result<usize> {
        self.node.inputs.get(index).copied().with_context(|| format!("no argument {index}"))
    }

    fn constant(&self, index: usize) -> Result<&Constant> {
        let value = &self.converter.graph.values[self.id(index)?];
        value.constant.as_ref().with_context(|| format!("argument {index} is not a constant"))
    }

    pub(crate) fn is_none(&self, index: usize) -> bool {
        match self.id(index) {
            Ok(id) => matches!(self.converter.graph.values[id].constant, Some(Constant::None)),
            Err(_) => true,
        }
    }

    /// The constant tensor that the argument is.
    pub(crate) fn constant_tensor(&self, index: usize) -> Option<Tensor> {
        match self.constant(index) {
            Ok(Constant::Tensor(tensor)) => Some(tensor.shallow_clone()),
            _ => None,
        }
    }

    /// The model's name for a tensor.
    pub(crate) fn name_of(&self, tensor: &Tensor) -> Option<String> {
        (self.converter.name_of)(tensor)
    }

    /// A tensor; a number becomes one of the format `kind`.
    pub(crate) fn operand(&mut self, index: usize, kind: Kind) -> Result<String> {
        match self.constant(index) {
            Ok(&Constant::Int(number)) => self.builder().scalar(number as f64, kind),
            Ok(&Constant::Float(number)) => self.builder().scalar(number, kind),
            _ => {
                let own = self.kind(index)?;
                let name = self.tensor(index)?;
                if own == kind {
                    return Ok(name);
                }
                Ok(self.builder().cast(&name, data_type_of(kind)?))
            }
        }
    }

    pub(crate) fn tensor(&mut self, index: usize) -> Result<String> {
        let id = self.id(index)?;
        self.converter.tensor(id).with_context(|| format!("argument {index}"))
    }

    pub(crate) fn tensors(&self, index: usize) -> Result<Vec<String>> {
        self.converter.tensors(self.id(index)?).with_context(|| format!("argument {index}"))
    }

    pub(crate) fn int(&self, index: usize) -> Result<i64> {
        match self.constant(index)? {
            Constant::Int(number) => Ok(*number),
            Constant::Tensor(tensor) if tensor.numel() == 1 => Ok(i64::try_from(tensor)?),
            other => bail!("argument {index}: expected an integer, got {other:?}"),
        }
    }

    /// `default` where the argument is None.
    pub(crate) fn int_or(&self, index: usize, default: i64) -> Result<i64> {
        if self.is_none(index) { Ok(default) } else { self.int(index) }
    }

    pub(crate) fn float(&self, index: usize) -> Result<f64> {
        match self.constant(index)? {
            Constant::Float(number) => Ok(*number),
            Constant::Int(number) => Ok(*number as f64),
            other => bail!("argument {index}: expected a number, got {other:?}"),
        }
    }

    pub(crate) fn ints(&self, index: usize) -> Result<Vec<i64>> {
        match self.constant(index) {
            Ok(Constant::Ints(numbers)) => Ok(numbers.clone()),
            Ok(Constant::Int(number)) => Ok(vec![*number]),
            Ok(Constant::None) => Ok(Vec::new()),
            Ok(other) => bail!("argument {index}: expected integers, got {other:?}"),
            Err(_) => self.listed_ints(index),
        }
    }

    /// Those of a list that was constructed in the graph.
    fn listed_ints(&self, index: usize) -> Result<Vec<i64>> {
        let graph = self.converter.graph;
        let id = self.id(index)?;
        let list = graph.nodes.iter().find(|node| node.outputs.contains(&id));
        let list = list.filter(|node| node.operator == "prim::ListConstruct");
        let list = list.with_context(|| format!("argument {index} depends on the inputs"))?;
        let number = |&id: &usize| match &graph.values[id].constant {
            Some(Constant::Int(number)) => Ok(*number),
            _ => bail!("argument {index}: a size that depends on the inputs"),
        };
        list.inputs.iter().map(number).collect()
    }

    pub(crate) fn text(&self, index: usize) -> Result<&str> {
        match self.constant(index)? {
            Constant::Text(text) => Ok(text),
            other => bail!("argument {index}: expected a text, got {other:?}"),
        }
    }

    /// Whether the argument is a number and no tensor.
    pub(crate) fn is_number(&self, index: usize) -> bool {
        matches!(self.constant(index), Ok(Constant::Int(_) | Constant::Float(_)))
    }

    /// The format of a tensor.
    pub(crate) fn kind(&self, index: usize) -> Result<Kind> {
        let value = &self.converter.graph.values[self.id(index)?];
        match (&value.constant, value.kind) {
            (Some(Constant::Tensor(tensor)), _) => Ok(tensor.kind()),
            (_, Some(kind)) => Ok(kind),
            _ => bail!("argument {index}: the number format is not known"),
        }
    }

    /// The sizes of a tensor; −1: open.
    pub(crate) fn sizes(&self, index: usize) -> Result<Vec<i64>> {
        let value = &self.converter.graph.values[self.id(index)?];
        match (&value.constant, &value.sizes) {
            (Some(Constant::Tensor(tensor)), _) => Ok(tensor.size()),
            (_, Some(sizes)) => Ok(sizes.clone()),
            _ => bail!("argument {index}: the sizes are not known"),
        }
    }

    /// An axis, counted from the front.
    pub(crate) fn axis(&self, index: usize, rank: usize) -> Result<i64> {
        let axis = self.int(index)?;
        Ok(if axis < 0 { axis + rank as i64 } else { axis })
    }

    /// The format of the result.
    pub(crate) fn result_kind(&self) -> Result<Kind> {
        let value = &self.converter.graph.values[self.node.outputs[0]];
        value.kind.context("the number format of the result is not known")
    }

    /// The sizes of the result; −1: open.
    pub(crate) fn result_sizes(&self) -> Result<Vec<i64>> {
        let value = &self.converter.graph.values[self.node.outputs[0]];
        value.sizes.clone().context("the sizes of the result are not known")
    }

    /// Number of tensors that the resulting list is unpacked to.
    pub(crate) fn result_count(&self) -> Result<usize> {
        let list = self.node.outputs[0];
        let nodes = &self.converter.graph.nodes;
        let unpack = nodes
            .iter()
            .find(|node| node.operator == "prim::ListUnpack" && node.inputs.first() == Some(&list));
        Ok(unpack.context("a list of tensors that is not unpacked")?.outputs.len())
    }

    /// An error of kind config: ONNX has no such operator.
    pub(crate) fn refuse<T>(&self, why: &str) -> Result<T> {
        Err(Error::config(format!(
            "`{}` has no ONNX counterpart{why}; --format torchscript exports this model",
            self.node.operator
        ))
        .into())
    }
}
