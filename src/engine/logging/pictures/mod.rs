//! Pictures for people: what went into the network and what came out.
//!
//! Everything draws on [`RgbImage`]s and is deterministic, so the same run gives the same pictures.

mod confusion;
mod overlay;
mod prompts;

use std::collections::BTreeMap;

use anyhow::Result;
use image::{
    Rgb, RgbImage,
    imageops::{self, FilterType},
};
use tch::{Kind, Tensor};

pub use base::text::{draw_text, text_width};
use base::{text, words::significant};
pub use confusion::confusion_matrix;
pub use overlay::{Overlay, draw_box, draw_mask, draw_outline};
pub use prompts::draw_prompt;

use crate::{
    Size,
    batch::Target,
    data::InputSpec,
    data::{Category, ImagePrompts},
    task::Prediction,
};

const WHITE: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([24, 26, 30]);
const RIGHT: Rgb<u8> = Rgb([86, 196, 120]);
const WRONG: Rgb<u8> = Rgb([255, 122, 92]);

/// Colour of a category: saturated, told apart on grey images, repeated after ten.
#[must_use]
pub fn category_colour(category: usize) -> Rgb<u8> {
    const COLOURS: [[u8; 3]; 10] = [
        [255, 176, 0],
        [66, 165, 245],
        [240, 83, 101],
        [76, 201, 132],
        [186, 104, 232],
        [0, 206, 209],
        [255, 128, 191],
        [173, 214, 60],
        [255, 127, 63],
        [140, 140, 255],
    ];
    Rgb(COLOURS[category % COLOURS.len()])
}

/// The picture that went into the network: `image` `[3, H, W]` f32 of a batch, normalised and
/// padded, back to 8 bit RGB without the padding (`input_size`).
///
/// # Errors
/// When the tensor has another shape.
pub fn denormalise(image: &Tensor, input_size: Size, spec: &InputSpec) -> Result<RgbImage> {
    let (_, height, width) = image.size3()?;
    let (height, width) = (input_size.0.min(height), input_size.1.min(width));
    let factors =
        |values: &[f64; 3]| Tensor::from_slice(values).to_kind(Kind::Float).view([3, 1, 1]);
    let pixels = image
        .f_to_device(tch::Device::Cpu)?
        .f_to_kind(Kind::Float)?
        .f_narrow(1, 0, height)?
        .f_narrow(2, 0, width)?
        .f_mul(&factors(&spec.pixel_std))?
        .f_add(&factors(&spec.pixel_mean))?
        .f_round()?
        .f_clamp(0.0, 255.0)?
        .f_permute([1, 2, 0])?
        .f_to_kind(Kind::Uint8)?
        .f_contiguous()?
        .f_view([-1])?;
    let bytes = Vec::<u8>::try_from(pixels)?;
    RgbImage::from_raw(width.try_into()?, height.try_into()?, bytes)
        .ok_or_else(|| anyhow::anyhow!("an image of {height}×{width} pixels has another length"))
}

/// `image` scaled so that its longest side is `side` pixels.
#[must_use]
pub fn fit(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let longest = width.max(height).max(1);
    let scaled = |length: u32| {
        ((f64::from(length) * f64::from(side) / f64::from(longest)).round() as u32).max(1)
    };
    if longest == side {
        return image.clone();
    }
    imageops::resize(image, scaled(width), scaled(height), FilterType::Triangle)
}

/// A line under a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Cut at its end where it does not fit.
    pub text: String,
    /// Of the letters, on a dark bar.
    pub colour: Rgb<u8>,
}

impl Caption {
    /// A neutral line.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: WHITE }
    }
}

/// `image` with a bar of captions below.
#[must_use]
pub fn with_captions(image: &RgbImage, captions: &[Caption]) -> RgbImage {
    let (width, height) = image.dimensions();
    let size = (width as f32 / 26.0).clamp(12.0, 28.0);
    let line = (size * 1.3).ceil() as u32;
    let margin = line / 3;
    let bar = captions.len() as u32 * line + if captions.is_empty() { 0 } else { margin };
    let mut picture = RgbImage::from_pixel(width, height + bar, INK);
    imageops::replace(&mut picture, image, 0, 0);
    for (i, caption) in captions.iter().enumerate() {
        let top = height + margin / 2 + i as u32 * line;
        let text = text::shorten(&caption.text, size, width.saturating_sub(2 * margin) as f32);
        draw_text(&mut picture, (margin as i32, top as i32), &text, size, caption.colour);
    }
    picture
}

