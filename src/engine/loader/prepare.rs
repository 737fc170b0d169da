//! One image, then one batch: the work of the worker threads, as plain functions.

use std::{ops::Deref, path::Path};

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor};

use super::{
    LoadPlan,
    buffers::{self, Buffers},
    target::target,
};
use crate::{
    batch::{Batch, Target},
    embedding_cache::is_channels_last,
    parallel::Exchange,
    pixels::{Pixels, RawPixels},
};
use sonotune_base::{Crop, Error, image_io::Image, panics::caught};
use sonotune_dataset::{
    Record, TargetNeeds,
    transforms::{Augmentation, Cropping, Fitted, Normalization, PadTo, Window, cut},
};
use sonotune_shim::HostBytes;

/// The settings of the workers.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) plan: LoadPlan,
    /// Training and evaluation may pad differently.
    pub(super) train: bool,
    pub(super) buffers: Buffers,
}

impl Plan {
    /// How the processes that share a training batch tell each other about it; `None` for one process.
    pub(super) fn exchange(&self) -> Option<&dyn Exchange> {
        self.share.exchange.as_deref().filter(|_| self.train)
    }
}

impl Deref for Plan {
    type Target = LoadPlan;

    fn deref(&self) -> &LoadPlan {
        &self.plan
    }
}

/// An image on its way into a batch.
#[derive(Debug)]
pub(super) struct Prepared {
    content: Content,
    target: Target,
}

#[derive(Debug)]
enum Content {
    /// Neither normalised nor padded, so small enough to wait for its neighbours.
    Image(Fitted),
    /// `[C, H, W]` each: the backbone's output for the image.
    Embedding(Vec<Tensor>),
}

/// Decodes, resizes, and transforms the annotation to match.
pub(super) fn prepare(plan: &Plan, record: &Record, change: Augmentation) -> Result<Prepared> {
    caught(|| prepare_unguarded(plan, record, change)).unwrap_or_else(|message| {
        let path = record.image_file();
        Err(Error::data(format!("image {path} cannot be prepared: {message}")).into())
    })
}

fn prepare_unguarded(plan: &Plan, record: &Record, change: Augmentation) -> Result<Prepared> {
    if let Some(embeddings) = &plan.embeddings {
        let entry = embeddings.load(&record.name(), change.flip)?;
        check_size(entry.original_size, false, record.size, &record.name())?;
        let seen = Seen { size: entry.original_size, crop: entry.crop };
        let (target, _) = place(plan, record, seen, change)?;
        let target = Target { spacing: spacing(plan, record), ..target };
        return Ok(Prepared { content: Content::Embedding(entry.levels), target });
    }
    let config = &plan.preprocess;
    let (image, crop) = decode(plan, record)?;
    let image = config.doppler.apply(image).with_context(|| in_file(record))?;
    let seen = Seen { size: (image.height, image.width), crop };
    check_size(seen.size, image.transposed, record.size, &record.name())?;
    let (target, window) = place(plan, record, seen, change)?;
    // Known of the file as stored.
    let turned =
        |[row, column]: [f64; 2]| if image.transposed { [column, row] } else { [row, column] };
    let spacing = spacing(plan, record).map(turned);
    let target = Target { stored: image.stored, spacing, ..target };
    let image = match crop {
        Some(crop) => cut(image, crop),
        None => image,
    };
    let image = Fitted::new(image, window, config.resample).with_context(|| in_file(record))?;
    Ok(Prepared { content: Content::Image(image), target })
}

/// The whole image, and the part that is kept of it.
fn decode(plan: &Plan, record: &Record) -> Result<(Image, Option<Crop>)> {
    let (config, options) = (&plan.preprocess, plan.preprocess.decode_options());
    match config.crop {
        Cropping::None => Ok((plan.reader.decode(&record.path, record.frame, options)?, None)),
        Cropping::FieldOfView => plan.reader.decode_with_view(&record.path, record.frame, options),
    }
}

