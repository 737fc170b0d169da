//! Element by element: arithmetic, comparisons, activations, number formats.

use anyhow::Result;
use tch::Kind;

use super::{Results, one};
use crate::onnx::{
    builder::{Attribute, data_type_of},
    convert::Call,
};

pub(super) fn convert(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let operator = call.node.operator.clone();
    let name = operator.strip_prefix("aten::").unwrap_or(&operator);
    match name {
        "add" | "sub" | "rsub" => sum(call, name),
        "mul" => binary(call, "Mul", [0, 1]),
        "div" | "true_divide" if call.is_none(2) => binary(call, "Div", [0, 1]),
        "pow" => binary(call, "Pow", [0, 1]),
        "maximum" => binary(call, "Max", [0, 1]),
        "minimum" => binary(call, "Min", [0, 1]),
        "gt" => compare(call, "Greater"),
        "ge" => compare(call, "GreaterOrEqual"),
        "lt" => compare(call, "Less"),
        "le" => compare(call, "LessOrEqual"),
        "eq" => compare(call, "Equal"),
        "ne" => {
            let equal = comparison(call, "Equal")?;
            one(call.builder().node("Not", &[&equal], &[]))
        }
        "logical_and" | "__and__" | "bitwise_and" => logic(call, "And"),
        "logical_or" | "__or__" | "bitwise_or" => logic(call, "Or"),
        "logical_not" | "bitwise_not" => {
            let x = call.operand(0, Kind::Bool)?;
            one(call.builder().node("Not", &[&x], &[]))
        }
        "relu" => unary(call, "Relu"),
        "sigmoid" => unary(call, "Sigmoid"),
        "tanh" => unary(call, "Tanh"),
        "exp" => unary(call, "Exp"),
        "log" => unary(call, "Log"),
        "sin" => unary(call, "Sin"),
        "cos" => unary(call, "Cos"),
        "sqrt" => unary(call, "Sqrt"),
        "abs" => unary(call, "Abs"),
        "neg" => unary(call, "Neg"),
        "floor" => unary(call, "Floor"),
        "ceil" => unary(call, "Ceil"),
        "rsqrt" => {
            let x = call.tensor(0)?;
            let root = call.builder().node("Sqrt", &[&x], &[]);
            one(call.builder().node("Reciprocal", &[&root], &[]))
        }
        "square" => {
            let x = call.tensor(0)?;
            one(call.builder().node("Mul", &[&x, &x], &[]))
        }
        "silu" => {
            let x = call.tensor(0)?;
            let gate = call.builder().node("Sigmoid", &[&x], &[]);
            one(call.builder().node("Mul", &[&x, &gate], &[]))
        }
        "gelu" => gelu(call),
        "clamp" | "clamp_min" | "clamp_max" | "hardtanh" => clamp(call, name),
        "where" => select(call, [0, 1, 2]),
        "masked_fill" => select(call, [1, 2, 0]),
        "to" | "_to_copy" | "type_as" | "contiguous" | "clone" | "detach" | "alias" | "dropout"
        | "lift_fresh" => retyped(call),
        _ => Ok(None),
    }
}

fn unary(call: &mut Call<'_, '_>, operator: &str) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let x = call.operand(0, kind)?;
    one(call.builder().node(operator, &[&x], &[]))
}

/// Both in the format of the result.
fn binary(call: &mut Call<'_, '_>, operator: &str, [a, b]: [usize; 2]) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let (a, b) = (call.operand(a, kind)?, call.operand(b, kind)?);
    one(call.builder().node(operator, &[&a, &b], &[]))
}

/// `a + alpha · b`, `a − alpha · b`, or `b − alpha · a`.
fn sum(call: &mut Call<'_, '_>, name: &str) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let (mut a, mut b) = (call.operand(0, kind)?, call.operand(1, kind)?);
    if name == "rsub" {
        std::mem::swap(&mut a, &mut b);
    }
    let alpha = if call.node.inputs.len() > 2 { call.float(2)? } else { 1.0 };
    if alpha != 1.0 {
        let alpha = call.builder().scalar(alpha, kind)?;
        b = call.builder().node("Mul", &[&b, &alpha], &[]);
    }
    one(call.builder().node(if name == "add" { "Add" } else { "Sub" }, &[&a, &b], &[]))
}

