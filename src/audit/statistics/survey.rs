//! What a dataset looks like, in numbers: of annotations and of pixels.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;
use serde::Serialize;

use super::Distribution;
use crate::check::{self, Look, PixelSums, Seen};
use sonotune_base::{Segmentation, image_io::DecodeOptions};
use sonotune_dataset::Statistics;
use sonotune_dataset::{
    DatasetConfig, Split,
    findings::{Audit, AuditedImage},
};

/// Cells of a [`HeatMap`] along each side.
pub const CELLS: usize = 48;
/// Number of image sizes that are listed individually.
const COMMON: usize = 5;

/// All splits of a config.
#[derive(Debug, Serialize)]
pub struct Survey {
    pub splits: Vec<SplitSurvey>,
}

/// One split.
#[derive(Debug, Serialize)]
pub struct SplitSurvey {
    pub split: Split,
    /// Images, objects and classes.
    pub counts: Statistics,
    /// Images that could not be decoded; the figures below exclude them.
    pub num_unreadable: usize,
    /// Pixels, as decoded.
    pub heights: Option<Distribution>,
    pub widths: Option<Distribution>,
    /// The most frequent sizes.
    pub common_sizes: Vec<SizeCount>,
    /// Images whose pixel has a size in millimetres.
    pub num_with_spacing: usize,
    /// Millimetres a pixel, of rows and of columns, over those images.
    pub row_spacing: Option<Distribution>,
    pub column_spacing: Option<Distribution>,
    /// Images by file format.
    pub formats: BTreeMap<&'static str, usize>,
    /// Images by channels and bits as stored, e.g. `1 x 8 bit`.
    pub depths: BTreeMap<String, usize>,
    /// Images stored in colour whose channels are equal throughout.
    pub num_grey_in_colour: usize,
    /// Over all pixels of all images, grey levels from 0 to 255, by channel (RGB).
    pub pixel_mean: [f64; 3],
    pub pixel_sd: [f64; 3],
    pub objects_per_image: Option<Distribution>,
    /// Pixels, as annotated.
    pub areas: Option<Distribution>,
    /// Areas as a fraction of the image.
    pub relative_areas: Option<Distribution>,
    /// Width over height of the boxes.
    pub aspect_ratios: Option<Distribution>,
    /// Areas by category, in the order of class indices.
    pub areas_by_category: Vec<Option<Distribution>>,
    /// Patients that the annotations name.
    pub num_patients: usize,
    pub images_without_patient: usize,
    /// The data for the pictures.
    #[serde(skip)]
    pub details: Details,
}

/// A size of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    pub height: u32,
    pub width: u32,
    pub num_images: usize,
}

/// Numbers that are too many to list.
#[derive(Debug, Default)]
pub struct Details {
    /// Every size, most frequent first.
    pub sizes: Vec<SizeCount>,
    /// Areas of all objects, pixels.
    pub areas: Vec<f64>,
    pub heat_map: HeatMap,
    pub audit: Audit,
}

/// Where objects are: for each cell of the image, how many images have an object there.
#[derive(Debug, Clone, Default)]
pub struct HeatMap {
    /// Row-major, [`CELLS`]² values or none.
    pub counts: Vec<u32>,
    /// Images with objects.
    pub num_images: u32,
}

impl HeatMap {
    /// Adds the cells of an image.
    pub fn add(&mut self, covered: &[bool]) {
        self.counts.resize(CELLS * CELLS, 0);
        self.num_images += 1;
        for (count, &covered) in self.counts.iter_mut().zip(covered) {
            *count += u32::from(covered);
        }
    }

    /// Adds another map.
    pub fn merge(&mut self, other: &Self) {
        self.counts.resize(CELLS * CELLS, 0);
        self.num_images += other.num_images;
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }
}

/// Looks at all images of `config`; `progress` is called for each.
#[must_use]
pub fn survey(
    config: &dyn DatasetConfig,
    decode: DecodeOptions,
    progress: &(dyn Fn() + Sync),
) -> Survey {
    let audits = check::audits(config);
    let looked = check::look_at_all(&audits, decode, progress);
    let splits = audits.into_iter().map(|(split, audit)| {
        let seen: Vec<Option<&Seen>> = audit
            .images
            .iter()
            .map(|image| match looked.look(image) {
                Some(Look::Decoded(seen)) => Some(&**seen),
                _ => None,
            })
            .collect();
        of_split(split, &seen, audit)
    });
    Survey { splits: splits.collect() }
}