/// A prediction on its image: objects drawn in, image-level scores below, coloured by whether they
/// are `truth` where that is known. `image` may have any scale of the original; a tiny one is
/// enlarged, for the words to be legible.
#[must_use]
pub fn prediction(
    image: &RgbImage,
    prediction: &Prediction,
    truth: Option<&[i64]>,
    categories: &[Category],
) -> RgbImage {
    let mut picture = legible(image);
    Overlay { prediction, prompts: &[], categories }.draw(&mut picture);
    let mut lines = captions(prediction, truth, categories);
    lines.extend(value_captions(prediction, &BTreeMap::new()));
    with_captions(&picture, &lines)
}

/// What a model said of an image that nobody scores: as [`prediction`], with the prompts that it was
/// given, or the outlines (white) of the annotated objects that it was asked about, and annotated
/// numbers beside the predicted ones.
#[must_use]
pub fn answers(
    image: &RgbImage,
    prediction: &Prediction,
    target: &Target,
    categories: &[Category],
) -> RgbImage {
    let mut picture = legible(image);
    let prompts = match &target.prompts {
        Some(ImagePrompts::Objects(prompts)) => prompts.as_slice(),
        _ => &[],
    };
    if let (Ok(height), Ok(width)) =
        (u32::try_from(target.original_size.0), u32::try_from(target.original_size.1))
    {
        for object in target.objects.iter().filter(|object| !object.is_crowd) {
            // An object whose mask is malformed has failed its image before.
            if let Ok(mask) = object.segmentation.rasterize((height, width), object.bbox) {
                draw_outline(&mut picture, &mask, WHITE);
            }
        }
    }
    Overlay { prediction, prompts, categories }.draw(&mut picture);
    let mut lines = captions(prediction, None, categories);
    lines.extend(value_captions(prediction, &target.values));
    with_captions(&picture, &lines)
}

/// A tiny image enlarged, for words to be legible.
fn legible(image: &RgbImage) -> RgbImage {
    const SMALLEST_SIDE: u32 = 256;
    fit(image, image.width().max(image.height()).max(SMALLEST_SIDE))
}

/// A line for each predicted number, with the annotated one where there is one.
fn value_captions(prediction: &Prediction, truth: &BTreeMap<String, f64>) -> Vec<Caption> {
    let line = |(name, value): (&String, &f64)| {
        let truth =
            truth.get(name).map_or_else(String::new, |t| format!(" (truth {})", significant(*t)));
        Caption::new(format!("{name}: {}{truth}", significant(*value)))
    };
    prediction.values.iter().map(line).collect()
}

fn captions(
    prediction: &Prediction,
    truth: Option<&[i64]>,
    categories: &[Category],
) -> Vec<Caption> {
    let name = |i: usize| categories.get(i).map_or_else(|| format!("#{i}"), |c| c.name.clone());
    let mut captions = Vec::new();
    if prediction.scores.is_empty() {
        return captions;
    }
    let truth: Option<Vec<usize>> =
        truth.map(|t| t.iter().filter_map(|&label| usize::try_from(label).ok()).collect());
    let scored = |&label: &usize| match prediction.scores.get(label) {
        Some(score) => format!("{} {score:.2}", name(label)),
        None => name(label),
    };
    let listed = |labels: &[usize], word: &dyn Fn(&usize) -> String| match labels {
        [] => "none".to_owned(),
        labels => labels.iter().map(word).collect::<Vec<_>>().join(", "),
    };
    let colour = match &truth {
        Some(truth) if *truth == prediction.labels => RIGHT,
        Some(_) => WRONG,
        None => WHITE,
    };
    captions.push(Caption {
        text: format!("predicted: {}", listed(&prediction.labels, &scored)),
        colour,
    });
    if let Some(truth) = truth {
        captions.push(Caption::new(format!("truth: {}", listed(&truth, &|&i| name(i)))));
    }
    captions
}

