//! Images and masks of each dataset by application, as one picture: the paper's Figure 2.
//!
//! Horizontal bars on a logarithmic axis, two a dataset, each with its count; applications by their
//! number of images, datasets within them too. Two colours of Okabe and Ito's palette, which are
//! told apart with any colour vision and in grey.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::{Context, Result, ensure};
use base::{
    Error,
    fs::{atomic_write, atomic_write_with},
    text::{draw_text, text_width},
    words::{counted, with_commas},
};
use image::{ImageEncoder, Rgb, RgbImage, codecs::png::PngEncoder};
use serde::Serialize;

/// What one dataset has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetCount {
    pub name: String,
    /// Organ or use, e.g. `breast`.
    pub application: String,
    pub images: u64,
    pub masks: u64,
}

/// A drawn figure, in pixels; at 300 per inch a page's width.
#[derive(Debug, Clone)]
pub struct Figure {
    width: u32,
    height: u32,
    shapes: Vec<Shape>,
}

#[derive(Debug, Clone)]
enum Shape {
    Bar {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        colour: Rgb<u8>,
    },
    /// `(x, y)` is the top left corner.
    Text {
        x: f32,
        y: f32,
        text: String,
        size: f32,
        colour: Rgb<u8>,
    },
}

const INK: Rgb<u8> = Rgb([30, 30, 30]);
const GRID: Rgb<u8> = Rgb([215, 215, 215]);
const IMAGES: Rgb<u8> = Rgb([0, 114, 178]);
const MASKS: Rgb<u8> = Rgb([230, 159, 0]);

const NAME_SIZE: f32 = 30.0;
const COUNT_SIZE: f32 = 24.0;
const HEADING_SIZE: f32 = 34.0;
const BAR: f32 = 20.0;
const ROW: f32 = 2.0 * BAR + 12.0;
const HEADING: f32 = 62.0;
const MARGIN: f32 = 40.0;
/// Length of the axis.
const AXIS: f32 = 1300.0;
/// Above the first application: the legend and the numbers of the axis.
const TOP: f32 = 150.0;

/// Draws `counts`.
///
/// # Errors
/// When there is no dataset.
pub fn draw(counts: &[DatasetCount]) -> Result<Figure> {
    ensure!(!counts.is_empty(), Error::data("no dataset to draw"));
    let groups = by_application(counts);
    let widest = |texts: &mut dyn Iterator<Item = (String, f32)>| {
        texts.map(|(text, size)| text_width(&text, size)).fold(0.0, f32::max)
    };
    let names = widest(&mut counts.iter().map(|c| (c.name.clone(), NAME_SIZE)));
    let labels = widest(
        &mut counts.iter().flat_map(|c| [c.images, c.masks]).map(|n| (with_commas(n), COUNT_SIZE)),
    );
    let headings = widest(&mut groups.iter().map(|g| (heading(g), HEADING_SIZE)));
    let left = (MARGIN + names + 16.0).ceil();
    let width = (left + AXIS + 12.0 + labels + MARGIN).max(2.0 * MARGIN + headings);
    let height =
        TOP + groups.iter().map(|g| HEADING + ROW * g.1.len() as f32).sum::<f32>() + MARGIN;
    let most = counts.iter().map(|c| c.images.max(c.masks)).max().unwrap_or(1).max(10);
    let axis = Axis { left, decades: (most as f32).log10().ceil().max(1.0) };
    let mut shapes = Vec::new();
    axis.draw(&mut shapes, height - MARGIN);
    legend(&mut shapes, counts, left);
    let mut y = TOP;
    for group in &groups {
        let text = heading(group);
        let place = y + HEADING - HEADING_SIZE - 8.0;
        shapes.push(Shape::Text { x: MARGIN, y: place, text, size: HEADING_SIZE, colour: INK });
        y += HEADING;
        for dataset in &group.1 {
            row(&mut shapes, dataset, y, &axis);
            y += ROW;
        }
    }
    Ok(Figure { width: width.ceil() as u32, height: height.ceil() as u32, shapes })
}

/// Applications with their datasets, each by images, most first; equal ones by name.
fn by_application(counts: &[DatasetCount]) -> Vec<(&str, Vec<&DatasetCount>)> {
    let mut groups: BTreeMap<&str, Vec<&DatasetCount>> = BTreeMap::new();
    for count in counts {
        groups.entry(&count.application).or_default().push(count);
    }
    for list in groups.values_mut() {
        list.sort_by(|a, b| b.images.cmp(&a.images).then_with(|| a.name.cmp(&b.name)));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, list)| std::cmp::Reverse(list.iter().map(|c| c.images).sum::<u64>()));
    groups
}

