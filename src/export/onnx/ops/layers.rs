//! Layers with weights, attention and resampling.

use anyhow::Result;
use tch::{Kind, Tensor};

use super::{Results, one};
use crate::onnx::{builder::Attribute, convert::Call};

pub(super) fn convert(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    match call.node.operator.as_str() {
        "aten::linear" => linear(call),
        "aten::matmul" | "aten::bmm" | "aten::mm" => {
            let (a, b) = (call.tensor(0)?, call.tensor(1)?);
            one(call.builder().node("MatMul", &[&a, &b], &[]))
        }
        "aten::conv2d" => conv2d(call, 6),
        "aten::_convolution" | "aten::convolution" => {
            match (call.sizes(1)?.len(), call.int(6)? != 0) {
                (4, false) => conv2d(call, 8),
                (4, true) => conv_transpose2d(call),
                _ => call.refuse(" except for images"),
            }
        }
        "aten::addmm" => addmm(call),
        "aten::layer_norm" => layer_norm(call),
        "aten::group_norm" => group_norm(call),
        "aten::batch_norm" => batch_norm(call),
        "aten::scaled_dot_product_attention" => attention(call),
        "aten::upsample_bilinear2d" => resize(call, "linear", false),
        "aten::_upsample_bilinear2d_aa" => resize(call, "linear", true),
        "aten::upsample_bicubic2d" => resize(call, "cubic", false),
        "aten::upsample_nearest2d" => resize(call, "nearest", false),
        "aten::max_pool2d" => max_pool(call),
        "aten::avg_pool2d" => avg_pool(call),
        "aten::adaptive_avg_pool2d" if call.ints(1)? == [1, 1] => {
            let x = call.tensor(0)?;
            one(call.builder().node("GlobalAveragePool", &[&x], &[]))
        }
        "aten::grid_sampler" => grid_sampler(call),
        _ => Ok(None),
    }
}

/// A matrix product of the last axis, which quantisation recognises, with the transposed weight.
fn linear(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let x = call.tensor(0)?;
    let weight = match call.constant_tensor(1) {
        Some(weight) => {
            let hint = call.name_of(&weight).map(|name| format!("{name}.transposed"));
            call.builder().constant(hint.as_deref(), &weight.tr().contiguous())?
        }
        None => {
            let weight = call.tensor(1)?;
            call.builder().node("Transpose", &[&weight], &[Attribute::Ints("perm", &[1, 0])])
        }
    };
    let product = call.builder().node("MatMul", &[&x, &weight], &[]);
    if call.is_none(2) {
        return one(product);
    }
    let bias = call.tensor(2)?;
    one(call.builder().node("Add", &[&product, &bias], &[]))
}

/// `groups`: the place of their number among the arguments.
fn conv2d(call: &mut Call<'_, '_>, groups: usize) -> Result<Option<Results>> {
    let (x, weight) = (call.tensor(0)?, call.tensor(1)?);
    let kernel = call.sizes(1)?[2..].to_vec();
    let (strides, padding, dilations) = (call.ints(3)?, call.ints(4)?, call.ints(5)?);
    let pads = [&padding[..], &padding[..]].concat();
    let attributes = [
        Attribute::Ints("kernel_shape", &kernel),
        Attribute::Ints("strides", &strides),
        Attribute::Ints("pads", &pads),
        Attribute::Ints("dilations", &dilations),
        Attribute::Int("group", call.int(groups)?),
    ];
    if call.is_none(2) {
        return one(call.builder().node("Conv", &[&x, &weight], &attributes));
    }
    let bias = call.tensor(2)?;
    one(call.builder().node("Conv", &[&x, &weight, &bias], &attributes))
}

fn conv_transpose2d(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let mut inputs = vec![call.tensor(0)?, call.tensor(1)?];
    if !call.is_none(2) {
        inputs.push(call.tensor(2)?);
    }
    let kernel = call.sizes(1)?[2..].to_vec();
    let (strides, padding, dilations) = (call.ints(3)?, call.ints(4)?, call.ints(5)?);
    let (pads, output_padding) = ([&padding[..], &padding[..]].concat(), call.ints(7)?);
    let attributes = [
        Attribute::Ints("kernel_shape", &kernel),
        Attribute::Ints("strides", &strides),
        Attribute::Ints("pads", &pads),
        Attribute::Ints("dilations", &dilations),
        Attribute::Ints("output_padding", &output_padding),
        Attribute::Int("group", call.int(8)?),
    ];
    let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
    one(call.builder().node("ConvTranspose", &inputs, &attributes))
}

