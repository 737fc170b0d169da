//! One image, then one batch: the work of the worker threads, as plain functions.

use std::{
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::{Context, Result};

use super::{LoadPlan, buffers::Buffers};
use crate::{
    Error,
    data::{
        Batch, Record, Target,
        image_io::{self, Image},
        transforms::{
            Fitted, Normalization, PadTo, scaled_size,
            target::{Placement, target},
        },
    },
};

/// What the workers go by.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) plan: LoadPlan,
    /// Training and evaluation may pad differently.
    pub(super) train: bool,
    pub(super) buffers: Buffers,
}

impl Deref for Plan {
    type Target = LoadPlan;

    fn deref(&self) -> &LoadPlan {
        &self.plan
    }
}

/// An image on its way into a batch: neither normalised nor padded, so small enough to wait for its
/// neighbours.
#[derive(Debug)]
pub(super) struct Prepared {
    image: Fitted,
    target: Target,
}

/// Decodes, resizes, and carries the annotation along.
pub(super) fn prepare(plan: &Plan, record: &Record, flip: bool) -> Result<Prepared> {
    catch_unwind(AssertUnwindSafe(|| prepare_unguarded(plan, record, flip))).unwrap_or_else(
        |panic| {
            let (path, text) = (record.path.display(), image_io::panic_text(&*panic));
            Err(Error::data(format!("image {path}: preparing it failed: {text}")).into())
        },
    )
}

fn prepare_unguarded(plan: &Plan, record: &Record, flip: bool) -> Result<Prepared> {
    let config = &plan.preprocess;
    let image = image_io::decode_file(&record.path, config.decode_options())?;
    check_size(&image, record.size, &record.path)?;
    let original_size = (image.height, image.width);
    let input_size = scaled_size(original_size, config.image_size, config.size_rule);
    let placement = Placement { original_size, input_size, flipped: flip };
    let in_file = || format!("image {} (id {})", record.path.display(), record.image_id);
    let target = target(record, placement, plan.needs, config)
        .map_err(|e| Error::data(format!("{}: {e:#}", in_file())))?;
    let image = Fitted::new(image, input_size, config.resample).with_context(in_file)?;
    Ok(Prepared { image, target })
}

/// Whether the file has the size that the annotations claim.
pub(in crate::data) fn check_size(
    image: &Image,
    expected: Option<(u32, u32)>,
    path: &Path,
) -> Result<()> {
    let got = (image.height, image.width);
    let Some(expected) = expected.filter(|&size| size != got) else { return Ok(()) };
    let hint = if image.transposed && expected == (got.1, got.0) {
        "; its EXIF orientation turns it by a quarter: set preprocess.exif = false if the \
         annotations were drawn on the stored pixels"
    } else {
        ""
    };
    Err(Error::data(format!(
        "image {}: expected {}x{} (height x width, from the annotations), got {}x{}{hint}",
        path.display(),
        expected.0,
        expected.1,
        got.0,
        got.1
    ))
    .into())
}

/// Normalises and pads the images into one tensor.
pub(super) fn assemble(plan: &Plan, prepared: Vec<Prepared>, seed: u64) -> Result<Batch> {
    let (height, width) = padded_size(plan, &prepared);
    let normalization = Normalization::new(&plan.spec, plan.preprocess.pad_order);
    let mut pixels = plan.buffers.take(prepared.len() * 3 * height * width);
    let slots = pixels.chunks_exact_mut(3 * height * width);
    for (slot, Prepared { image, target }) in slots.zip(&prepared) {
        image.write_into(&normalization, target.flipped, (height, width), slot);
    }
    let shape = [prepared.len() as i64, 3, height as i64, width as i64];
    let images = plan.buffers.tensor(pixels, &shape)?;
    Ok(Batch {
        images,
        features: None,
        targets: prepared.into_iter().map(|p| p.target).collect(),
        seed,
    })
}

/// Height and width that all images of a batch are padded to.
fn padded_size(plan: &Plan, prepared: &[Prepared]) -> (usize, usize) {
    let config = &plan.preprocess;
    match config.padding(plan.train) {
        PadTo::Square => (config.image_size as usize, config.image_size as usize),
        PadTo::Multiple => {
            let largest = prepared
                .iter()
                .map(|p| p.image.size())
                .fold((1, 1), |(h, w), size| (h.max(size.0), w.max(size.1)));
            let multiple = config.pad_multiple as usize;
            (largest.0.next_multiple_of(multiple), largest.1.next_multiple_of(multiple))
        }
    }
}
