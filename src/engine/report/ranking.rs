//! The best and the worst predicted images of a split, with small pictures: kept while scoring, in
//! bounded memory.

use std::{io::Cursor, path::PathBuf};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{RgbImage, codecs::jpeg::JpegEncoder};
use serde::{Deserialize, Serialize};

use crate::task::Metric;

/// Pictures of the best, and of the worst.
pub const PER_END: usize = 6;
/// Longest side of a picture in pixels.
pub const SIDE: u32 = 384;
/// A JPEG that is larger is encoded again, coarser.
pub const LARGEST_BYTES: usize = 64 << 10;

/// An image with what was predicted drawn in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Of the image file.
    pub path: PathBuf,
    /// What it was ranked by.
    pub score: f64,
    /// What was predicted and what is true, a line each.
    pub lines: Vec<String>,
    pub width: u32,
    pub height: u32,
    /// Base64.
    pub jpeg: String,
}

/// The two ends of a ranking, each from its end inwards; no image is in both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Name of the score; the higher, the better.
    pub score: String,
    /// That have such a score.
    pub num_images: usize,
    pub best: Vec<Picture>,
    pub worst: Vec<Picture>,
}

/// Keeps the ends of a ranking while scores come in.
#[derive(Debug, Default)]
pub struct Ranking {
    score: Option<String>,
    num_images: usize,
    best: Vec<Picture>,
    worst: Vec<Picture>,
}

impl Ranking {
    /// Takes in an image; `picture` draws it and is asked only when it is among the ends so far. Of
    /// equals the first stays. A score that is not finite ranks nothing.
    ///
    /// # Errors
    /// Those of `picture`.
    pub fn add(
        &mut self,
        score: &Metric,
        picture: impl FnOnce() -> Result<(PathBuf, Vec<String>, RgbImage)>,
    ) -> Result<()> {
        let value = score.value;
        if !value.is_finite() {
            return Ok(());
        }
        self.num_images += 1;
        self.score.get_or_insert_with(|| score.name.clone());
        let best = self.best.partition_point(|p| p.score >= value);
        let worst = self.worst.partition_point(|p| p.score <= value);
        if best >= PER_END && worst >= PER_END {
            return Ok(());
        }
        let (path, lines, image) = picture()?;
        let jpeg = STANDARD.encode(jpeg(&image)?);
        let (width, height) = image.dimensions();
        let picture = Picture { path, score: value, lines, width, height, jpeg };
        for (list, place) in [(&mut self.best, best), (&mut self.worst, worst)] {
            if place < PER_END {
                list.insert(place, picture.clone());
                list.truncate(PER_END);
            }
        }
        Ok(())
    }

    /// `None` where nothing was ranked.
    #[must_use]
    pub fn finish(mut self) -> Option<Ranked> {
        let score = self.score?;
        // Few images: each is in one half.
        self.best.truncate(self.num_images.div_ceil(2));
        self.worst.truncate(self.num_images / 2);
        let Self { num_images, best, worst, .. } = self;
        Some(Ranked { score, num_images, best, worst })
    }
}

fn jpeg(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for quality in [82, 60, 35, 15] {
        bytes.clear();
        JpegEncoder::new_with_quality(Cursor::new(&mut bytes), quality).encode_image(image)?;
        if bytes.len() <= LARGEST_BYTES {
            break;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(scores: &[f64]) -> (Ranked, usize) {
        let (mut ranking, mut drawn) = (Ranking::default(), 0);
        for (i, &value) in scores.iter().enumerate() {
            let draw = || {
                drawn += 1;
                Ok((format!("{i}.png").into(), vec![], RgbImage::new(4, 3)))
            };
            ranking.add(&Metric::new("iou", value), draw).unwrap();
        }
        (ranking.finish().unwrap(), drawn)
    }

    fn names(pictures: &[Picture]) -> Vec<String> {
        pictures.iter().map(|p| p.path.display().to_string()).collect()
    }

    #[test]
    fn the_ends_are_kept_and_few_others_drawn() {
        let scores: Vec<f64> = (0..100).map(|i| f64::from((i * 37) % 100)).collect();
        let (ranked, drawn) = ranked(&scores);
        let values = |p: &[Picture]| p.iter().map(|p| p.score).collect::<Vec<_>>();
        assert_eq!(values(&ranked.best), [99.0, 98.0, 97.0, 96.0, 95.0, 94.0]);
        assert_eq!(values(&ranked.worst), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ranked.num_images, 100);
        assert!(drawn < 60, "{drawn}");
    }

    #[test]
    fn of_few_images_each_is_shown_once_and_equals_keep_their_order() {
        let (ranked, _) = ranked(&[0.5, 0.5, f64::NAN, 0.5, 0.9, 0.5]);
        assert_eq!(names(&ranked.best), ["4.png", "0.png", "1.png"]);
        assert_eq!(names(&ranked.worst), ["0.png", "1.png"]);
        assert_eq!(ranked.num_images, 5);
    }

    #[test]
    fn noise_is_bounded_too() {
        let mut state = 1u32;
        let image = RgbImage::from_fn(SIDE, SIDE, |_, _| {
            let mut byte = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            image::Rgb([byte(), byte(), byte()])
        });
        let bytes = jpeg(&image).unwrap();
        assert!(bytes.len() <= LARGEST_BYTES, "{}", bytes.len());
        assert!(image::load_from_memory(&bytes).is_ok());
    }
}
