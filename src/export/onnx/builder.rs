//! Builds an ONNX graph node by node.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use prost::Message;
use tch::{Kind, Tensor};

use super::proto::{
    AttributeProto, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto, attribute_type, data_type,
};
use sonotune_base::Error;

/// The version of the operators; the first with antialiased `Resize`.
const OPSET: i64 = 18;
/// The version of the file format that came with it.
const IR_VERSION: i64 = 8;
/// A protobuf message cannot be larger.
const MAX_BYTES: usize = (1 << 31) - 1;

/// An attribute of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attribute<'a> {
    Int(&'a str, i64),
    Float(&'a str, f64),
    Ints(&'a str, &'a [i64]),
    Text(&'a str, &'a str),
}

/// A graph in the making.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    graph: GraphProto,
    /// The name of each small initializer, by dtype, sizes and bytes: several graphs of one model share theirs.
    known: HashMap<(i32, Vec<i64>, Vec<u8>), String>,
    /// Names in use, with the sizes of what they are.
    taken: HashMap<String, Vec<i64>>,
    count: usize,
}

impl Builder {
    /// Adds a node with one output; returns its name. An empty input is one that is left out.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[Attribute<'_>],
    ) -> String {
        let output = self.fresh(operator);
        self.add(operator, inputs, vec![output.clone()], attributes);
        output
    }

    /// Adds a node with `count` outputs.
    pub(crate) fn nodes(
        &mut self,
        operator: &str,
        inputs: &[&str],
        count: usize,
        attributes: &[Attribute<'_>],
    ) -> Vec<String> {
        let outputs: Vec<_> = (0..count).map(|_| self.fresh(operator)).collect();
        self.add(operator, inputs, outputs.clone(), attributes);
        outputs
    }

    fn add(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: Vec<String>,
        attributes: &[Attribute<'_>],
    ) {
        let name = format!("node_{}", self.graph.node.len());
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output,
            name,
            op_type: operator.to_owned(),
            attribute: attributes.iter().map(attribute).collect(),
        });
    }

    fn fresh(&mut self, hint: &str) -> String {
        self.count += 1;
        format!("{}_{}", hint.to_lowercase(), self.count)
    }

    /// A constant tensor, once however often it is used; `hint` becomes its name if it is free.
    pub(crate) fn constant(&mut self, hint: Option<&str>, tensor: &Tensor) -> Result<String> {
        let data_type = data_type_of(tensor.kind())?;
        let raw_data = bytes_of(tensor)?;
        Ok(self.initializer(hint, tensor.size(), data_type, raw_data))
    }

    /// Same as [`constant`](Self::constant), from bytes.
    pub(crate) fn initializer(
        &mut self,
        hint: Option<&str>,
        dims: Vec<i64>,
        data_type: i32,
        raw_data: Vec<u8>,
    ) -> String {
        // Large ones are known by the model's name for them.
        const SMALL: usize = 4 << 20;
        if let Some(hint) = hint.filter(|&hint| self.taken.get(hint) == Some(&dims)) {
            return hint.to_owned();
        }
        let key = (raw_data.len() <= SMALL).then(|| (data_type, dims.clone(), raw_data.clone()));
        if let Some(name) = key.as_ref().and_then(|key| self.known.get(key)) {
            return name.clone();
        }
        let name = match hint {
            Some(hint) if !self.taken.contains_key(hint) => hint.to_owned(),
            _ => self.fresh("constant"),
        };
        self.taken.insert(name.clone(), dims.clone());
        if let Some(key) = key {
            self.known.insert(key, name.clone());
        }
        self.graph.initializer.push(TensorProto { dims, data_type, name: name.clone(), raw_data });
        name
    }

    /// `[N]` i64.
    pub(crate) fn ints(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(None, vec![values.len() as i64], data_type::INT64, bytes)
    }

    /// 0-d i64.
    pub(crate) fn int(&mut self, value: i64) -> String {
        self.initializer(None, Vec::new(), data_type::INT64, value.to_le_bytes().to_vec())
    }

    /// 0-d f32.
    pub(crate) fn float(&mut self, value: f64) -> String {
        let bytes = (value as f32).to_le_bytes().to_vec();
        self.initializer(None, Vec::new(), data_type::FLOAT, bytes)
    }

    /// 0-d f64.
    pub(crate) fn double(&mut self, value: f64) -> String {
        self.initializer(None, Vec::new(), data_type::DOUBLE, value.to_le_bytes().to_vec())
    }

    /// A number in the format `kind`, 0-d.
    pub(crate) fn scalar(&mut self, value: f64, kind: Kind) -> Result<String> {
        let tensor = Tensor::from(value).to_kind(kind);
        self.constant(None, &tensor)
    }

    pub(crate) fn cast(&mut self, value: &str, data_type: i32) -> String {
        self.node("Cast", &[value], &[Attribute::Int("to", data_type.into())])
    }

    /// Declares an input. Sizes below 0 are open; their names follow in order.
    pub(crate) fn input(&mut self, name: &str, value: ValueInfo<'_>) {
        self.graph.input.push(value.proto(name));
    }

    /// Declares that `value` is the output `name`.
    pub(crate) fn output(&mut self, name: &str, value: &str, info: ValueInfo<'_>) {
        self.add("Identity", &[value], vec![name.to_owned()], &[]);
        self.graph.output.push(info.proto(name));
    }

    /// The graph so far, to rewrite.
    pub(crate) fn graph_mut(&mut self) -> &mut GraphProto {
        &mut self.graph
    }

    /// The file, with a name, a description and properties.
    ///
    /// # Errors
    /// Of kind config if it is too large for one file.
    pub(crate) fn finish(
        mut self,
        name: &str,
        about: &str,
        properties: &[(String, String)],
    ) -> Result<Vec<u8>> {
        name.clone_into(&mut self.graph.name);
        let entry = |(key, value): &(String, String)| StringStringEntryProto {
            key: key.clone(),
            value: value.clone(),
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "sonotune".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: about.to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            metadata_props: properties.iter().map(entry).collect(),
        };
        let length = model.encoded_len();
        if length > MAX_BYTES {
            return Err(Error::config(format!(
                "{name}: {} as one ONNX file, whose limit is 2 GiB; use --precision fp16 or --format torchscript",
                sonotune_base::words::bytes(length as u64)
            ))
            .into());
        }
        Ok(model.encode_to_vec())
    }
}

