//! Deformable attention's sampling, and maps at points, at Mask2Former's sizes. Protocol:
//! `benches/peers/README.md`; `*_composite` is the same computation with libtorch's `grid_sampler`.

#[path = "support/measure.rs"]
mod measure;

use anyhow::Result;
use measure::Case;
use serde_json::{Value, json};
use sonotune_engine::nn::deformable::{
    ms_deform_attn, ms_deform_attn_composite, point_sample, point_sample_composite,
};
use tch::{Device, Kind, Tensor};

const REPEATS: usize = 20;
const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Kernel,
    Composite,
}
use Form::{Composite, Kernel};

const CASES: [Case; 6] = [
    ("deformable_forward_5376", || attention(Kernel, false)),
    ("deformable_forward_5376_composite", || attention(Composite, false)),
    ("deformable_forward_backward_5376", || attention(Kernel, true)),
    ("deformable_forward_backward_5376_composite", || attention(Composite, true)),
    ("points_20_masks_common", || points(Kernel)),
    ("points_20_masks_common_composite", || points(Composite)),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

/// The pixel decoder of an image of 512²: every pixel of strides 32, 16 and 8 is a query, eight heads of
/// 32 channels, four points per level around the query's position, a few pixels away, as after training.
fn attention(form: Form, backward: bool) -> Result<Value> {
    const LEVELS: [(i64, i64); 3] = [(16, 16), (32, 32), (64, 64)];
    tch::manual_seed(0);
    let centres: Vec<_> = LEVELS.iter().map(|&(h, w)| centres(h, w)).collect();
    let reference = Tensor::cat(&centres, 0).view([1, 5376, 1, 1, 1, 2]);
    let sizes = Tensor::from_slice(&LEVELS.map(|(_, w)| w as f32)).view([1, 1, 1, 3, 1, 1]);
    let offsets = Tensor::randn([1, 5376, 8, 3, 4, 2], F32) * 2.0;
    let leaf = |t: Tensor| t.set_requires_grad(backward);
    let value = leaf(Tensor::randn([1, 5376, 8, 32], F32));
    let locations = leaf(reference + offsets / sizes);
    let scores = Tensor::randn([1, 5376, 8, 12], F32);
    let weights = leaf(scores.softmax(-1, Kind::Float).view([1, 5376, 8, 3, 4]));
    let towards = Tensor::randn([1, 5376, 256], F32);
    let mut leaves = [value.shallow_clone(), locations.shallow_clone(), weights.shallow_clone()];
    let mut figures = measure::seconds(REPEATS, || {
        let out = match form {
            Kernel => ms_deform_attn(&value, &LEVELS, &locations, &weights)?,
            Composite => ms_deform_attn_composite(&value, &LEVELS, &locations, &weights)?,
        };
        if backward {
            leaves.iter_mut().for_each(Tensor::zero_grad);
            (out * &towards).sum(Kind::Float).backward();
        }
        Ok(())
    })?;
    if form == Kernel {
        figures["aim"] = json!({ "time_ratio": 1.0, "memory_ratio": 1.0 });
    }
    Ok(figures)
}

/// Centres of the pixels of a map, `[H·W, 2]` as (x, y) in [0, 1].
fn centres(h: i64, w: i64) -> Tensor {
    let along = |n: i64| (Tensor::arange(n, F32) + 0.5) / n;
    let grid = Tensor::meshgrid_indexing(&[along(h), along(w)], "ij");
    Tensor::stack(&[&grid[1], &grid[0]], -1).view([h * w, 2])
}

/// Hungarian matching: the masks of an image's objects at common points.
fn points(form: Form) -> Result<Value> {
    tch::manual_seed(0);
    let masks = Tensor::randn([20, 512, 512], F32).gt(0.0);
    let points = Tensor::rand([12_544, 2], F32);
    measure::seconds(REPEATS, || {
        drop(match form {
            Kernel => point_sample(&masks, &points)?,
            Composite => point_sample_composite(&masks, &points)?,
        });
        Ok(())
    })
}
