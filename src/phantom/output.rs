//! The contents of the files.

use serde::Serialize;

use super::{
    config::{Kind, PhantomConfig},
    probe::ProbeType,
    render::{PhantomImage, PhantomLesion},
};

/// Marks a dataset as generated here; `--overwrite` requires it.
pub(super) const GENERATOR: &str = "sonotune data phantom";
/// Incremented whenever the same config gives different pictures.
pub(super) const GENERATOR_VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize)]
pub(super) struct Info {
    pub(super) description: String,
    pub(super) generator: &'static str,
    pub(super) generator_version: u32,
    pub(super) config: PhantomConfig,
}

impl Info {
    pub(super) fn new(config: &PhantomConfig) -> Self {
        Self {
            description: format!("Synthetic B-mode ultrasound, {} phantom", config.kind.name()),
            generator: GENERATOR,
            generator_version: GENERATOR_VERSION,
            config: config.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct File<'a> {
    pub(super) info: &'a Info,
    pub(super) images: Vec<Image>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) categories: Vec<Category>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Image {
    pub(super) id: u64,
    pub(super) file_name: String,
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) patient: String,
    pub(super) kind: Kind,
    pub(super) probe: ProbeType,
    pub(super) frequency_mhz: f64,
    pub(super) depth_mm: f64,
    pub(super) mm_per_pixel: f64,
    /// Share of lesion pixels in percent, summed over the lesions: a number for learning regression.
    pub(super) lesion_percent: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Annotation {
    pub(super) id: u64,
    pub(super) image_id: u64,
    pub(super) category_id: u64,
    pub(super) bbox: [u32; 4],
    pub(super) area: u32,
    pub(super) segmentation: Segmentation,
    pub(super) iscrowd: u8,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Segmentation {
    pub(super) size: [u32; 2],
    pub(super) counts: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Category {
    pub(super) id: u64,
    pub(super) name: &'static str,
    pub(super) supercategory: &'static str,
}

pub(super) fn categories(kind: Kind) -> Vec<Category> {
    let classes = kind.classes().into_iter().zip(1..);
    classes.map(|(name, id)| Category { id, name, supercategory: kind.name() }).collect()
}

impl Image {
    pub(super) fn new(config: &PhantomConfig, index: usize, image: &PhantomImage) -> Self {
        let area: u32 = image.lesions.iter().map(|lesion| lesion.area).sum();
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        Self {
            // From 1: several readers treat 0 as "none".
            id: index as u64 + 1,
            file_name: file_name(index),
            height: image.size,
            width: image.size,
            patient: format!("p{:05}", image.patient),
            kind: config.kind,
            probe: image.probe,
            frequency_mhz: rounded(image.frequency_mhz),
            depth_mm: rounded(image.depth_mm),
            mm_per_pixel: rounded(image.mm_per_pixel),
            lesion_percent: rounded(100.0 * f64::from(area) / f64::from(image.size).powi(2)),
        }
    }
}

impl Annotation {
    /// `number` counts the lesions of the image. Ids leave room for the most an image may have, so
    /// that they do not depend on the other images.
    pub(super) fn new(index: usize, number: usize, lesion: &PhantomLesion) -> Self {
        let image_id = index as u64 + 1;
        Self {
            id: index as u64 * PhantomConfig::MAX_LESIONS as u64 + number as u64 + 1,
            image_id,
            category_id: lesion.class as u64 + 1,
            bbox: lesion.bbox,
            area: lesion.area,
            segmentation: Segmentation {
                size: [lesion.mask.height, lesion.mask.width],
                counts: lesion.mask.to_compressed(),
            },
            iscrowd: 0,
        }
    }
}

/// Path of image `index` relative to the dataset's folder.
pub(super) fn file_name(index: usize) -> String {
    format!("images/{index:06}.png")
}
