//! Whether a task computes its loss and its gradients in fp64 throughout.

use sonotune_base::seed::Rng;
use sonotune_dataset::Record;
use sonotune_engine::{
    batch::Batch,
    device::{Place, Precision},
};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{model::Model, objects::total};

const PLACE: Place = Place { device: Device::Cpu, precision: Precision::Fp64 };

/// How far every variable moves for a difference of losses. Small, for a longer way leads over kinks of
/// ReLUs and to other choices of masks and points. A single tensor in fp32 between the weights and the
/// loss would leave nothing of such a difference.
const STEP: f64 = 1e-7;

/// Rounding leaves 2e-10 of the slope; a gradient that was rounded to fp32 anywhere is off by about 1e-8.
const TOLERANCE: f64 = 2e-9;

/// Sums in fp32 over a small model.
const LIKE_FP32: f64 = 1e-5;

/// What the slope of a loss is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slope {
    /// The gradients.
    Gradients,
    /// The slope over half the way: the gradients of a task that feeds a detached result back are not those
    /// of its loss.
    Itself,
}

/// Checks a training step of `model`, whose variables become fp64: losses agree with those in fp32, and
/// their differences with `slope`. Returns the batch in fp64.
#[track_caller]
pub fn assert_computes_in_fp64(model: &mut Model, records: &[Record], slope: Slope) -> Batch {
    fill(model);
    let single = loss(model, &model.batch(records));
    PLACE.precision.apply(&mut model.vs);
    let batch = model.batch(records).to_place(PLACE).unwrap();
    let output = model.step(&batch);
    for loss in &output.losses {
        assert_eq!(loss.value.kind(), Kind::Double, "{}", loss.name);
    }
    let sum = total(&output);
    let double = sum.double_value(&[]);
    let off = (single - double).abs() / double.abs();
    assert!(off < LIKE_FP32, "{double} in fp64, {single} in fp32");
    assert!(double != single, "fp32 would be as good");
    sum.backward();
    let (directions, of_gradients) = uphill(model);
    let at = |distance: f64| loss_along(model, &batch, &directions, distance);
    let over = |distance: f64| (at(distance) - at(-distance)) / (2.0 * distance);
    let (expected, allowed) = match slope {
        Slope::Gradients => (of_gradients, TOLERANCE),
        // Two differences round, and half the way doubles it.
        Slope::Itself => (over(STEP / 2.0), 10.0 * TOLERANCE),
    };
    let measured = over(STEP);
    let off = (measured - expected).abs() / expected.abs();
    assert!(off < allowed, "slope {measured}, {slope:?} give {expected}: off by {off:.1e}");
    batch
}

/// Draws the model's variables anew: what starts at zero would hide how it is computed, and libtorch's
/// generator, which other tests draw from as well, would give other numbers each time.
fn fill(model: &Model) {
    for (index, (name, mut variable)) in (0..).zip(variables(model)) {
        let shape = variable.size();
        let mut rng = Rng::at(17, &[index]);
        let noise: Vec<f64> = (0..variable.numel()).map(|_| 2.0 * rng.uniform() - 1.0).collect();
        let noise = Tensor::from_slice(&noise).view(shape.as_slice());
        let value = match shape.len() {
            0 | 1 if name.contains("running_") => continue,
            0 | 1 if name.ends_with("weight") => noise * 0.05 + 1.0,
            0 | 1 => noise * 0.05,
            _ => noise * (3.0 / shape[1..].iter().product::<i64>() as f64).sqrt(),
        };
        assert!(variable.is_floating_point(), "{name}");
        no_grad(|| variable.copy_(&value));
    }
}

fn loss(model: &Model, batch: &Batch) -> f64 {
    no_grad(|| total(&model.step(batch))).double_value(&[])
}

/// In the order of their names.
fn variables(model: &Model) -> Vec<(String, Tensor)> {
    let mut variables: Vec<_> = model.vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}

/// For each variable the direction of its gradient, of length 1, and the slope of the loss if all move
/// in their directions.
#[track_caller]
fn uphill(model: &Model) -> (Vec<(Tensor, Tensor)>, f64) {
    let (mut directions, mut slope) = (Vec::new(), 0.0);
    for (_, variable) in variables(model).into_iter().filter(|(_, v)| v.requires_grad()) {
        let gradient = variable.grad();
        if !gradient.defined() {
            continue;
        }
        assert_eq!(gradient.kind(), Kind::Double);
        let norm = gradient.norm().double_value(&[]);
        if norm > 0.0 {
            directions.push((variable, gradient / norm));
            slope += norm;
        }
    }
    assert!(directions.len() > 3, "only {} variables learn", directions.len());
    (directions, slope)
}

/// The loss where each variable has moved by `distance` in its direction; the variables come back bit for
/// bit.
fn loss_along(model: &Model, batch: &Batch, directions: &[(Tensor, Tensor)], distance: f64) -> f64 {
    let mut kept = Vec::new();
    for (variable, direction) in directions {
        let value = variable.detach().copy();
        no_grad(|| variable.shallow_clone().copy_(&(&value + direction * distance)));
        kept.push(value);
    }
    let loss = loss(model, batch);
    for ((variable, _), value) in directions.iter().zip(&kept) {
        no_grad(|| variable.shallow_clone().copy_(value));
    }
    loss
}