/// `beta · c + alpha · a b`.
fn addmm(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let (beta, alpha) = (call.float(3)?, call.float(4)?);
    let (c, a, b) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let factors = [Attribute::Float("alpha", alpha), Attribute::Float("beta", beta)];
    one(call.builder().node("Gemm", &[&a, &b, &c], &factors))
}

/// Over the last axes, as many as the weight has.
fn layer_norm(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let shape = call.ints(1)?;
    let x = call.tensor(0)?;
    let weight = if call.is_none(2) {
        call.builder().constant(None, &Tensor::ones(&shape, (Kind::Float, tch::Device::Cpu)))?
    } else {
        call.tensor(2)?
    };
    let bias = if call.is_none(3) { String::new() } else { call.tensor(3)? };
    let eps = call.float(4)?;
    let attributes =
        [Attribute::Int("axis", -(shape.len() as i64)), Attribute::Float("epsilon", eps)];
    one(call.builder().node("LayerNormalization", &[&x, &weight, &bias], &attributes))
}

/// As an instance normalisation of groups, since ONNX's own has one weight a group before version 21.
fn group_norm(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let (sizes, groups, eps) = (call.sizes(0)?, call.int(1)?, call.float(4)?);
    let x = call.tensor(0)?;
    let channels = sizes[1];
    let filled = |value: f64| Tensor::full([groups], value, (Kind::Float, tch::Device::Cpu));
    let ones = call.builder().constant(None, &filled(1.0))?;
    let zeros = call.builder().constant(None, &filled(0.0))?;
    let shape = call.builder().ints(&[0, groups, -1]);
    let grouped = call.builder().node("Reshape", &[&x, &shape], &[]);
    let eps = Attribute::Float("epsilon", eps);
    let normed = call.builder().node("InstanceNormalization", &[&grouped, &ones, &zeros], &[eps]);
    let shape = call.builder().ints(&sizes);
    let mut y = call.builder().node("Reshape", &[&normed, &shape], &[]);
    let mut per_channel = vec![1; sizes.len() - 1];
    per_channel[0] = channels;
    for (index, operator) in [(2, "Mul"), (3, "Add")] {
        if let Some(tensor) = call.constant_tensor(index) {
            let hint = call.name_of(&tensor);
            let factor =
                call.builder().constant(hint.as_deref(), &tensor.view(per_channel.as_slice()))?;
            y = call.builder().node(operator, &[&y, &factor], &[]);
        }
    }
    one(y)
}

fn batch_norm(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    if call.int(5)? != 0 {
        return call.refuse(" with statistics of the batch");
    }
    let mut inputs = vec![call.tensor(0)?];
    let channels = call.sizes(3)?;
    for (index, value) in [(1, 1.0), (2, 0.0), (3, 0.0), (4, 1.0)] {
        inputs.push(if call.is_none(index) {
            let filled = Tensor::full(&channels, value, (Kind::Float, tch::Device::Cpu));
            call.builder().constant(None, &filled)?
        } else {
            call.tensor(index)?
        });
    }
    let eps = Attribute::Float("epsilon", call.float(7)?);
    let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
    one(call.builder().node("BatchNormalization", &inputs, &[eps]))
}

