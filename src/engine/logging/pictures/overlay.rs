//! Objects drawn on an image.

use image::{Rgb, RgbImage};

use super::{
    INK, category_colour,
    prompts::draw_prompt,
    text::{blend, draw_text, text_width},
};
use crate::{
    data::{Category, ObjectPrompt, Rle},
    task::{Instance, Prediction},
};

/// Opacity of a mask's inside: the texture below stays visible.
const MASK_ALPHA: f32 = 0.35;

/// A prediction to be drawn.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    pub prediction: &'a Prediction,
    /// Those that the instances answer, if any: drawn too, and their names written.
    pub prompts: &'a [ObjectPrompt],
    pub categories: &'a [Category],
}

impl Overlay<'_> {
    /// Draws masks (boxes where there are none), prompts and labels on an image of any scale of the
    /// original; the highest score comes on top.
    pub fn draw(&self, image: &mut RgbImage) {
        let Prediction { instances, original_size, .. } = self.prediction;
        let (width, height) = image.dimensions();
        let scale_x = f64::from(width) / original_size.1.max(1) as f64;
        let scale_y = f64::from(height) / original_size.0.max(1) as f64;
        let stroke = (width.max(height) / 300).max(1);
        let mut order: Vec<_> = (0..instances.len()).rev().collect();
        order.sort_by(|&a, &b| instances[a].score.total_cmp(&instances[b].score));
        let scaled = |instance: &Instance| {
            let [x0, y0, x1, y1] = instance.bbox;
            [x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y]
        };
        for &i in &order {
            match &instances[i].mask {
                Some(mask) => draw_mask(image, mask, self.colour(i)),
                None => draw_box(image, scaled(&instances[i]), stroke, self.colour(i)),
            }
        }
        for &i in &order {
            if let Some(prompt) = self.prompt(&instances[i]) {
                draw_prompt(image, prompt, *original_size, self.colour(i));
            }
        }
        // A label on each of hundreds of objects would hide them.
        const LABELS: usize = 40;
        for &i in order.iter().skip(order.len().saturating_sub(LABELS)) {
            draw_label(image, scaled(&instances[i]), &self.label(&instances[i]), self.colour(i));
        }
    }

    fn prompt(&self, instance: &Instance) -> Option<&ObjectPrompt> {
        self.prompts.get(instance.answers?.object)
    }

    /// By category, where that tells objects apart.
    fn colour(&self, index: usize) -> Rgb<u8> {
        let instance = &self.prediction.instances[index];
        match (instance.answers, self.categories) {
            (Some(answer), _) => category_colour(answer.object),
            (None, [_]) => category_colour(index),
            (None, _) => category_colour(instance.category),
        }
    }

    fn label(&self, instance: &Instance) -> String {
        let category = || self.categories.get(instance.category).map_or("?", |c| c.name.as_str());
        let name = self.prompt(instance).and_then(|prompt| prompt.name.as_deref());
        format!("{} {:.2}", name.unwrap_or_else(category), instance.score)
    }
}

/// Outlines a box: XYXY in the image's pixels, `stroke` pixels wide, inwards.
pub fn draw_box(image: &mut RgbImage, xyxy: [f64; 4], stroke: u32, colour: Rgb<u8>) {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return;
    }
    let [x0, y0, x1, y1] = xyxy;
    let pixel = |value: f64, limit: u32| (value.max(0.0) as u32).min(limit - 1);
    // A box ends where its last pixel ends.
    let (left, right) = (pixel(x0, width), pixel((x1 - 1.0).ceil(), width));
    let (top, bottom) = (pixel(y0, height), pixel((y1 - 1.0).ceil(), height));
    for y in top..=bottom {
        for x in left..=right {
            let inside = [x - left, right - x, y - top, bottom - y];
            if inside.iter().any(|&distance| distance < stroke) {
                image.put_pixel(x, y, colour);
            }
        }
    }
}

/// Tints a mask, of any scale of the image, and outlines it.
pub fn draw_mask(image: &mut RgbImage, mask: &Rle, colour: Rgb<u8>) {
    paint(image, mask, colour, MASK_ALPHA);
}

/// Outlines a mask of any scale of the image.
pub fn draw_outline(image: &mut RgbImage, mask: &Rle, colour: Rgb<u8>) {
    paint(image, mask, colour, 0.0);
}

