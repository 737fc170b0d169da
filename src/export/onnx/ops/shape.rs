//! What moves values and computes none: reshapes, slices, concatenations.

use anyhow::{Result, bail, ensure};
use tch::Kind;

use super::{Results, one};
use crate::onnx::{builder::Attribute, convert::Call};

pub(super) fn convert(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    match call.node.operator.as_str() {
        "aten::view" | "aten::reshape" | "aten::_unsafe_view" => {
            let shape = call.ints(1)?;
            reshape(call, &shape)
        }
        "aten::flatten" | "aten::unflatten" | "aten::squeeze" | "aten::view_as"
        | "aten::reshape_as" => {
            let shape = call.result_sizes()?;
            reshape(call, &shape)
        }
        "aten::unsqueeze" => {
            let rank = call.sizes(0)?.len() + 1;
            let (x, axis) = (call.tensor(0)?, call.axis(1, rank)?);
            let axes = call.builder().ints(&[axis]);
            one(call.builder().node("Unsqueeze", &[&x, &axes], &[]))
        }
        "aten::permute" => {
            let rank = call.sizes(0)?.len() as i64;
            let order: Vec<_> =
                call.ints(1)?.iter().map(|&d| if d < 0 { d + rank } else { d }).collect();
            transpose(call, &order)
        }
        "aten::transpose" | "aten::t" | "aten::numpy_T" => {
            let rank = call.sizes(0)?.len();
            let mut order: Vec<_> = (0..rank as i64).collect();
            match call.node.operator.as_str() {
                "aten::transpose" => {
                    let (a, b) = (call.axis(1, rank)?, call.axis(2, rank)?);
                    order.swap(usize::try_from(a)?, usize::try_from(b)?);
                }
                _ => order.reverse(),
            }
            transpose(call, &order)
        }
        "aten::expand" | "aten::expand_as" | "aten::broadcast_to" => expand(call),
        "aten::repeat" => repeat(call),
        "aten::cat" | "aten::concat" => cat(call),
        "aten::stack" => stack(call),
        "aten::select" => select(call),
        "aten::narrow" => {
            let (start, length) = (call.int(2)?, call.int(3)?);
            slice(call, Some(start), Some(start + length), 1)
        }
        "aten::slice" => {
            let bound = |call: &Call<'_, '_>, index| {
                if call.is_none(index) { Ok(None) } else { call.int(index).map(Some) }
            };
            let (start, end) = (bound(call, 2)?, bound(call, 3)?);
            let step = call.int_or(4, 1)?;
            slice(call, start, end, step)
        }
        "aten::unbind" => unbind(call),
        "aten::split" | "aten::split_with_sizes" | "aten::chunk" => split(call),
        "aten::index_select" => {
            let rank = call.sizes(0)?.len();
            let (x, axis, index) = (call.tensor(0)?, call.axis(1, rank)?, call.tensor(2)?);
            one(call.builder().node("Gather", &[&x, &index], &[Attribute::Int("axis", axis)]))
        }
        "aten::gather" => {
            let rank = call.sizes(0)?.len();
            let (x, axis, index) = (call.tensor(0)?, call.axis(1, rank)?, call.tensor(2)?);
            let axis = Attribute::Int("axis", axis);
            one(call.builder().node("GatherElements", &[&x, &index], &[axis]))
        }
        "aten::constant_pad_nd" | "aten::pad" => pad(call),
        "aten::roll" => roll(call),
        _ => Ok(None),
    }
}

fn reshape(call: &mut Call<'_, '_>, shape: &[i64]) -> Result<Option<Results>> {
    let open = shape.iter().filter(|&&size| size < 0).count();
    ensure!(open <= 1, "the shape {shape:?} has {open} open sizes");
    ensure!(!shape.contains(&0), "the shape {shape:?} holds nothing");
    let x = call.tensor(0)?;
    let shape = call.builder().ints(shape);
    one(call.builder().node("Reshape", &[&x, &shape], &[]))
}

fn transpose(call: &mut Call<'_, '_>, order: &[i64]) -> Result<Option<Results>> {
    let x = call.tensor(0)?;
    if order.iter().copied().eq(0..order.len() as i64) {
        return one(x);
    }
    one(call.builder().node("Transpose", &[&x], &[Attribute::Ints("perm", order)]))
}

/// An open size stays what it is.
fn expand(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let sizes = call.result_sizes()?;
    let x = call.tensor(0)?;
    if call.node.operator == "aten::expand_as" && sizes.iter().any(|&size| size < 0) {
        let like = call.tensor(1)?;
        let shape = call.builder().node("Shape", &[&like], &[]);
        return one(call.builder().node("Expand", &[&x, &shape], &[]));
    }
    if sizes == call.sizes(0)? {
        return one(x);
    }
    let shape: Vec<_> = sizes.iter().map(|&size| size.max(1)).collect();
    let shape = call.builder().ints(&shape);
    one(call.builder().node("Expand", &[&x, &shape], &[]))
}

fn repeat(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let (sizes, repeats) = (call.sizes(0)?, call.ints(1)?);
    let mut x = call.tensor(0)?;
    if repeats.len() > sizes.len() {
        let axes: Vec<_> = (0..(repeats.len() - sizes.len()) as i64).collect();
        let axes = call.builder().ints(&axes);
        x = call.builder().node("Unsqueeze", &[&x, &axes], &[]);
    }
    let repeats = call.builder().ints(&repeats);
    one(call.builder().node("Tile", &[&x, &repeats], &[]))
}