fn of_split(split: Split, seen: &[Option<&Seen>], audit: Audit) -> SplitSurvey {
    let decoded = || seen.iter().copied().flatten();
    let size = |side: fn(&Seen) -> u32| {
        Distribution::of(decoded().map(|seen| f64::from(side(seen))).collect())
    };
    let mut pixels = PixelSums::default();
    let (mut formats, mut depths) = (BTreeMap::new(), BTreeMap::new());
    for seen in decoded() {
        pixels.add(&seen.pixels);
        *formats.entry(seen.header.format).or_default() += 1;
        let depth = format!("{} x {} bit", seen.header.channels, seen.header.bits_per_channel);
        *depths.entry(depth).or_default() += 1;
    }
    let (pixel_mean, pixel_sd) = pixels.mean_and_sd();
    let sizes = sizes(decoded());
    let objects = || audit.images.iter().flat_map(|i| i.objects.iter().map(|o| &o.object));
    let areas: Vec<f64> = objects().map(|o| o.area).collect();
    let of_category = |c: usize| {
        Distribution::of(objects().filter(|o| o.category as usize == c).map(|o| o.area).collect())
    };
    let with_objects = !areas.is_empty();
    let per_image = audit.images.iter().map(|i| i.objects.len() as f64).filter(|_| with_objects);
    let boxes = objects().map(|o| o.bbox).filter(|b| b[2] > 0.0 && b[3] > 0.0);
    let spacings = || audit.images.iter().filter_map(|image| image.spacing);
    let spacing = |side: usize| Distribution::of(spacings().map(|mm| mm[side]).collect());
    let patients: HashSet<_> = audit.images.iter().filter_map(|i| i.patient.as_ref()).collect();
    SplitSurvey {
        split,
        counts: Statistics::of(&audit.dataset()),
        num_with_spacing: spacings().count(),
        row_spacing: spacing(0),
        column_spacing: spacing(1),
        num_unreadable: seen.iter().filter(|seen| seen.is_none()).count(),
        heights: size(|seen| seen.height),
        widths: size(|seen| seen.width),
        common_sizes: sizes.iter().take(COMMON).copied().collect(),
        formats,
        depths,
        num_grey_in_colour: decoded().filter(|seen| seen.is_grey).count(),
        pixel_mean,
        pixel_sd,
        objects_per_image: Distribution::of(per_image.collect()),
        relative_areas: Distribution::of(relative_areas(&audit, seen)),
        aspect_ratios: Distribution::of(boxes.map(|b| b[2] / b[3]).collect()),
        areas_by_category: (0..audit.categories.len()).map(of_category).collect(),
        areas: Distribution::of(areas.clone()),
        num_patients: patients.len(),
        images_without_patient: audit.images.iter().filter(|i| i.patient.is_none()).count(),
        details: Details { sizes, areas, heat_map: heat_map(&audit, seen), audit },
    }
}

fn sizes<'a>(seen: impl Iterator<Item = &'a Seen>) -> Vec<SizeCount> {
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for seen in seen {
        *counts.entry((seen.height, seen.width)).or_default() += 1;
    }
    let count = |((height, width), num_images)| SizeCount { height, width, num_images };
    let mut sizes: Vec<SizeCount> = counts.into_iter().map(count).collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(size.num_images));
    sizes
}

/// `(height, width)` as annotated, or else as decoded.
fn size_of(image: &AuditedImage, seen: Option<&Seen>) -> Option<(u32, u32)> {
    image.size.or_else(|| seen.map(|seen| (seen.height, seen.width)))
}

fn relative_areas(audit: &Audit, seen: &[Option<&Seen>]) -> Vec<f64> {
    let mut shares = Vec::new();
    for (image, seen) in audit.images.iter().zip(seen) {
        let Some((height, width)) = size_of(image, *seen) else { continue };
        let pixels = f64::from(height) * f64::from(width);
        shares.extend(image.objects.iter().map(|o| o.object.area / pixels));
    }
    shares
}

fn heat_map(audit: &Audit, seen: &[Option<&Seen>]) -> HeatMap {
    let of_image = |(image, seen): (&AuditedImage, &Option<&Seen>)| {
        let size = size_of(image, *seen)?;
        (!image.objects.is_empty()).then(|| covered(image, size))
    };
    let all: Vec<_> = audit.images.par_iter().zip(seen).map(of_image).collect();
    let mut map = HeatMap::default();
    all.into_iter().flatten().for_each(|covered| map.add(&covered));
    map
}

/// The cells whose centre is inside an object.
fn covered(image: &AuditedImage, (height, width): (u32, u32)) -> Vec<bool> {
    let mut covered = vec![false; CELLS * CELLS];
    let centre = |cell: usize, side: u32| {
        let at = (cell as f64 + 0.5) * f64::from(side) / CELLS as f64;
        (at as usize).min(side as usize - 1)
    };
    for object in image.objects.iter().map(|o| &o.object) {
        if matches!(object.segmentation, Segmentation::None)
            && object.bbox[2] * object.bbox[3] == 0.0
        {
            continue;
        }
        let Ok(mask) = object.segmentation.rasterize((height, width), object.bbox) else {
            continue;
        };
        let pixels = mask.to_mask();
        for (i, cell) in covered.iter_mut().enumerate() {
            let (y, x) = (centre(i / CELLS, height), centre(i % CELLS, width));
            *cell |= pixels[y * width as usize + x] != 0;
        }
    }
    covered
}