/// The size of a pixel: that of the annotation, else that of a DICOM file.
fn spacing(plan: &LoadPlan, record: &Record) -> Option<[f64; 2]> {
    record.spacing.or_else(|| plan.reader.spacing(&record.path))
}

/// What decoding an image told.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// `(height, width)` of the whole image.
    pub size: (u32, u32),
    /// The part of it that is kept; `None`: all.
    pub crop: Option<Crop>,
}

/// The target of an evaluation for an image that another process has decoded.
///
/// # Errors
/// If its annotation cannot be rasterised, or a prompt lies outside the part that is kept; names the image.
pub fn evaluation_target(record: &Record, seen: Seen, plan: &LoadPlan) -> Result<Target> {
    place(plan, record, seen, Augmentation::default()).map(|(target, _)| target)
}

/// The annotation in the frame of the network's input, and the part of the image shown there.
fn place(
    plan: &LoadPlan,
    record: &Record,
    Seen { size, crop }: Seen,
    change: Augmentation,
) -> Result<(Target, Window)> {
    let kept = crop.map_or(size, |crop| crop.size);
    let placement = change.placement(kept, &plan.preprocess);
    let target = match crop {
        None => target(record, placement, plan.needs),
        Some(crop) => cropped(record, crop, plan.needs).and_then(|record| {
            let target = target(&record, placement, plan.needs)?;
            Ok(Target { crop: Some(crop), ..target })
        }),
    };
    let target = target.map_err(|e| Error::data(format!("{}: {e:#}", in_file(record))))?;
    Ok((target, placement.window))
}

/// The record of the part, with the objects only if they are needed.
fn cropped(record: &Record, crop: Crop, needs: TargetNeeds) -> Result<Record> {
    if needs == TargetNeeds::ImageLabels {
        return Record { objects: Vec::new(), ..record.clone() }.cropped(crop);
    }
    record.cropped(crop)
}

fn in_file(record: &Record) -> String {
    format!("image {} (id {})", record.image_file(), record.image_id)
}