fn cat(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let rank = call.result_sizes()?.len();
    let (parts, axis) = (call.tensors(0)?, call.axis(1, rank)?);
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    one(call.builder().node("Concat", &parts, &[Attribute::Int("axis", axis)]))
}

fn stack(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let rank = call.result_sizes()?.len();
    let (parts, axis) = (call.tensors(0)?, call.axis(1, rank)?);
    let axes = call.builder().ints(&[axis]);
    let mut raised = Vec::new();
    for part in &parts {
        raised.push(call.builder().node("Unsqueeze", &[part, &axes], &[]));
    }
    let parts: Vec<_> = raised.iter().map(String::as_str).collect();
    one(call.builder().node("Concat", &parts, &[Attribute::Int("axis", axis)]))
}

fn select(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let rank = call.sizes(0)?.len();
    let (x, axis, index) = (call.tensor(0)?, call.axis(1, rank)?, call.int(2)?);
    let index = call.builder().int(index);
    one(call.builder().node("Gather", &[&x, &index], &[Attribute::Int("axis", axis)]))
}

fn slice(
    call: &mut Call<'_, '_>,
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
) -> Result<Option<Results>> {
    let rank = call.sizes(0)?.len();
    let (x, axis) = (call.tensor(0)?, call.axis(1, rank)?);
    let b = call.builder();
    let bounds = [start.unwrap_or(0), end.unwrap_or(i64::MAX), axis, step];
    let [start, end, axis, step] = bounds.map(|bound| b.ints(&[bound]));
    one(b.node("Slice", &[&x, &start, &end, &axis, &step], &[]))
}

fn unbind(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let sizes = call.sizes(0)?;
    let axis = call.axis(1, sizes.len())?;
    let x = call.tensor(0)?;
    let mut parts = Vec::new();
    for index in 0..sizes[usize::try_from(axis)?] {
        let index = call.builder().int(index);
        let axis = Attribute::Int("axis", axis);
        parts.push(call.builder().node("Gather", &[&x, &index], &[axis]));
    }
    Ok(Some(Results::List(parts)))
}

fn split(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let sizes = call.sizes(0)?;
    let axis = call.axis(2, sizes.len())?;
    let whole = sizes[usize::try_from(axis)?];
    if whole < 0 {
        bail!("splits an axis of open size");
    }
    let lengths = match call.node.operator.as_str() {
        "aten::split_with_sizes" => call.ints(1)?,
        "aten::chunk" => equal_parts(whole, whole.div_ceil_of(call.int(1)?)),
        _ => match call.ints(1)?.as_slice() {
            [length] => equal_parts(whole, *length),
            lengths => lengths.to_vec(),
        },
    };
    let x = call.tensor(0)?;
    let lengths_name = call.builder().ints(&lengths);
    let axis = Attribute::Int("axis", axis);
    let count = call.result_count()?;
    ensure!(count == lengths.len(), "{count} parts, but {lengths:?}");
    Ok(Some(Results::List(call.builder().nodes("Split", &[&x, &lengths_name], count, &[axis]))))
}

trait DivCeil {
    fn div_ceil_of(self, by: i64) -> i64;
}

impl DivCeil for i64 {
    fn div_ceil_of(self, by: i64) -> i64 {
        (self + by - 1) / by.max(1)
    }
}

/// Parts of `length`; the last may be shorter.
fn equal_parts(whole: i64, length: i64) -> Vec<i64> {
    let length = length.max(1);
    (0..whole).step_by(length as usize).map(|start| length.min(whole - start)).collect()
}

/// libtorch counts pairs from the last axis, ONNX all starts and then all ends.
fn pad(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let rank = call.sizes(0)?.len();
    let (padding, kind) = (call.ints(1)?, call.result_kind()?);
    let (mode, value_at) = if call.node.operator == "aten::pad" {
        (call.text(2)?.to_owned(), 3)
    } else {
        ("constant".to_owned(), 2)
    };
    if mode != "constant" {
        return call.refuse(&format!(" in the mode {mode}"));
    }
    let mut pads = vec![0; 2 * rank];
    for (i, pair) in padding.chunks(2).enumerate() {
        let axis = rank - 1 - i;
        (pads[axis], pads[rank + axis]) = (pair[0], pair[1]);
    }
    let value = if call.is_none(value_at) { 0.0 } else { call.float(value_at)? };
    let x = call.tensor(0)?;
    let pads = call.builder().ints(&pads);
    let value = call.builder().scalar(value, kind)?;
    one(call.builder().node("Pad", &[&x, &pads, &value], &[]))
}

/// One slice after the other, axis by axis.
fn roll(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let sizes = call.sizes(0)?;
    let (shifts, axes) = (call.ints(1)?, call.ints(2)?);
    ensure!(shifts.len() == axes.len(), "as many shifts as axes");
    let mut x = call.tensor(0)?;
    for (&shift, &axis) in shifts.iter().zip(&axes) {
        let axis = if axis < 0 { axis + sizes.len() as i64 } else { axis };
        let size = sizes[usize::try_from(axis)?];
        let cut = (-shift).rem_euclid(size.max(1));
        let b = call.builder();
        let [zero, cut, end, axes] = [0, cut, i64::MAX, axis].map(|bound| b.ints(&[bound]));
        let tail = b.node("Slice", &[&x, &cut, &end, &axes], &[]);
        let head = b.node("Slice", &[&x, &zero, &cut, &axes], &[]);
        x = b.node("Concat", &[&tail, &head], &[Attribute::Int("axis", axis)]);
    }
    debug_assert!(call.result_kind().is_ok_and(|kind| kind != Kind::ComplexFloat));
    one(x)
}