/// `breast: 9 datasets, 7,000 images, 7,500 masks`.
fn heading((application, list): &(&str, Vec<&DatasetCount>)) -> String {
    let sum = |of: fn(&DatasetCount) -> u64| with_commas(list.iter().map(|c| of(c)).sum());
    format!(
        "{application}: {}, {} images, {} masks",
        counted(list.len(), "dataset"),
        sum(|c| c.images),
        sum(|c| c.masks)
    )
}

/// A logarithmic axis from 1.
struct Axis {
    left: f32,
    decades: f32,
}

impl Axis {
    fn length(&self, count: u64) -> f32 {
        match count {
            0 => 0.0,
            // One is at the origin, and is still seen.
            n => ((n as f32).log10() / self.decades * AXIS).max(3.0),
        }
    }

    fn draw(&self, shapes: &mut Vec<Shape>, bottom: f32) {
        for decade in 0..=self.decades as u32 {
            let x = self.left + decade as f32 / self.decades * AXIS;
            let height = bottom - TOP + 10.0;
            shapes.push(Shape::Bar { x, y: TOP - 10.0, width: 2.0, height, colour: GRID });
            let text = with_commas(10u64.pow(decade));
            let x = x - text_width(&text, COUNT_SIZE) / 2.0;
            let y = TOP - 16.0 - COUNT_SIZE;
            shapes.push(Shape::Text { x, y, text, size: COUNT_SIZE, colour: INK });
        }
    }
}

fn legend(shapes: &mut Vec<Shape>, counts: &[DatasetCount], left: f32) {
    let sums = [
        (counts.iter().map(|c| c.images).sum::<u64>(), "images", IMAGES),
        (counts.iter().map(|c| c.masks).sum::<u64>(), "masks", MASKS),
    ];
    let mut x = left;
    for (sum, what, colour) in sums {
        shapes.push(Shape::Bar { x, y: 44.0, width: 44.0, height: BAR, colour });
        let text = format!("{} {what}", with_commas(sum));
        let width = text_width(&text, NAME_SIZE);
        shapes.push(Shape::Text { x: x + 56.0, y: 38.0, text, size: NAME_SIZE, colour: INK });
        x += 56.0 + width + 50.0;
    }
}

fn row(shapes: &mut Vec<Shape>, dataset: &DatasetCount, y: f32, axis: &Axis) {
    let name = dataset.name.clone();
    let x = axis.left - 16.0 - text_width(&name, NAME_SIZE);
    let middle = y + BAR - NAME_SIZE / 2.0;
    shapes.push(Shape::Text { x, y: middle, text: name, size: NAME_SIZE, colour: INK });
    for (count, colour, y) in [(dataset.images, IMAGES, y), (dataset.masks, MASKS, y + BAR)] {
        let width = axis.length(count);
        let height = BAR - 1.0;
        shapes.push(Shape::Bar { x: axis.left, y, width, height, colour });
        let (x, y) = (axis.left + width + 8.0, y + (BAR - COUNT_SIZE) / 2.0);
        let text = with_commas(count);
        shapes.push(Shape::Text { x, y, text, size: COUNT_SIZE, colour: INK });
    }
}