fn compare(call: &mut Call<'_, '_>, operator: &str) -> Result<Option<Results>> {
    one(comparison(call, operator)?)
}

fn comparison(call: &mut Call<'_, '_>, operator: &str) -> Result<String> {
    let kind = common_kind(call)?;
    let (a, b) = (call.operand(0, kind)?, call.operand(1, kind)?);
    Ok(call.builder().node(operator, &[&a, &b], &[]))
}

/// The format in which two operands are compared. Numbers take the tensor's, but a fraction does not become an
/// integer.
fn common_kind(call: &Call<'_, '_>) -> Result<Kind> {
    let own = call.kind(0)?;
    let is_float = |kind: Kind| matches!(kind, Kind::Half | Kind::Float | Kind::Double);
    if call.is_number(1) {
        let fraction = call.float(1)?.fract() != 0.0;
        return Ok(match own {
            Kind::Bool => Kind::Int64,
            own if fraction && !is_float(own) => Kind::Float,
            own => own,
        });
    }
    let other = call.kind(1)?;
    Ok(match (is_float(own), is_float(other)) {
        _ if own == other => own,
        (true, false) => own,
        (false, true) => other,
        (true, true) => Kind::Double,
        (false, false) => Kind::Int64,
    })
}

fn logic(call: &mut Call<'_, '_>, operator: &str) -> Result<Option<Results>> {
    if call.result_kind()? != Kind::Bool {
        return call.refuse(" for integers");
    }
    let (a, b) = (call.operand(0, Kind::Bool)?, call.operand(1, Kind::Bool)?);
    one(call.builder().node(operator, &[&a, &b], &[]))
}

/// `where(condition, a, b)`.
fn select(call: &mut Call<'_, '_>, [condition, a, b]: [usize; 3]) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let condition = call.operand(condition, Kind::Bool)?;
    let (a, b) = (call.operand(a, kind)?, call.operand(b, kind)?);
    one(call.builder().node("Where", &[&condition, &a, &b], &[]))
}

/// Exact, or by tanh; runtimes recognise both and fuse them.
fn gelu(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let by_tanh = !call.is_none(1) && call.text(1)? == "tanh";
    let (x, kind) = (call.tensor(0)?, call.result_kind()?);
    let b = call.builder();
    let [one_, half] = [b.scalar(1.0, kind)?, b.scalar(0.5, kind)?];
    let inner = if by_tanh {
        let [cubic, slope] =
            [b.scalar(0.044_715, kind)?, b.scalar((2.0 / std::f64::consts::PI).sqrt(), kind)?];
        let three = b.scalar(3.0, kind)?;
        let cube = b.node("Pow", &[&x, &three], &[]);
        let cube = b.node("Mul", &[&cube, &cubic], &[]);
        let sum = b.node("Add", &[&x, &cube], &[]);
        let scaled = b.node("Mul", &[&sum, &slope], &[]);
        b.node("Tanh", &[&scaled], &[])
    } else {
        let root = b.scalar(std::f64::consts::SQRT_2, kind)?;
        let scaled = b.node("Div", &[&x, &root], &[]);
        b.node("Erf", &[&scaled], &[])
    };
    let raised = b.node("Add", &[&inner, &one_], &[]);
    let product = b.node("Mul", &[&x, &raised], &[]);
    one(b.node("Mul", &[&product, &half], &[]))
}

fn clamp(call: &mut Call<'_, '_>, name: &str) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let x = call.tensor(0)?;
    let (low, high) = match name {
        "clamp_max" => (None, Some(1)),
        "clamp_min" => (Some(1), None),
        _ => (Some(1), Some(2)),
    };
    let mut bound = |index: Option<usize>| match index {
        Some(index) if !call.is_none(index) => call.operand(index, kind),
        _ => Ok(String::new()),
    };
    let (low, high) = (bound(low)?, bound(high)?);
    one(call.builder().node("Clip", &[&x, &low, &high], &[]))
}

/// Changes the number format if the result has another.
fn retyped(call: &mut Call<'_, '_>) -> Result<Option<Results>> {
    let kind = call.result_kind()?;
    let x = call.tensor(0)?;
    if call.kind(0)? == kind {
        return one(x);
    }
    let data_type = i64::from(data_type_of(kind)?);
    one(call.builder().node("Cast", &[&x], &[Attribute::Int("to", data_type)]))
}
