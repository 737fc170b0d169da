//! Smaller weights: 16 bits, or 8 bits with products in integers.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use half::f16;

use super::{
    builder::{Attribute, Builder},
    proto::{GraphProto, NodeProto, TensorProto, data_type},
};

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    Fp32,
    /// In 16 bits, computed in 32.
    Fp16,
    /// Weights of matrix products in 8 bits, by column; their inputs are quantised as they come.
    Int8,
}

/// Smaller constants stay as they are: sizes, scales, biases of a few values.
const FEW_VALUES: usize = 1024;

impl Precision {
    /// Its name in options and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }

    /// Rewrites the graph so far.
    pub(super) fn apply(self, builder: &mut Builder) -> Result<()> {
        match self {
            Self::Fp32 => Ok(()),
            Self::Fp16 => {
                halve(builder);
                Ok(())
            }
            Self::Int8 => quantise(builder),
        }
    }
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    tensor.raw_data.chunks_exact(4).map(number).collect()
}

fn is_large(tensor: &TensorProto) -> bool {
    tensor.data_type == data_type::FLOAT && tensor.raw_data.len() >= 4 * FEW_VALUES
}

/// Large constants in 16 bits, each followed by a cast, which runtimes do once, on loading. Values beyond the
/// format's range keep 32 bits.
fn halve(builder: &mut Builder) {
    let graph = builder.graph_mut();
    let mut casts = Vec::new();
    for tensor in graph.initializer.iter_mut().filter(|tensor| is_large(tensor)) {
        let values = floats(tensor);
        if values.iter().any(|value| value.abs() > f32::from(f16::MAX)) {
            continue;
        }
        tensor.raw_data =
            values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
        tensor.data_type = data_type::FLOAT16;
        let full = tensor.name.clone();
        tensor.name = format!("{full}.fp16");
        casts.push((tensor.name.clone(), full));
    }
    let mut first = Builder::default();
    for (from, to) in casts {
        let cast = first.cast(&from, data_type::FLOAT);
        rename_output(first.graph_mut(), &cast, &to);
    }
    let casts = std::mem::take(&mut first.graph_mut().node);
    graph.node.splice(0..0, casts);
    number(graph);
}

fn rename_output(graph: &mut GraphProto, from: &str, to: &str) {
    for node in &mut graph.node {
        for output in node.output.iter_mut().filter(|output| *output == from) {
            to.clone_into(output);
        }
    }
}

/// Names of nodes are unique.
fn number(graph: &mut GraphProto) {
    for (index, node) in graph.node.iter_mut().enumerate() {
        node.name = format!("node_{index}");
    }
}

/// An 8-bit weight: `values · scale` by column.
struct Quantised {
    values: String,
    scale: String,
}

/// Products with a constant `[K, N]` in integers: `DynamicQuantizeLinear`, `MatMulInteger`, and a product with the
/// scales of both.
fn quantise(builder: &mut Builder) -> Result<()> {
    let weights: HashMap<String, TensorProto> = {
        let graph = builder.graph_mut();
        let large = graph.initializer.iter().filter(|t| is_large(t) && t.dims.len() == 2);
        large.map(|tensor| (tensor.name.clone(), tensor.clone())).collect()
    };
    let nodes = std::mem::take(&mut builder.graph_mut().node);
    let mut known: HashMap<String, Quantised> = HashMap::new();
    let mut inputs: HashMap<String, Vec<String>> = HashMap::new();
    for node in nodes {
        let weight = node.input.get(1).and_then(|name| weights.get(name));
        let Some(weight) = weight.filter(|_| node.op_type == "MatMul") else {
            builder.graph_mut().node.push(node);
            continue;
        };
        let quantised =
            known.entry(weight.name.clone()).or_insert_with(|| quantised_weight(builder, weight));
        let input = node.input[0].clone();
        let parts = inputs
            .entry(input.clone())
            .or_insert_with(|| builder.nodes("DynamicQuantizeLinear", &[&input], 3, &[]));
        let (values, scale) = (quantised.values.clone(), quantised.scale.clone());
        product(builder, &node, parts, (&values, &scale));
    }
    drop_unused(builder.graph_mut());
    number(builder.graph_mut());
    Ok(())
}

fn product(builder: &mut Builder, node: &NodeProto, input: &[String], weight: (&str, &str)) {
    let [values, scale, zero] = input else { return };
    let whole = builder.node("MatMulInteger", &[values, weight.0, zero], &[]);
    let to = [Attribute::Int("to", data_type::FLOAT.into())];
    let real = builder.node("Cast", &[&whole], &to);
    let factor = builder.node("Mul", &[scale, weight.1], &[]);
    let result = builder.node("Mul", &[&real, &factor], &[]);
    rename_output(builder.graph_mut(), &result, &node.output[0]);
}

/// Symmetric, with one scale for each of N columns.
fn quantised_weight(builder: &mut Builder, weight: &TensorProto) -> Quantised {
    let columns = usize::try_from(weight.dims[1]).unwrap_or(1).max(1);
    let values = floats(weight);
    let mut largest = vec![0f32; columns];
    for row in values.chunks_exact(columns) {
        for (most, value) in largest.iter_mut().zip(row) {
            *most = most.max(value.abs());
        }
    }
    let scales: Vec<f32> =
        largest.iter().map(|most| if *most > 0.0 { most / 127.0 } else { 1.0 }).collect();
    let bytes: Vec<u8> = values
        .chunks_exact(columns)
        .flat_map(|row| row.iter().zip(&scales))
        .map(|(value, scale)| (value / scale).round() as i8 as u8)
        .collect();
    let hint = |what: &str| format!("{}.{what}", weight.name);
    let dims = weight.dims.clone();
    let values = builder.initializer(Some(&hint("int8")), dims, data_type::INT8, bytes);
    let scales: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
    let dims = vec![weight.dims[1]];
    let scale = builder.initializer(Some(&hint("scale")), dims, data_type::FLOAT, scales);
    Quantised { values, scale }
}

fn drop_unused(graph: &mut GraphProto) {
    let used: HashSet<&str> =
        graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    graph.initializer.retain(|tensor| used.contains(tensor.name.as_str()));
}
