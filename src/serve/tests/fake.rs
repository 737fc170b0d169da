//! A model without a network: a disc around the first click, the box, or whatever is bright.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use sonotune_base::{Category, Error, Rle, image_io::DecodeOptions};
use sonotune_dataset::{ObjectPrompt, pixels};
use sonotune_serve::{About, Answer, Found, Image, Inference, Question};

/// Radius of a disc, in pixels.
pub(crate) const RADIUS: f64 = 8.0;
const BRIGHT: u8 = 128;

pub(crate) struct Fake {
    pub(crate) about: About,
    /// How long it takes.
    pub(crate) delay: Duration,
    pub(crate) seen: Mutex<HashSet<String>>,
}

impl Fake {
    #[must_use]
    pub(crate) fn new() -> Self {
        let named = |id, name: &str| Category { id, name: name.to_owned() };
        let about = About {
            name: "fake".to_owned(),
            task: "sam_prompt".to_owned(),
            backbone: "none".to_owned(),
            takes_prompts: true,
            is_of_image: false,
            has_masks: true,
            categories: vec![named(3, "lesion"), named(7, "cyst")],
            min_score: 0.5,
            weights: PathBuf::from("none"),
            step: 0,
            device: "cpu".to_owned(),
        };
        Self { about, delay: Duration::ZERO, seen: Mutex::default() }
    }

    fn object(&self, prompt: &ObjectPrompt, (h, w): (u32, u32)) -> Result<Found> {
        let mask = if let Some(mask) = &prompt.mask {
            mask.rasterize((h, w), [0.0; 4])?
        } else {
            let inside = |x: f64, y: f64| match (prompt.points.first(), prompt.bbox) {
                (Some(point), _) => (x - point.x).hypot(y - point.y) <= RADIUS,
                (None, Some([x0, y0, x1, y1])) => (x0..x1).contains(&x) && (y0..y1).contains(&y),
                (None, None) => false,
            };
            let pixel = |i: u32| u8::from(inside(f64::from(i % w), f64::from(i / w)));
            Rle::from_mask(&(0..h * w).map(pixel).collect::<Vec<_>>(), (h, w))?
        };
        Ok(found(prompt.category.unwrap_or(0), 0.9, mask))
    }
}

fn found(category: usize, score: f64, mask: Rle) -> Found {
    let [x, y, w, h] = mask.bbox();
    Found { category, score, bbox: [x, y, x + w, y + h], mask: Some(mask) }
}

impl Inference for Fake {
    fn about(&self) -> &About {
        &self.about
    }

    fn answer(&self, image: &Image, question: &Question) -> Result<Answer> {
        std::thread::sleep(self.delay);
        let options = DecodeOptions { exif: true, max_pixels: 1 << 30 };
        let decoded = pixels::decode(&image.file.path, image.file.frame, options)?;
        let size = (decoded.height, decoded.width);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let was_prepared = !seen.insert(format!("{image:?}"));
        drop(seen);
        let mut answer = Answer { size, was_prepared, ..Answer::default() };
        let grey = decoded.pixels.chunks_exact(decoded.channels);
        let bright: Vec<u8> = grey.map(|pixel| u8::from(pixel[0] > BRIGHT)).collect();
        match question {
            Question::Prompts(prompts) => {
                let objects = prompts.iter().map(|prompt| self.object(prompt, size));
                answer.objects = objects.collect::<Result<_>>()?;
            }
            // An error of the server, for a test.
            Question::Unasked if size == (13, 13) => {
                return Err(anyhow::anyhow!("a secret detail of {}", image.file.path.display()));
            }
            Question::Unasked if size == (13, 14) => {
                let what = format!("image {}: unlucky", image.file.path.display());
                return Err(Error::data(what).into());
            }
            Question::Unasked if self.about.is_of_image => {
                let share = bright.iter().map(|&b| f64::from(b)).sum::<f64>() / bright.len() as f64;
                answer.scores = vec![share, 1.0 - share];
                answer.labels = vec![usize::from(share < 0.5)];
                answer.values = vec![("brightness".to_owned(), share)];
            }
            Question::Unasked => {
                let mask = Rle::from_mask(&bright, size)?;
                let whole = Rle::from_mask(&vec![1; bright.len()], size)?;
                // The second one is not worth showing.
                answer.objects = vec![found(1, 0.8, mask), found(0, 0.2, whole)];
            }
        }
        Ok(answer)
    }

    fn prepare(&self, _image: &Image) {}
}
