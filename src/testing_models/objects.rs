//! Images with discs as objects, and the losses of a training step on them.

use std::path::Path;

use sonotune_base::{Rle, Segmentation};
use sonotune_dataset::{Object, Record};
use sonotune_engine::task::StepOutput;
use tch::Tensor;

/// A disc with the given centre and radius, or nothing if the radius is 0.
pub fn disc((x, y): (i32, i32), radius: i32, side: u32) -> Object {
    let pixels: Vec<u8> = (0..side as i32 * side as i32)
        .map(|i| {
            let (dx, dy) = (i % side as i32 - x, i / side as i32 - y);
            u8::from(dx * dx + dy * dy < radius * radius)
        })
        .collect();
    let rle = Rle::from_mask(&pixels, (side, side)).unwrap();
    Object {
        category: 0,
        bbox: rle.bbox(),
        area: rle.area() as f64,
        is_crowd: false,
        segmentation: Segmentation::Runs(rle),
    }
}

pub fn record(folder: &Path, name: &str, side: u32, objects: Vec<Object>) -> Record {
    let path = folder.join(name);
    image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 3 + y * 2) as u8]))
        .save(&path)
        .unwrap();
    Record { size: Some((side, side)), objects, ..Record::new(name.into(), path) }
}

pub fn scalar(output: &StepOutput, name: &str) -> f64 {
    let found = output.scalars.iter().find(|scalar| scalar.name == name);
    found.unwrap_or_else(|| panic!("no scalar {name}")).value.double_value(&[])
}

pub fn total(output: &StepOutput) -> Tensor {
    output.losses.iter().map(|l| &l.value * l.weight).reduce(|a, b| a + b).unwrap()
}