/// `softmax(q kᵀ · scale) v`, with a mask if there is one.
fn attention(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    if call.float(4)? != 0.0 || call.int(5)? != 0 {
        return call.refuse(" with dropout or a causal mask");
    }
    let (sizes, kind) = (call.sizes(0)?, call.result_kind()?);
    let (rank, width) = (sizes.len() as i64, sizes[sizes.len() - 1]);
    let scale = if call.is_none(6) { (width as f64).powf(-0.5) } else { call.float(6)? };
    let (q, k, v) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let mut order: Vec<_> = (0..rank).collect();
    order.swap(sizes.len() - 1, sizes.len() - 2);
    let k = call.builder().node("Transpose", &[&k], &[Attribute::Ints("perm", &order)]);
    let scale = call.builder().scalar(scale, kind)?;
    let q = call.builder().node("Mul", &[&q, &scale], &[]);
    let mut scores = call.builder().node("MatMul", &[&q, &k], &[]);
    if !call.is_none(3) {
        let is_bool = call.kind(3)? == Kind::Bool;
        let mask = call.tensor(3)?;
        let b = call.builder();
        scores = if is_bool {
            let hidden = b.scalar(f64::NEG_INFINITY, kind)?;
            b.node("Where", &[&mask, &scores, &hidden], &[])
        } else {
            b.node("Add", &[&scores, &mask], &[])
        };
    }
    let weights = call.builder().node("Softmax", &[&scores], &[Attribute::Int("axis", -1)]);
    one(call.builder().node("MatMul", &[&weights, &v], &[]))
}

fn resize(call: &mut Call<'_, '_>, mode: &str, antialias: bool) -> Result<Option<Results>> {
    let x = call.tensor(0)?;
    let sizes = call.result_sizes()?;
    let aligned = mode != "nearest" && call.int(2)? != 0;
    let frame = match (mode, aligned) {
        ("nearest", _) => "asymmetric",
        (_, true) => "align_corners",
        (_, false) => "half_pixel",
    };
    let sizes = call.builder().ints(&sizes);
    let mut attributes = vec![
        Attribute::Text("mode", mode),
        Attribute::Text("coordinate_transformation_mode", frame),
        Attribute::Int("antialias", antialias.into()),
    ];
    match mode {
        "nearest" => attributes.push(Attribute::Text("nearest_mode", "floor")),
        "cubic" => attributes.push(Attribute::Float("cubic_coeff_a", -0.75)),
        _ => {}
    }
    one(call.builder().node("Resize", &[&x, "", "", &sizes], &attributes))
}

fn max_pool(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let (x, kernel, padding, dilations) =
        (call.tensor(0)?, call.ints(1)?, call.ints(3)?, call.ints(4)?);
    let strides = Some(call.ints(2)?).filter(|s| !s.is_empty()).unwrap_or_else(|| kernel.clone());
    let pads = [&padding[..], &padding[..]].concat();
    let attributes = [
        Attribute::Ints("kernel_shape", &kernel),
        Attribute::Ints("strides", &strides),
        Attribute::Ints("pads", &pads),
        Attribute::Ints("dilations", &dilations),
        Attribute::Int("ceil_mode", call.int(5)?),
    ];
    one(call.builder().node("MaxPool", &[&x], &attributes))
}

fn avg_pool(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    if !call.is_none(6) {
        return call.refuse(" with a divisor of its own");
    }
    let (x, kernel, padding) = (call.tensor(0)?, call.ints(1)?, call.ints(3)?);
    let strides = Some(call.ints(2)?).filter(|s| !s.is_empty()).unwrap_or_else(|| kernel.clone());
    let pads = [&padding[..], &padding[..]].concat();
    let attributes = [
        Attribute::Ints("kernel_shape", &kernel),
        Attribute::Ints("strides", &strides),
        Attribute::Ints("pads", &pads),
        Attribute::Int("ceil_mode", call.int(4)?),
        Attribute::Int("count_include_pad", call.int(5)?),
    ];
    one(call.builder().node("AveragePool", &[&x], &attributes))
}

/// Bilinear, zeros outside.
fn grid_sampler(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    if call.int(2)? != 0 || call.int(3)? != 0 {
        return call.refuse(" in this mode");
    }
    let (x, grid, aligned) = (call.tensor(0)?, call.tensor(1)?, call.int(4)?);
    let attributes = [
        Attribute::Text("mode", "bilinear"),
        Attribute::Text("padding_mode", "zeros"),
        Attribute::Int("align_corners", aligned),
    ];
    one(call.builder().node("GridSample", &[&x, &grid], &attributes))
}