/// Pictures side by side in rows of `columns`, each in a cell of the largest one's size.
#[must_use]
pub fn grid(pictures: &[RgbImage], columns: u32) -> RgbImage {
    const GAP: u32 = 4;
    let columns = columns.clamp(1, (pictures.len() as u32).max(1));
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(1);
    let height = pictures.iter().map(RgbImage::height).max().unwrap_or(1);
    let rows = (pictures.len() as u32).div_ceil(columns).max(1);
    let mut sheet =
        RgbImage::from_pixel(columns * (width + GAP) - GAP, rows * (height + GAP) - GAP, WHITE);
    for (i, picture) in pictures.iter().enumerate() {
        let (row, column) = (i as u32 / columns, i as u32 % columns);
        let left = column * (width + GAP) + (width - picture.width()) / 2;
        let top = row * (height + GAP);
        imageops::replace(&mut sheet, picture, i64::from(left), i64::from(top));
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ImageId;

    fn spec() -> InputSpec {
        InputSpec::imagenet(32)
    }

    #[test]
    fn normalising_and_back_gives_every_pixel() {
        let (height, width) = (5, 7);
        let original = RgbImage::from_fn(width, height, |x, y| {
            Rgb([x as u8 * 36, y as u8 * 60, 255 - x as u8])
        });
        let spec = spec();
        let mut padded = vec![0f32; 3 * 8 * 8];
        for (x, y, pixel) in original.enumerate_pixels() {
            for c in 0..3 {
                padded[c * 64 + y as usize * 8 + x as usize] =
                    ((f64::from(pixel[c]) - spec.pixel_mean[c]) / spec.pixel_std[c]) as f32;
            }
        }
        let tensor = Tensor::from_slice(&padded).view([3, 8, 8]);
        assert_eq!(denormalise(&tensor, (5, 7), &spec).unwrap(), original);
        assert!(denormalise(&tensor.get(0), (5, 7), &spec).is_err());
    }

    #[test]
    fn captions_tell_right_from_wrong() {
        let categories = ["benign", "malignant"].map(|name| Category { id: 1, name: name.into() });
        let prediction = Prediction {
            image_id: ImageId::Unsigned(1),
            original_size: (8, 8),
            scores: vec![0.25, 0.75],
            labels: vec![1],
            instances: vec![],
            values: BTreeMap::new(),
        };
        let right = captions(&prediction, Some(&[1]), &categories);
        assert_eq!(right[0], Caption { text: "predicted: malignant 0.75".into(), colour: RIGHT });
        assert_eq!(right[1], Caption::new("truth: malignant"));
        assert_eq!(captions(&prediction, Some(&[0]), &categories)[0].colour, WRONG);
        assert_eq!(captions(&prediction, Some(&[]), &categories)[1], Caption::new("truth: none"));
        assert_eq!(captions(&prediction, None, &categories).len(), 1);
    }

    #[test]
    fn captions_of_numbers_have_the_annotated_one_beside() {
        let values = |list: &[(&str, f64)]| {
            list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        let prediction = Prediction {
            image_id: ImageId::Unsigned(1),
            original_size: (8, 8),
            scores: vec![],
            labels: vec![],
            instances: vec![],
            values: values(&[("ga_weeks", 21.4567), ("hc_mm", 187.0)]),
        };
        let lines = value_captions(&prediction, &values(&[("ga_weeks", 20.0)]));
        assert_eq!(lines[0].text, "ga_weeks: 21.46 (truth 20.00)");
        assert_eq!(lines[1].text, "hc_mm: 187.0");
    }

    #[test]
    fn a_grid_holds_pictures_of_any_size() {
        let red = RgbImage::from_pixel(4, 2, Rgb([255, 0, 0]));
        let tall = RgbImage::from_pixel(2, 6, Rgb([0, 255, 0]));
        let sheet = grid(&[red.clone(), tall, red], 2);
        assert_eq!(sheet.dimensions(), (4 + 4 + 4, 6 + 4 + 6));
        assert_eq!(sheet.get_pixel(9, 0), &Rgb([0, 255, 0]));
        assert_eq!(sheet.get_pixel(0, 10), &Rgb([255, 0, 0]));
        assert_eq!(grid(&[], 3).dimensions(), (1, 1));
    }

    #[test]
    fn fitting_keeps_the_aspect_and_never_vanishes() {
        let image = RgbImage::new(1000, 2);
        assert_eq!(fit(&image, 100).dimensions(), (100, 1));
        assert_eq!(fit(&RgbImage::new(64, 48), 256).dimensions(), (256, 192));
    }
}
