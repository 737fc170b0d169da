//! Along axes: sums, means, extremes, softmax.

use anyhow::Result;
use tch::Kind;

use super::{Results, one};
use crate::onnx::{builder::Attribute, convert::Call};

pub(super) fn convert(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    match call.node.operator.as_str() {
        "aten::mean" => reduced(call, "ReduceMean"),
        "aten::sum" => reduced(call, "ReduceSum"),
        "aten::amax" => reduced(call, "ReduceMax"),
        "aten::amin" => reduced(call, "ReduceMin"),
        "aten::any" => any(call),
        "aten::argmax" => argmax(call),
        "aten::softmax" => softmax(call),
        _ => Ok(None),
    }
}

fn reduced(call: &mut Call<'_, '_>, operator: &str) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let x = call.operand(0, kind)?;
    // `mean(x, dtype)` reduces everything, `mean(x, dim, keepdim, dtype)` axes.
    let by_axes = call.node.inputs.len() > 2;
    let axes = if by_axes { call.ints(1)? } else { Vec::new() };
    let keep = if by_axes { call.int_or(2, 0)? } else { 0 };
    let keep = Attribute::Int("keepdims", keep);
    if axes.is_empty() {
        return one(call.builder().node(operator, &[&x], &[keep]));
    }
    let axes = call.builder().ints(&axes);
    one(call.builder().node(operator, &[&x, &axes], &[keep]))
}

/// Whether any is true along an axis.
fn any(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let x = call.operand(0, Kind::Int)?;
    let (axes, keep) = (call.ints(1)?, call.int_or(2, 0)?);
    let axes = call.builder().ints(&axes);
    let most = call.builder().node("ReduceMax", &[&x, &axes], &[Attribute::Int("keepdims", keep)]);
    let zero = call.builder().scalar(0.0, Kind::Int)?;
    one(call.builder().node("Greater", &[&most, &zero], &[]))
}

fn argmax(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    if call.is_none(1) {
        return call.refuse(" without an axis");
    }
    let x = call.tensor(0)?;
    let (axis, keep) = (call.int(1)?, call.int_or(2, 0)?);
    let attributes = [Attribute::Int("axis", axis), Attribute::Int("keepdims", keep)];
    one(call.builder().node("ArgMax", &[&x], &attributes))
}

fn softmax(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let x = call.operand(0, kind)?;
    let axis = call.int(1)?;
    one(call.builder().node("Softmax", &[&x], &[Attribute::Int("axis", axis)]))
}