impl Figure {
    /// An empty one, of so many pixels.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    /// Adds a filled rectangle.
    pub fn bar(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), colour: Rgb<u8>) {
        self.shapes.push(Shape::Bar { x, y, width, height, colour });
    }

    /// Adds a line of text with its top left corner at `(x, y)`, `size` pixels high.
    pub fn text(&mut self, (x, y): (f32, f32), text: &str, size: f32, colour: Rgb<u8>) {
        self.shapes.push(Shape::Text { x, y, text: text.to_owned(), size, colour });
    }

    /// The boxes (left, top, right, bottom) of all texts, for tests of what covers what.
    #[must_use]
    pub fn text_boxes(&self) -> Vec<([f32; 4], &str)> {
        let mut boxes = Vec::new();
        for shape in &self.shapes {
            if let Shape::Text { x, y, text, size, .. } = shape {
                // Ascent and descent leave room above and below the digits.
                let (top, bottom) = (y + 0.15 * size, y + 0.85 * size);
                boxes.push(([*x, top, x + text_width(text, *size), bottom], text.as_str()));
            }
        }
        boxes
    }

    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The picture, on white.
    #[must_use]
    pub fn to_image(&self) -> RgbImage {
        let mut picture = RgbImage::from_pixel(self.width, self.height, Rgb([255; 3]));
        for shape in &self.shapes {
            match shape {
                &Shape::Bar { x, y, width, height, colour } => {
                    let end = |at: f32, most: u32| (at.round().max(0.0) as u32).min(most);
                    for y in end(y, self.height)..end(y + height, self.height) {
                        for x in end(x, self.width)..end(x + width, self.width) {
                            picture.put_pixel(x, y, colour);
                        }
                    }
                }
                Shape::Text { x, y, text, size, colour } => {
                    let corner = (x.round() as i32, y.round() as i32);
                    draw_text(&mut picture, corner, text, *size, *colour);
                }
            }
        }
        picture
    }

    /// Writes the picture as PNG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let picture = self.to_image();
        atomic_write_with(path, |out| {
            let (width, height) = picture.dimensions();
            let colour = image::ExtendedColorType::Rgb8;
            PngEncoder::new(out)
                .write_image(picture.as_raw(), width, height, colour)
                .map_err(std::io::Error::other)
        })
        .with_context(|| format!("the figure {}", path.display()))
    }

    /// The figure as SVG; texts are as wide as in the picture, whatever the typeface.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"Hack, monospace\">\n<rect width=\"{width}\" height=\"{height}\" \
             fill=\"#fff\"/>\n"
        );
        let hex = |Rgb([r, g, b]): &Rgb<u8>| format!("#{r:02x}{g:02x}{b:02x}");
        for shape in &self.shapes {
            let _ = match shape {
                Shape::Bar { x, y, width, height, colour } => writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                     fill=\"{}\"/>",
                    hex(colour)
                ),
                Shape::Text { x, y, text, size, colour } => writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{:.1}\" textLength=\"{:.1}\" \
                     lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\">{}</text>",
                    y + 0.8 * size,
                    0.86 * size,
                    text_width(text, *size),
                    hex(colour),
                    escaped(text)
                ),
            };
        }
        svg + "</svg>\n"
    }

    /// Writes the figure as SVG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_svg(&self, path: &Path) -> Result<()> {
        atomic_write(path, self.to_svg().as_bytes())
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, application: &str, images: u64, masks: u64) -> DatasetCount {
        DatasetCount { name: name.into(), application: application.into(), images, masks }
    }

    /// As many datasets as US-43d, with names as long as its longest.
    fn many() -> Vec<DatasetCount> {
        let names = ["BUSI", "Common Carotid Artery Ultrasound Images", "TN3K", "MUP"];
        let application = |i: usize| ["breast", "thyroid", "heart", "fetus", "prostate"][i % 5];
        (0..43)
            .map(|i| {
                let images = 3u64.pow(i as u32 % 10) * (1 + i as u64);
                count(names[i % 4], application(i), images, images / 2 * (i as u64 % 4))
            })
            .collect()
    }

    #[test]
    fn every_text_is_inside_and_none_covers_another() {
        let figure = draw(&many()).unwrap();
        let boxes = figure.text_boxes();
        for (i, ([left, top, right, bottom], text)) in boxes.iter().enumerate() {
            assert!(*left >= 0.0 && *top >= 0.0, "{text}");
            assert!(*right <= figure.width as f32 && *bottom <= figure.height as f32, "{text}");
            for ([l, t, r, b], other) in &boxes[..i] {
                let apart = right <= l || r <= left || bottom <= t || b <= top;
                assert!(apart, "`{text}` covers `{other}`");
            }
        }
        assert!(boxes.len() > 3 * 43);
    }

    #[test]
    fn bars_are_logarithmic_and_applications_by_size() {
        let counts = [
            count("a", "small", 10, 0),
            count("b", "large", 100, 1000),
            count("c", "large", 1000, 1),
        ];
        let figure = draw(&counts).unwrap();
        let widths = |wanted: Rgb<u8>| -> Vec<f32> {
            let bars = figure.shapes.iter().filter_map(|shape| match shape {
                Shape::Bar { width, colour, .. } if *colour == wanted => Some(*width),
                _ => None,
            });
            // The first is the legend's.
            bars.skip(1).collect()
        };
        // Three decades; c, b, a from top to bottom.
        let third = AXIS / 3.0;
        for (width, expected) in widths(IMAGES).iter().zip([3.0 * third, 2.0 * third, third]) {
            assert!((width - expected).abs() < 0.01, "{width} {expected}");
        }
        assert_eq!(widths(MASKS), [3.0, AXIS, 0.0]);
        let svg = figure.to_svg();
        assert!(svg.contains(">large: 2 datasets, 1,100 images, 1,001 masks</text>"), "{svg}");
        assert!(draw(&[]).is_err());
    }

    #[test]
    fn the_png_is_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figure.png");
        let figure = draw(&many()).unwrap();
        figure.write_png(&path).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), figure.to_image());
        if let Some(kept) = std::env::var_os("SONOTUNE_KEEP_FIGURE") {
            std::fs::copy(&path, kept).unwrap();
        }
    }
}
