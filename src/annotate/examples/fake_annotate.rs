//! A session with a model that needs no weights: `fake_annotate IMAGES [FILE.json]`.
//!
//! A positive click gives a disc, a box the ellipse in it, and drafts are bright blobs.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use sonotune_annotate::{Options, Order, Session};
use sonotune_base::{Category, Rle, image_io::DecodeOptions, stop::StopFlag};
use sonotune_dataset::{ObjectPrompt, pixels::Reader};
use sonotune_serve::{About, Answer, Found, Image, Inference, Question};

const OPTIONS: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 26 };
/// Grey level from which on a pixel is bright.
const BRIGHT: u8 = 170;
/// Pixels of the smallest blob.
const MIN_AREA: usize = 40;

struct Fake {
    about: About,
    reader: Reader,
}

impl Fake {
    fn new() -> Self {
        let name = |(id, name): (i64, &str)| Category { id, name: name.to_owned() };
        let about = About {
            name: "fake".to_owned(),
            task: "sam_prompt".to_owned(),
            backbone: "none".to_owned(),
            takes_prompts: true,
            is_of_image: false,
            has_masks: true,
            categories: [(1, "lesion"), (2, "vessel")].map(name).into(),
            min_score: 0.5,
            weights: PathBuf::new(),
            step: 0,
            device: "cpu".to_owned(),
        };
        Self { about, reader: Reader::default() }
    }
}

impl Inference for Fake {
    fn about(&self) -> &About {
        &self.about
    }

    fn answer(&self, image: &Image, question: &Question) -> Result<Answer> {
        let (path, frame) = (&image.file.path, image.file.frame);
        let size = self.reader.read_size(path, frame, OPTIONS)?;
        let objects = match question {
            Question::Prompts(prompts) => {
                prompts.iter().map(|prompt| prompted(prompt, size)).collect::<Result<Vec<_>>>()?
            }
            Question::Unasked => {
                let pixels = self.reader.decode(path, frame, OPTIONS)?;
                let bright = pixels.pixels.chunks(pixels.channels).map(|pixel| pixel[0] >= BRIGHT);
                blobs(bright.collect(), size)?
            }
        };
        Ok(Answer { size, objects, was_prepared: true, ..Answer::default() })
    }

    fn prepare(&self, _image: &Image) {}
}

/// A disc around the first positive click without discs around negative ones, or the ellipse in the box.
fn prompted(prompt: &ObjectPrompt, size: (u32, u32)) -> Result<Found> {
    let radius = f64::from(size.0.min(size.1)) / 8.0;
    let centre = prompt.points.iter().find(|point| point.positive);
    let is_inside = |x: f64, y: f64| {
        let disc = centre.is_some_and(|c| (x - c.x).hypot(y - c.y) <= radius);
        let ellipse = prompt.bbox.is_some_and(|[x0, y0, x1, y1]| {
            let (rx, ry) = ((x1 - x0) / 2.0, (y1 - y0) / 2.0);
            ((x - (x0 + rx)) / rx).hypot((y - (y0 + ry)) / ry) <= 1.0
        });
        let near = |negative: bool, r: f64| {
            prompt.points.iter().any(|p| p.positive != negative && (x - p.x).hypot(y - p.y) <= r)
        };
        let is_asked =
            if prompt.bbox.is_some() { ellipse || near(false, radius / 3.0) } else { disc };
        let is_more = prompt.bbox.is_none() && near(false, radius / 2.0);
        (is_asked || is_more) && !near(true, radius / 2.0)
    };
    let before = prompt.rasterized_mask((size.0.into(), size.1.into()))?.map(|mask| mask.to_mask());
    let inside = |i: u32| {
        let (x, y) = (f64::from(i % size.1), f64::from(i / size.1));
        let was = before.as_ref().is_some_and(|mask| mask[i as usize] > 0);
        u8::from(is_inside(x, y) || (was && centre.is_none() && prompt.bbox.is_none()))
    };
    let mask = Rle::from_mask(&(0..size.0 * size.1).map(inside).collect::<Vec<_>>(), size)?;
    Ok(found(mask, prompt.category.unwrap_or(0), 0.9))
}

/// Bright regions of neighbouring pixels.
fn blobs(mut bright: Vec<bool>, size: (u32, u32)) -> Result<Vec<Found>> {
    let (height, width) = (size.0 as usize, size.1 as usize);
    let mut found_ones = Vec::new();
    for start in 0..bright.len() {
        if !bright[start] {
            continue;
        }
        let (mut mask, mut open, mut area) = (vec![0; height * width], vec![start], 0);
        while let Some(i) = open.pop() {
            if !std::mem::take(&mut bright[i]) {
                continue;
            }
            mask[i] = 1;
            area += 1;
            let (x, y) = (i % width, i / width);
            open.extend((x > 0).then(|| i - 1));
            open.extend((x + 1 < width).then_some(i + 1));
            open.extend((y > 0).then(|| i - width));
            open.extend((y + 1 < height).then_some(i + width));
        }
        if area >= MIN_AREA {
            let score = 1.0 - 1.0 / (area as f64).sqrt();
            found_ones.push(found(Rle::from_mask(&mask, size)?, found_ones.len() % 2, score));
        }
    }
    found_ones.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(found_ones)
}

fn found(mask: Rle, category: usize, score: f64) -> Found {
    let [x, y, width, height] = mask.bbox();
    Found { category, score, bbox: [x, y, x + width, y + height], mask: Some(mask) }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let images =
        arguments.next().context("usage: fake_annotate IMAGES [FILE.json [FIRST.json]]")?;
    let options = Options {
        images,
        annotations: arguments.next(),
        second_reading_of: arguments.next(),
        reader: std::env::var("READER").ok(),
        order: Order::Name,
        port: std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0),
        ..Options::default()
    };
    let session = Session::open(&options, Some(Arc::new(Fake::new())))?
        .log(Arc::new(|line| eprintln!("{line}")));
    for note in session.notes() {
        eprintln!("note: {note}");
    }
    println!("{}", session.url());
    let summary = session.run(&StopFlag::from_signals()?)?;
    println!("{}", serde_json::to_string_pretty(&summary)?);
    Ok(())
}
