//! The best and the worst predicted images of a split, with small pictures: kept while scoring, in
//! bounded memory.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{RgbImage, codecs::jpeg::JpegEncoder};
use serde::{Deserialize, Serialize};

use sonotune_metrics::Metric;

/// Number of pictures of the best, and of the worst.
pub const PER_END: usize = 6;
/// Longest side of a picture in pixels.
pub const SIDE: u32 = 384;
/// A larger JPEG is encoded again, at lower quality.
pub const LARGEST_BYTES: usize = 64 << 10;

/// An image with the prediction drawn in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Path of the image file.
    pub path: PathBuf,
    /// The score it was ranked by.
    pub score: f64,
    /// The prediction and the truth, one line each.
    pub lines: Vec<String>,
    pub width: u32,
    pub height: u32,
    /// Base64.
    pub jpeg: String,
}

impl Picture {
    /// The picture that is drawn as `image`; `score` may be NaN for one that is not ranked.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn new(path: &Path, score: f64, lines: Vec<String>, image: &RgbImage) -> Result<Self> {
        let jpeg = STANDARD.encode(jpeg(image)?);
        let (width, height) = image.dimensions();
        Ok(Self { path: path.to_owned(), score, lines, width, height, jpeg })
    }
}

/// The two ends of a ranking, each from its extreme inwards; no image is in both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Name of the score; higher is better.
    pub score: String,
    /// Number of images with this score.
    pub num_images: usize,
    pub best: Vec<Picture>,
    pub worst: Vec<Picture>,
}

/// Keeps the ends of a ranking while scores come in.
#[derive(Debug, Default)]
pub struct Ranking {
    score: Option<String>,
    num_images: usize,
    /// Each with its position in the order of arrival.
    best: Vec<(usize, Picture)>,
    /// Twice as many as are shown: among equals the first may be at both ends.
    worst: Vec<(usize, Picture)>,
}

impl Ranking {
    /// Adds an image; `picture` draws it and is called only if it is among the ends so far. Among equal
    /// scores the first stays. Images with a score that is not finite are not ranked.
    ///
    /// # Errors
    /// Errors from `picture`.
    pub fn add(
        &mut self,
        score: &Metric,
        picture: impl FnOnce() -> Result<(PathBuf, Vec<String>, RgbImage)>,
    ) -> Result<()> {
        let value = score.value;
        if !value.is_finite() {
            return Ok(());
        }
        let arrival = self.num_images;
        self.num_images += 1;
        self.score.get_or_insert_with(|| score.name.clone());
        let best = self.best.partition_point(|(_, p)| p.score >= value);
        let worst = self.worst.partition_point(|(_, p)| p.score <= value);
        if best >= PER_END && worst >= 2 * PER_END {
            return Ok(());
        }
        let (path, lines, image) = picture()?;
        let picture = Picture::new(&path, value, lines, &image)?;
        for (list, place, most) in
            [(&mut self.best, best, PER_END), (&mut self.worst, worst, 2 * PER_END)]
        {
            if place < most {
                list.insert(place, (arrival, picture.clone()));
                list.truncate(most);
            }
        }
        Ok(())
    }

    /// `None` if nothing was ranked.
    #[must_use]
    pub fn finish(mut self) -> Option<Ranked> {
        let (score, num_images) = (self.score?, self.num_images);
        // With few images, each is in only one half.
        self.best.truncate(num_images.div_ceil(2));
        self.worst.retain(|(arrival, _)| self.best.iter().all(|(other, _)| other != arrival));
        self.worst.truncate(PER_END.min(num_images / 2));
        let pictures = |list: Vec<(usize, Picture)>| list.into_iter().map(|(_, p)| p).collect();
        Some(Ranked { score, num_images, best: pictures(self.best), worst: pictures(self.worst) })
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
        let scores: Vec<f64> = (0..1000).map(|i| f64::from((i * 377) % 1000)).collect();
        let (ranked, drawn) = ranked(&scores);
        let values = |p: &[Picture]| p.iter().map(|p| p.score).collect::<Vec<_>>();
        assert_eq!(values(&ranked.best), [999.0, 998.0, 997.0, 996.0, 995.0, 994.0]);
        assert_eq!(values(&ranked.worst), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ranked.num_images, 1000);
        assert!(drawn < 250, "{drawn}");
    }

    #[test]
    fn of_few_images_each_is_shown_once_and_equals_keep_their_order() {
        let (ranked, _) = ranked(&[0.5, 0.5, f64::NAN, 0.5, 0.9, 0.5]);
        assert_eq!(names(&ranked.best), ["4.png", "0.png", "1.png"]);
        assert_eq!(names(&ranked.worst), ["3.png", "5.png"]);
        assert_eq!(ranked.num_images, 5);
    }

    #[test]
    fn of_many_equals_none_is_at_both_ends() {
        let (ranked, drawn) = ranked(&[0.0; 50]);
        let both = [names(&ranked.best), names(&ranked.worst)].concat();
        assert_eq!(both, (0..12).map(|i| format!("{i}.png")).collect::<Vec<_>>());
        assert_eq!(drawn, 12);
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
