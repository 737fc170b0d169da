//! Figures: bars and texts, as a picture or as SVG.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result};
use image::{Rgb, RgbImage};
use sonotune_base::fs::atomic_write;

use crate::{
    boxes::fill,
    colour::WHITE,
    png::write_png,
    text::{draw_text, text_width},
};

/// A figure in pixels, on white. What is added later covers what was added before.
#[derive(Debug, Clone)]
pub struct Figure {
    height: u32,
    width: u32,
    shapes: Vec<Shape>,
}

#[derive(Debug, Clone)]
enum Shape {
    Bar {
        area: Rect,
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

/// A rectangle of a figure, pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// From the left to the right edge.
    pub width: f32,
    /// From the top to the bottom edge.
    pub height: f32,
}

impl Rect {
    /// The y of the bottom edge.
    #[must_use]
    pub fn bottom(self) -> f32 {
        self.y + self.height
    }
}

impl Figure {
    /// An empty figure of `(height, width)` pixels.
    #[must_use]
    pub fn new((height, width): (u32, u32)) -> Self {
        Self { height, width, shapes: Vec::new() }
    }

    /// Adds a filled rectangle; a picture rounds its edges to whole pixels.
    pub fn bar(&mut self, area: Rect, colour: Rgb<u8>) {
        self.shapes.push(Shape::Bar { area, colour });
    }

    /// Adds a line of text, `size` pixels high, with its top left corner at `(x, y)`.
    pub fn text(&mut self, (x, y): (f32, f32), text: &str, size: f32, colour: Rgb<u8>) {
        self.shapes.push(Shape::Text { x, y, text: text.to_owned(), size, colour });
    }

    /// Adds a line of text, `size` pixels high, with the middle of its top edge at `(x, y)`.
    pub fn centred_text(&mut self, (x, y): (f32, f32), text: &str, size: f32, colour: Rgb<u8>) {
        self.text((x - text_width(text, size) / 2.0, y), text, size, colour);
    }

    /// Adds a line of text, `size` pixels high, with its top right corner at `(x, y)`.
    pub fn right_text(&mut self, (x, y): (f32, f32), text: &str, size: f32, colour: Rgb<u8>) {
        self.text((x - text_width(text, size), y), text, size, colour);
    }

    /// `(height, width)` in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.height, self.width)
    }

    /// All filled rectangles with their colours, in the order in which they were added.
    pub fn bars(&self) -> impl Iterator<Item = (Rect, Rgb<u8>)> {
        self.shapes.iter().filter_map(|shape| match shape {
            &Shape::Bar { area, colour } => Some((area, colour)),
            Shape::Text { .. } => None,
        })
    }

    /// Checks that every text is inside the figure and that no text covers another.
    ///
    /// # Errors
    /// Names the first text that fails.
    pub fn check_legible(&self) -> Result<(), String> {
        let boxes = self.text_boxes();
        let (width, height) = (self.width as f32, self.height as f32);
        for (i, &([left, top, right, bottom], text)) in boxes.iter().enumerate() {
            if left < 0.0 || top < 0.0 || right > width || bottom > height {
                return Err(format!("`{text}` is not inside the figure"));
            }
            for &([l, t, r, b], other) in &boxes[..i] {
                let apart = right <= l || r <= left || bottom <= t || b <= top;
                if !apart {
                    return Err(format!("`{text}` covers `{other}`"));
                }
            }
        }
        Ok(())
    }

    /// All texts with their boxes: XYXY in pixels, without the room that ascent and descent leave
    /// above and below digits.
    fn text_boxes(&self) -> Vec<([f32; 4], &str)> {
        let shapes = self.shapes.iter();
        shapes
            .filter_map(|shape| match shape {
                Shape::Text { x, y, text, size, .. } => {
                    let (right, bottom) = (x + text_width(text, *size), y + 0.85 * size);
                    Some(([*x, y + 0.15 * size, right, bottom], text.as_str()))
                }
                Shape::Bar { .. } => None,
            })
            .collect()
    }

    /// The figure as a picture.
    #[must_use]
    pub fn to_image(&self) -> RgbImage {
        let mut picture = RgbImage::from_pixel(self.width, self.height, WHITE);
        for shape in &self.shapes {
            match shape {
                &Shape::Bar { area, colour } => {
                    let Rect { x, y, width, height } = area;
                    let edges = [x, y, x + width, y + height].map(|edge| edge.round() as i64);
                    fill(&mut picture, edges, colour);
                }
                Shape::Text { x, y, text, size, colour } => {
                    let corner = (x.round() as i32, y.round() as i32);
                    draw_text(&mut picture, corner, text, *size, *colour);
                }
            }
        }
        picture
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
                Shape::Bar { area: Rect { x, y, width, height }, colour } => writeln!(
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

    /// Writes the figure to `path` as PNG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        write_png(path, &self.to_image()).with_context(|| format!("the figure {}", path.display()))
    }

    /// Writes the figure to `path` as SVG.
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

    const RED: Rgb<u8> = Rgb([255, 0, 0]);

    fn figure() -> Figure {
        let mut figure = Figure::new((40, 120));
        figure.bar(Rect { x: 1.6, y: -3.0, width: 2.0, height: 5.4 }, RED);
        figure.text((10.0, 4.0), "a<b & c", 12.0, RED);
        figure
    }

    #[test]
    fn bars_end_at_whole_pixels() {
        let picture = figure().to_image();
        assert_eq!(picture.dimensions(), (120, 40));
        let red: Vec<_> = picture
            .enumerate_pixels()
            .filter(|p| p.2 == &RED && p.0 < 10)
            .map(|p| (p.0, p.1))
            .collect();
        assert_eq!(red, [(2, 0), (3, 0), (2, 1), (3, 1)]);
        let mut odd = figure();
        for v in [f32::NAN, f32::INFINITY, -1e30] {
            odd.bar(Rect { x: v, y: v, width: v, height: v }, RED);
            odd.text((v, v), "odd", 12.0, RED);
        }
        let _ = odd.to_image();
    }

    #[test]
    fn an_illegible_figure_is_found() {
        let mut figure = figure();
        figure.right_text((118.0, 4.0), "end", 12.0, RED);
        figure.centred_text((60.0, 20.0), "middle", 12.0, RED);
        figure.check_legible().unwrap();
        let mut outside = figure.clone();
        outside.text((100.0, 28.0), "too long", 12.0, RED);
        assert!(outside.check_legible().unwrap_err().contains("`too long` is not inside"));
        figure.text((20.0, 6.0), "d", 12.0, RED);
        assert_eq!(figure.check_legible().unwrap_err(), "`d` covers `a<b & c`");
    }

    #[test]
    fn files_hold_the_picture_and_the_svg() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        figure().write_png(&path("figure.png")).unwrap();
        let written = image::open(path("figure.png")).unwrap().to_rgb8();
        assert_eq!(written, figure().to_image());
        figure().write_svg(&path("figure.svg")).unwrap();
        let svg = std::fs::read_to_string(path("figure.svg")).unwrap();
        assert!(svg.contains("fill=\"#ff0000\">a&lt;b &amp; c</text>"), "{svg}");
        let error = figure().write_png(&path("absent/figure.png")).unwrap_err();
        assert!(format!("{error:#}").contains("figure.png"), "{error:#}");
    }
}
