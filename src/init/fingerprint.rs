//! Figures of the data that the settings follow from.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use sonotune_base::image_io::DecodeOptions;
use sonotune_coco::{
    CocoFile,
    duplicates::{DuplicateOptions, Print, components},
    layout::image_files,
};
use sonotune_dataset::pixels::{ImageFile, Reader};

/// Above this number of images they are not compared with each other, and only some are opened.
pub(crate) const MAX_COMPARED: usize = 5000;
/// How many are opened then, evenly spaced.
const SAMPLE: usize = 500;

/// What the images are.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Fingerprint {
    pub images: usize,
    /// How many were opened.
    pub opened: usize,
    /// Those that could not be, and why.
    pub unreadable: Vec<String>,
    /// Shortest, middle and longest of the longer sides, pixels.
    pub longer_side: [u32; 3],
    /// Share of the opened images with colour.
    pub coloured: f64,
    /// Sets of images that look alike; not known for many images.
    pub alike: Option<usize>,
    /// Number of images of each class, or of objects of each category.
    pub classes: Vec<(String, usize)>,
    /// Whether `classes` counts images.
    pub of_images: bool,
    pub objects: Option<Objects>,
}

/// What the objects are.
#[derive(Debug, Clone, Serialize)]
pub struct Objects {
    pub count: usize,
    /// Images without any.
    pub empty_images: usize,
    pub with_mask: usize,
    /// Side of a square of an object's area as a share of the image's longer side: of a tenth of the objects at most,
    /// and of the middle one.
    pub small_side: f64,
    pub middle_side: f64,
}

/// What opening the images gave.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Lists of images, by index, that look alike.
    pub(crate) together: Vec<Vec<usize>>,
    /// Names of images that cannot be read.
    pub(crate) unreadable: Vec<String>,
}

/// Opens the images of `file`, which are in `folder`.
pub(crate) fn open(
    file: &CocoFile,
    folder: &Path,
    done: &(dyn Fn() + Sync),
) -> (Fingerprint, Opened) {
    let paths =
        file.images.iter().map(|image| folder.join(&image.file_name)).collect::<Vec<PathBuf>>();
    let images = image_files(file, paths);
    let compares = images.len() <= MAX_COMPARED;
    let step = if compares { 1 } else { images.len().div_ceil(SAMPLE) };
    let reader = Reader::default();
    let options = DecodeOptions { exif: false, max_pixels: DuplicateOptions::default().max_pixels };
    let look = |(index, image): (usize, &ImageFile)| {
        let decoded = reader.decode(&image.path, image.frame, options);
        done();
        let decoded = decoded.map(sonotune_base::image_io::Image::into_grey_if_equal);
        (
            index,
            decoded.map(|image| ((image.height, image.width), image.channels, Print::of(&image))),
        )
    };
    let sample: Vec<_> = images.iter().enumerate().step_by(step).collect();
    let looked: Vec<_> = sample.into_par_iter().map(look).collect();
    let mut print =
        Fingerprint { images: images.len(), opened: looked.len(), ..Fingerprint::default() };
    let (mut indices, mut prints, mut sides, mut coloured) =
        (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut opened = Opened::default();
    for (index, image) in looked {
        match image {
            Ok(((height, width), channels, own)) => {
                sides.push(height.max(width));
                coloured += usize::from(channels == 3);
                indices.push(index);
                prints.push(own);
            }
            Err(error) => {
                print.unreadable.push(format!("{error:#}"));
                opened.unreadable.push(file.images[index].file_name.clone());
            }
        }
    }
    sides.sort_unstable();
    if let (Some(&first), Some(&last)) = (sides.first(), sides.last()) {
        print.longer_side = [first, sides[sides.len() / 2], last];
        print.coloured = coloured as f64 / sides.len() as f64;
    }
    if compares {
        opened.together = alike(&prints, &indices);
        print.alike = Some(opened.together.len());
    }
    (print, opened)
}

fn alike(prints: &[Print], indices: &[usize]) -> Vec<Vec<usize>> {
    let mut sets: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
    let sets_of = components(prints, DuplicateOptions::default().distance);
    for (set, &index) in sets_of.into_iter().zip(indices) {
        sets.entry(set).or_default().push(index);
    }
    sets.into_values().filter(|set| set.len() > 1).collect()
}

impl Fingerprint {
    /// Adds the classes of images or objects of `file`.
    pub(crate) fn count(&mut self, file: &CocoFile, of_images: bool) {
        let count = |id| file.annotations.iter().filter(|object| object.category_id == id).count();
        self.classes = file.categories.iter().map(|c| (c.name.clone(), count(c.id))).collect();
        self.of_images = of_images;
    }

    /// Adds the objects of `file`.
    pub(crate) fn measure(&mut self, file: &CocoFile) {
        let longer: std::collections::HashMap<u64, f64> = file
            .images
            .iter()
            .map(|image| (image.id, f64::from(image.height.max(image.width)).max(1.0)))
            .collect();
        let mut sides: Vec<f64> = file
            .annotations
            .iter()
            .filter_map(|object| Some(object.area.max(0.0).sqrt() / longer.get(&object.image_id)?))
            .filter(|side| side.is_finite())
            .collect();
        sides.sort_by(f64::total_cmp);
        let at = |share: usize| sides.get(sides.len() * share / 10).copied().unwrap_or(0.0);
        let marked: std::collections::HashSet<u64> =
            file.annotations.iter().map(|object| object.image_id).collect();
        let has_mask = |object: &&sonotune_coco::AnnotationRecord| {
            object
                .segmentation
                .as_ref()
                .is_some_and(|raw| !matches!(raw.get().trim(), "null" | "[]" | ""))
        };
        self.objects = Some(Objects {
            count: file.annotations.len(),
            empty_images: file.images.iter().filter(|image| !marked.contains(&image.id)).count(),
            with_mask: file.annotations.iter().filter(has_mask).count(),
            small_side: at(1),
            middle_side: at(5),
        });
    }
}