/// What is declared of an input or output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueInfo<'a> {
    pub(crate) data_type: i32,
    /// `Err`: open, by this name.
    pub(crate) sizes: &'a [Result<i64, &'a str>],
    pub(crate) about: &'a str,
}

impl ValueInfo<'_> {
    fn proto(self, name: &str) -> ValueInfoProto {
        let dimension = |size: &Result<i64, &str>| Dimension {
            value: Some(match *size {
                Ok(size) => DimensionValue::Value(size),
                Err(name) => DimensionValue::Param(name.to_owned()),
            }),
        };
        let shape = TensorShapeProto { dim: self.sizes.iter().map(dimension).collect() };
        let tensor_type = TensorType { elem_type: self.data_type, shape: Some(shape) };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
            doc_string: self.about.to_owned(),
        }
    }
}

fn attribute(attribute: &Attribute<'_>) -> AttributeProto {
    let mut proto = AttributeProto::default();
    let name = match *attribute {
        Attribute::Int(name, value) => {
            (proto.i, proto.r#type) = (value, attribute_type::INT);
            name
        }
        Attribute::Float(name, value) => {
            (proto.f, proto.r#type) = (value as f32, attribute_type::FLOAT);
            name
        }
        Attribute::Ints(name, values) => {
            (proto.ints, proto.r#type) = (values.to_vec(), attribute_type::INTS);
            name
        }
        Attribute::Text(name, text) => {
            (proto.s, proto.r#type) = (text.as_bytes().to_vec(), attribute_type::STRING);
            name
        }
    };
    AttributeProto { name: name.to_owned(), ..proto }
}

/// ONNX's number for a dtype.
///
/// # Errors
/// If none of ours has it.
pub(crate) fn data_type_of(kind: Kind) -> Result<i32> {
    Ok(match kind {
        Kind::Float => data_type::FLOAT,
        Kind::Double => data_type::DOUBLE,
        Kind::Half => data_type::FLOAT16,
        Kind::Int64 => data_type::INT64,
        Kind::Int => data_type::INT32,
        Kind::Int8 => data_type::INT8,
        Kind::Uint8 => data_type::UINT8,
        Kind::Bool => data_type::BOOL,
        other => bail!("the export does not write tensors of {other:?}"),
    })
}

/// The values in row-major order, little endian.
fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor
        .f_copy_data_u8(&mut bytes, tensor.numel())
        .context("copying the values of a constant")?;
    Ok(bytes)
}
