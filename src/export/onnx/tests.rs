//! Conversions of single functions; files of whole models are compared in the crate's integration tests.

use anyhow::Result;
use prost::Message;
use sonotune_base::error::{ErrorKind, kind};
use sonotune_shim::{Recording, Script};
use tch::{Device, Kind, Tensor};

use super::{
    Precision,
    builder::{Attribute, Builder, ValueInfo},
    convert::convert,
    proto::{DimensionValue, ModelProto, data_type},
};

/// The ONNX operators that a function of one `[2, 6]` becomes.
fn operators(body: impl Fn(&Tensor) -> Tensor) -> Result<Vec<String>> {
    let input = [Tensor::randn([2, 6], (Kind::Float, Device::Cpu))];
    let recording = Recording { name: "forward", inputs: &input, other_inputs: &[] };
    let graph = Script::new(&[])?.record(&recording, &|x| Ok(vec![body(&x[0])]))?;
    let mut builder = Builder::default();
    let outputs = convert(&mut builder, &graph, &["x".to_owned()], &|_| None)?;
    assert_eq!(outputs.len(), 1);
    let nodes = builder.graph_mut().node.iter();
    Ok(nodes.map(|node| node.op_type.clone()).collect())
}

#[test]
fn an_operator_without_a_counterpart_is_refused_by_name() {
    let error = operators(|x| x.cumsum(1, Kind::Float)).unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains("`aten::cumsum` has no ONNX counterpart"), "{message}");
    assert!(message.contains("--format torchscript"), "{message}");
    assert_eq!(kind(&error), Some(ErrorKind::Config));
}

#[test]
fn operators_become_those_of_onnx() {
    let product =
        |x: &Tensor| x.linear(&Tensor::ones([3, 6], (Kind::Float, Device::Cpu)), None::<Tensor>);
    assert_eq!(operators(product).unwrap(), ["MatMul"]);
    assert_eq!(operators(|x| x.view([3, 4]).transpose(0, 1)).unwrap(), ["Reshape", "Transpose"]);
    assert_eq!(operators(|x| x.narrow(1, 2, 3).relu()).unwrap(), ["Slice", "Relu"]);
    assert_eq!(operators(|x| 1.0 - x * 2.0).unwrap(), ["Mul", "Sub", "Neg"]);
    let constant_only = |x: &Tensor| x + Tensor::arange(6, (Kind::Float, Device::Cpu)).sqrt();
    assert_eq!(operators(constant_only).unwrap(), ["Add"]);
}

#[test]
fn files_can_be_read_back() {
    let mut builder = Builder::default();
    let sizes = [Ok(1), Err("num_points")];
    let info = ValueInfo { data_type: data_type::FLOAT, sizes: &sizes, about: "in pixels" };
    builder.input("x", info);
    let weight = Tensor::from_slice(&[1f32, -2.5]);
    let first = builder.constant(Some("head.weight"), &weight).unwrap();
    // Once, whatever it is called.
    assert_eq!(builder.constant(Some("other"), &weight).unwrap(), first);
    let y = builder.node("Mul", &["x", &first], &[Attribute::Ints("unused", &[3, -1])]);
    builder.output("y", &y, info);
    let properties = [("precision".to_owned(), "fp32".to_owned())];
    let bytes = builder.finish("model", "about it", &properties).unwrap();
    let model = ModelProto::decode(bytes.as_slice()).unwrap();
    assert_eq!((model.opset_import[0].version, model.ir_version), (18, 8));
    assert_eq!(model.metadata_props[0].key, "precision");
    let graph = model.graph.unwrap();
    assert_eq!(graph.initializer.len(), 1);
    assert_eq!(graph.initializer[0].raw_data, [1f32, -2.5].map(f32::to_le_bytes).concat());
    assert_eq!(graph.node[0].attribute[0].ints, [3, -1]);
    let tensor_type = graph.input[0].r#type.clone().unwrap().tensor_type.unwrap();
    let dims = tensor_type.shape.unwrap().dim;
    assert_eq!(dims[1].value, Some(DimensionValue::Param("num_points".to_owned())));
    assert_eq!(graph.output[0].name, "y");
}

/// `x W` for a weight that is large enough to be stored in fewer bits.
fn product() -> (Builder, Tensor) {
    let weight = Tensor::randn([64, 32], (Kind::Float, Device::Cpu));
    let mut builder = Builder::default();
    let name = builder.constant(Some("w"), &weight).unwrap();
    let y = builder.node("MatMul", &["x", &name], &[]);
    let sizes = [Ok(1), Ok(32)];
    builder.output("y", &y, ValueInfo { data_type: data_type::FLOAT, sizes: &sizes, about: "" });
    (builder, weight)
}

#[test]
fn eight_bits_keep_every_column_within_half_a_step() {
    let (mut builder, weight) = product();
    Precision::Int8.apply(&mut builder).unwrap();
    let graph = builder.graph_mut();
    let operators: Vec<_> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    let expected = ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul", "Identity"];
    assert_eq!(operators, expected);
    let find = |name: &str| graph.initializer.iter().find(|tensor| tensor.name == name).unwrap();
    let values: Vec<i8> = find("w.int8").raw_data.iter().map(|&byte| byte as i8).collect();
    let scale = Tensor::from_data_size(&find("w.scale").raw_data, &[32], Kind::Float);
    let back = Tensor::from_slice(&values).view([64, 32]).to_kind(Kind::Float) * &scale;
    let off = f64::try_from(((back - &weight).abs() / &scale).max()).unwrap();
    assert!(off <= 0.5 + 1e-4, "{off} steps");
    assert!(graph.initializer.iter().all(|tensor| tensor.name != "w"), "the fp32 weight is gone");
}

#[test]
fn sixteen_bits_are_widened_before_use() {
    let (mut builder, _) = product();
    Precision::Fp16.apply(&mut builder).unwrap();
    let graph = builder.graph_mut();
    assert_eq!((graph.node[0].op_type.as_str(), graph.node[0].output[0].as_str()), ("Cast", "w"));
    assert_eq!(graph.initializer[0].data_type, data_type::FLOAT16);
    assert_eq!(graph.initializer[0].raw_data.len(), 64 * 32 * 2);
}