/// Whether the decoded image, which EXIF may have rotated by 90 degrees, has the size that the
/// annotations claim.
///
/// # Errors
/// A data error if it has not.
pub fn check_size(
    got: (u32, u32),
    transposed: bool,
    expected: Option<(u32, u32)>,
    path: &Path,
) -> Result<()> {
    let Some(expected) = expected.filter(|&size| size != got) else { return Ok(()) };
    let hint = if transposed && expected == (got.1, got.0) {
        "; its EXIF orientation rotates it by 90 degrees: set preprocess.exif = false if the \
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

/// Stacks the images or their embeddings, and makes what the task prepares.
pub(super) fn assemble(plan: &Plan, prepared: Vec<Prepared>, seed: u64) -> Result<Batch> {
    let largest = largest(prepared.iter());
    let mut batch = stacked(plan, prepared, seed, largest)?;
    complete(plan, &mut batch)?;
    Ok(batch)
}

/// Height and width that hold each of the images, without padding.
pub(super) fn largest<'a>(prepared: impl Iterator<Item = &'a Prepared>) -> (usize, usize) {
    let size = |prepared: &Prepared| match &prepared.content {
        Content::Image(image) => image.size(),
        Content::Embedding(_) => (1, 1),
    };
    prepared.map(size).fold((1, 1), |(h, w), size| (h.max(size.0), w.max(size.1)))
}

/// Stacks the images, padded as one batch with others of the size `largest` at most, or their embeddings.
pub(super) fn stacked(
    plan: &Plan,
    prepared: Vec<Prepared>,
    seed: u64,
    largest: (usize, usize),
) -> Result<Batch> {
    let (mut images, mut embeddings, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for Prepared { content, target } in prepared {
        match content {
            Content::Image(image) => images.push((image, target.flipped)),
            Content::Embedding(levels) => embeddings.push(levels),
        }
        targets.push(target);
    }
    if embeddings.is_empty() {
        let (images, raw) = stack(plan, &images, padded_size(plan, largest))?;
        return Ok(Batch { raw, ..Batch::new(images, targets, seed) });
    }
    let side = i64::from(plan.preprocess.image_size);
    let shape = [targets.len() as i64, 3, side, side];
    let images = Batch::not_decoded(&shape, (Kind::Float, Device::Cpu));
    Ok(Batch { features: Some(levels(plan, &embeddings)?), ..Batch::new(images, targets, seed) })
}

/// Makes what the task prepares for a batch.
pub(super) fn complete(plan: &Plan, batch: &mut Batch) -> Result<()> {
    if let Some(preparation) = plan.preparation.as_ref().filter(|_| plan.train) {
        let mut prepared = preparation.prepare(batch)?;
        for tensor in prepared.tensors() {
            *tensor = plan.pixels.pinned(tensor)?;
        }
        batch.prepared = Some(prepared);
    }
    Ok(())
}

/// Level by level, the embeddings of all images as one tensor.
fn levels(plan: &Plan, embeddings: &[Vec<Tensor>]) -> Result<Vec<Tensor>> {
    let stack = |level: usize| -> Result<Tensor> {
        let of_images: Vec<&Tensor> = embeddings.iter().filter_map(|e| e.get(level)).collect();
        // In the order of memory: the batch is then laid out as the backbone would have.
        let stacked = if of_images.first().is_some_and(|first| is_channels_last(first)) {
            let rows: Vec<_> = of_images.iter().map(|level| level.permute([1, 2, 0])).collect();
            Tensor::f_stack(&rows, 0)?.permute([0, 3, 1, 2])
        } else {
            Tensor::f_stack(&of_images, 0)?
        };
        plan.pixels.pinned(&stacked)
    };
    (0..embeddings.first().map_or(0, Vec::len)).map(stack).collect()
}

/// `[B, 3, H, W]` of images, each mirrored or not: normalised and padded, or as bytes with what the device
/// needs to do the same.
fn stack(
    plan: &Plan,
    prepared: &[(Fitted, bool)],
    (height, width): (usize, usize),
) -> Result<(Tensor, Option<RawPixels>)> {
    let sizes = [prepared.len() as i64, 3, height as i64, width as i64];
    let normalizations: Vec<Normalization> = prepared
        .iter()
        .map(|(image, _)| image.normalization(&plan.spec, &plan.preprocess))
        .collect();
    if let Pixels::Bytes { pinned } = plan.pixels
        && prepared.iter().all(|(image, _)| image.bytes().is_some())
    {
        let mut bytes = HostBytes::new(prepared.len() * 3 * height * width, pinned)
            .map_err(|error| buffers::no_memory(&error, prepared.len() * 3 * height * width))?;
        let slots = bytes.as_mut_slice().chunks_exact_mut(3 * height * width);
        for (slot, (image, flipped)) in slots.zip(prepared) {
            image.write_bytes_into(*flipped, (height, width), slot);
        }
        let inner: Vec<_> = prepared.iter().map(|(image, _)| image.size()).collect();
        let raw = RawPixels::new(&normalizations, &inner, plan.pixels)?;
        return Ok((bytes.into_tensor(&sizes)?, Some(raw)));
    }
    let mut pixels = plan.buffers.take(prepared.len() * 3 * height * width)?;
    let slots = pixels.chunks_exact_mut(3 * height * width);
    for (slot, ((image, flipped), normalization)) in slots.zip(prepared.iter().zip(&normalizations))
    {
        image.write_into(normalization, *flipped, (height, width), slot);
    }
    let images = plan.buffers.tensor(pixels, &sizes)?;
    Ok((plan.pixels.pinned(&images)?, None))
}

/// Height and width that all images of a batch are padded to, none of which is larger than `largest`.
fn padded_size(plan: &Plan, largest: (usize, usize)) -> (usize, usize) {
    let config = &plan.preprocess;
    match config.padding(plan.train) {
        PadTo::Square => (config.image_size as usize, config.image_size as usize),
        PadTo::Multiple => {
            let multiple = config.pad_multiple as usize;
            (largest.0.next_multiple_of(multiple), largest.1.next_multiple_of(multiple))
        }
    }
}
