//! Random images with their masks, on a sheet.

use image::{GrayImage, Rgb, RgbImage};
use sonotune_base::seed::Rng;
use sonotune_draw::{
    Caption,
    colour::{WHITE, category_colour},
    draw_box, draw_mask, fit, grid, with_captions,
};

use super::SplitSurvey;
use sonotune_base::{Segmentation, image_io::DecodeOptions};
use sonotune_dataset::{findings::AuditedImage, pixels};

/// First coordinate of a random draw: which images are shown.
const SAMPLES: u64 = 0x5A11;
/// Longest side of an image on the sheet, pixels.
const SIDE: u32 = 300;
const COLUMNS: u32 = 4;

/// Up to `count` images of a split on one sheet, chosen at random by `seed`: those that show
/// `category`, or any. `None` if none of them can be decoded.
#[must_use]
pub fn samples(
    split: &SplitSurvey,
    category: Option<usize>,
    decode: DecodeOptions,
    (seed, count): (u64, usize),
) -> Option<RgbImage> {
    let audit = &split.details.audit;
    let shows = |image: &&AuditedImage| {
        let Some(category) = category else { return true };
        image.image_labels.iter().any(|&l| l as usize == category)
            || image.objects.iter().any(|o| o.object.category as usize == category)
    };
    let mut images: Vec<&AuditedImage> = audit.images.iter().filter(shows).collect();
    let coordinate = category.map_or(0, |c| c as u64 + 1);
    let mut rng = Rng::at(seed, &[SAMPLES, split.split as u64, coordinate]);
    let mut pictures = Vec::new();
    while pictures.len() < count && !images.is_empty() {
        let image = images.swap_remove(rng.below(images.len() as u64) as usize);
        pictures.extend(picture(image, split, decode));
    }
    (!pictures.is_empty()).then(|| grid(&pictures, COLUMNS))
}

/// An image with its objects and the name of its file, `None` when it cannot be decoded.
fn picture(image: &AuditedImage, split: &SplitSurvey, decode: DecodeOptions) -> Option<RgbImage> {
    let decoded = pixels::decode(&image.path, image.frame, decode).ok()?;
    let (height, width) = (decoded.height, decoded.width);
    let rgb = if decoded.channels == 1 {
        image::DynamicImage::from(GrayImage::from_raw(width, height, decoded.pixels)?).to_rgb8()
    } else {
        RgbImage::from_raw(width, height, decoded.pixels)?
    };
    let mut picture = fit(&rgb, SIDE);
    let scale = f64::from(picture.width()) / f64::from(width);
    for object in image.objects.iter().map(|o| &o.object) {
        let colour: Rgb<u8> = category_colour(object.category as usize);
        let size = image.size.unwrap_or((height, width));
        match object.segmentation.rasterize(size, object.bbox) {
            Ok(mask) if !matches!(object.segmentation, Segmentation::None) => {
                draw_mask(&mut picture, &mask, colour);
            }
            _ => {
                let [x, y, w, h] = object.bbox;
                draw_box(&mut picture, [x, y, x + w, y + h].map(|side| side * scale), 2, colour);
            }
        }
    }
    let name = image.image_file().name();
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut labels: Vec<u32> = image.image_labels.clone();
    labels.extend(image.objects.iter().map(|o| o.object.category));
    labels.sort_unstable();
    labels.dedup();
    let mut captions = vec![Caption::new(name)];
    let categories = &split.counts.categories;
    let names: Vec<&str> =
        labels.iter().filter_map(|&l| Some(categories.get(l as usize)?.name.as_str())).collect();
    let colour = labels.first().map_or(WHITE, |&l| category_colour(l as usize));
    let text = if names.is_empty() { "no object".to_owned() } else { names.join(", ") };
    captions.push(Caption { text, colour });
    Some(with_captions(&picture, &captions))
}
