//! ONNX files: recorded graphs converted operator by operator, with what loaders expect around them.

mod builder;
mod convert;
mod decoder;
mod encoder;
mod ops;
mod precision;
pub mod proto;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;
use sonotune_base::fs::atomic_write;
use sonotune_engine::task::Part;
use sonotune_shim::Graph;
use tch::{Kind, Tensor};

pub use precision::Precision;

use crate::{prepare::Preparation, recorded::Recorded};
use builder::{Builder, ValueInfo, data_type_of};
use convert::convert;

/// What every file says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) about: String,
    pub(crate) properties: Vec<(String, String)>,
}

/// Writes one function of prepared images.
///
/// # Errors
/// Of kind config if an operator has no counterpart.
pub(crate) fn write_whole(
    path: &Path,
    recorded: &Recorded,
    part: &Part<'_>,
    precision: Precision,
    label: &Label,
) -> Result<()> {
    let mut builder = Builder::default();
    plain(&mut builder, recorded, part)?;
    precision.apply(&mut builder)?;
    atomic_write(path, &builder.finish(part.name, &label.about, &label.properties)?)
}

/// Writes SAM's encoder: from pixels where the loader gives pixels, else from a prepared image.
///
/// # Errors
/// Same errors as [`write_whole`].
pub(crate) fn write_encoder(
    path: &Path,
    recorded: &Recorded,
    part: &Part<'_>,
    preparation: Option<&Preparation>,
    precision: Precision,
    label: &Label,
) -> Result<()> {
    let mut builder = Builder::default();
    match preparation {
        Some(preparation) => encoder::from_pixels(&mut builder, recorded, part, preparation)?,
        None => plain(&mut builder, recorded, part)?,
    }
    precision.apply(&mut builder)?;
    atomic_write(path, &builder.finish("encoder", &label.about, &label.properties)?)
}

pub(crate) use decoder::{Frame, PROMPT_SIDE, write_decoder};

/// Inputs and outputs as the part has them.
fn plain(builder: &mut Builder, recorded: &Recorded, part: &Part<'_>) -> Result<()> {
    let graph = recorded.graph(part.name)?;
    let mut inputs = Vec::new();
    for (input, &id) in part.inputs.iter().zip(&graph.inputs) {
        let sizes = graph.values[id].sizes.clone().unwrap_or_else(|| input.example.size());
        declare_input(builder, input.name, input.example.kind(), &sizes, &input.about)?;
        inputs.push(input.name.to_owned());
    }
    let name_of = |tensor: &Tensor| recorded.name_of(tensor);
    let outputs = convert(builder, graph, &inputs, &name_of)?;
    declare_outputs(builder, part, graph, &outputs)
}

fn declare_input(
    builder: &mut Builder,
    name: &str,
    kind: Kind,
    sizes: &[i64],
    about: &str,
) -> Result<()> {
    let sizes: Vec<_> =
        sizes.iter().map(|&size| if size < 0 { Err("num_points") } else { Ok(size) }).collect();
    builder.input(name, ValueInfo { data_type: data_type_of(kind)?, sizes: &sizes, about });
    Ok(())
}

fn declare_outputs(
    builder: &mut Builder,
    part: &Part<'_>,
    graph: &Graph,
    outputs: &[String],
) -> Result<()> {
    let ids = output_ids(graph);
    for ((output, value), id) in part.outputs.iter().zip(outputs).zip(ids) {
        let value_of = &graph.values[id];
        let sizes = value_of.sizes.clone().unwrap_or_default();
        let sizes: Vec<_> = sizes.iter().map(|&size| Ok(size)).collect();
        let data_type = data_type_of(value_of.kind.unwrap_or(Kind::Float))?;
        let info = ValueInfo { data_type, sizes: &sizes, about: &output.about };
        builder.output(output.name, value, info);
    }
    Ok(())
}

/// The values that a graph gives, a tuple's one by one.
fn output_ids(graph: &Graph) -> Vec<usize> {
    let tuple = |&id: &usize| {
        let of = graph.nodes.iter().find(|node| node.outputs.contains(&id));
        of.filter(|node| node.operator == "prim::TupleConstruct").map(|node| node.inputs.clone())
    };
    graph.outputs.iter().flat_map(|id| tuple(id).unwrap_or_else(|| vec![*id])).collect()
}