fn paint(image: &mut RgbImage, mask: &Rle, colour: Rgb<u8>, alpha: f32) {
    let (width, height) = image.dimensions();
    if mask.width == 0 || mask.height == 0 {
        return;
    }
    let bits = mask.to_mask();
    let set = |x: u32, y: u32| {
        let scaled =
            |v: u32, of: u32, to: u32| (u64::from(v) * u64::from(to) / u64::from(of)) as usize;
        let (x, y) = (scaled(x, width, mask.width), scaled(y, height, mask.height));
        bits.get(y * mask.width as usize + x) == Some(&1)
    };
    // Of a thousand small masks nobody wants to look at all pixels of the image.
    let [left, top, across, down] = mask.bbox();
    let span = |from: f64, length: f64, of: u32, to: u32| {
        let scale = f64::from(to) / f64::from(of);
        let end = ((from + length) * scale).ceil() + 1.0;
        ((from * scale).floor() as u32).saturating_sub(1)..(end as u32).min(to)
    };
    for y in span(top, down, mask.height, height) {
        for x in span(left, across, mask.width, width) {
            if !set(x, y) {
                continue;
            }
            let inner = x > 0
                && y > 0
                && x + 1 < width
                && y + 1 < height
                && set(x - 1, y)
                && set(x + 1, y)
                && set(x, y - 1)
                && set(x, y + 1);
            let pixel = image.get_pixel_mut(x, y);
            *pixel = if inner { blend(*pixel, colour, alpha) } else { colour };
        }
    }
}

/// A tag above the box, or inside where there is no room above.
fn draw_label(image: &mut RgbImage, xyxy: [f64; 4], text: &str, colour: Rgb<u8>) {
    let size = (image.width() as f32 / 36.0).clamp(11.0, 24.0);
    let (tag_width, tag_height) = (text_width(text, size).ceil() as i64 + 4, size.ceil() as i64);
    let left = (xyxy[0] as i64).clamp(0, (i64::from(image.width()) - tag_width).max(0));
    let above = xyxy[1] as i64 - tag_height;
    let top = if above >= 0 { above } else { xyxy[1].max(0.0) as i64 };
    for y in top..top + tag_height {
        for x in left..left + tag_width {
            if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
                && let Some(pixel) = image.get_pixel_mut_checked(x, y)
            {
                *pixel = colour;
            }
        }
    }
    draw_text(image, (left as i32 + 2, top as i32), text, size, INK);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb<u8> = Rgb([255, 0, 0]);
    const BLACK: Rgb<u8> = Rgb([0; 3]);

    #[test]
    fn a_box_covers_its_border_pixels() {
        let mut image = RgbImage::new(10, 10);
        draw_box(&mut image, [2.0, 3.0, 6.0, 8.0], 1, RED);
        let drawn = |x, y| image.get_pixel(x, y) == &RED;
        assert!(drawn(2, 3) && drawn(5, 3) && drawn(2, 7) && drawn(5, 7) && drawn(2, 5));
        assert!(!drawn(3, 5) && !drawn(6, 5) && !drawn(4, 8) && !drawn(1, 3));
        // Outside, reversed, not finite: cut, never a panic.
        for odd in [[-5.0, -5.0, 99.0, 99.0], [8.0, 8.0, 2.0, 2.0], [f64::NAN; 4]] {
            draw_box(&mut image, odd, 3, RED);
        }
        draw_box(&mut RgbImage::new(0, 0), [0.0, 0.0, 1.0, 1.0], 1, RED);
    }

    #[test]
    fn a_mask_is_tinted_inside_and_outlined_at_any_scale() {
        // Columns 1 to 3 of a 4×5 mask, whole.
        let mask = Rle { height: 4, width: 5, counts: vec![4, 12, 4] };
        let mut image = RgbImage::new(10, 8);
        draw_mask(&mut image, &mask, RED);
        assert_eq!(image.get_pixel(1, 4), &BLACK);
        assert_eq!(image.get_pixel(2, 4), &RED);
        assert_eq!(image.get_pixel(4, 4), &Rgb([89, 0, 0]));
        assert_eq!(image.get_pixel(4, 0), &RED);
        assert_eq!(image.get_pixel(8, 4), &BLACK);
        // Runs that do not fit the size.
        draw_mask(&mut image, &Rle { height: 4, width: 5, counts: vec![0, 99] }, RED);
        draw_mask(&mut image, &Rle { height: 0, width: 0, counts: vec![1] }, RED);
    }
}
