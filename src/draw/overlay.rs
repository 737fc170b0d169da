//! Objects drawn on a picture of their image, with their prompts and names.

use image::{Rgb, RgbImage};
use sonotune_base::Rle;

use crate::{
    boxes::draw_box,
    colour::{RIGHT, WRONG},
    masks::draw_mask,
    points::draw_point,
    tag::draw_tag,
};

/// Objects of one image.
#[derive(Debug, Clone)]
pub struct Overlay<'a> {
    /// `(height, width)` of the image in original pixels.
    pub original_size: (i64, i64),
    /// From the bottom to the top: the last one covers all others.
    pub objects: Vec<Object<'a>>,
}

/// An object to be drawn.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    /// XYXY, original pixels; drawn if there is no mask.
    pub bbox: [f64; 4],
    /// Tinted and outlined.
    pub mask: Option<&'a Rle>,
    /// The prompts that asked for the object.
    pub prompt: Option<Prompt>,
    /// Written on a tag at the box.
    pub label: String,
    /// Colour of all of it.
    pub colour: Rgb<u8>,
}

/// Points and a box given by a user.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// `(x, y)` in original pixels, whole numbers at the centres of pixels, and whether the point is
    /// on the object (green) or off it (red).
    pub points: Vec<((f64, f64), bool)>,
    /// XYXY, original pixels.
    pub bbox: Option<[f64; 4]>,
}

impl Overlay<'_> {
    /// Draws masks (or boxes), then prompts, then labels on `image`, a picture of the image at any
    /// scale.
    pub fn draw(&self, image: &mut RgbImage) {
        let scale = Scale::new(image, self.original_size);
        let longest = image.width().max(image.height());
        for object in &self.objects {
            match object.mask {
                Some(mask) => draw_mask(image, mask, object.colour),
                None => {
                    let stroke = (longest / 300).max(1);
                    draw_box(image, scale.bbox(object.bbox), stroke, object.colour);
                }
            }
        }
        for object in &self.objects {
            if let Some(prompt) = &object.prompt {
                prompt.draw(image, scale, object.colour);
            }
        }
        // Labels on each of hundreds of objects would hide them.
        const LABELS: usize = 40;
        for object in self.objects.iter().skip(self.objects.len().saturating_sub(LABELS)) {
            draw_tag(image, scale.bbox(object.bbox), &object.label, object.colour);
        }
    }
}

impl Prompt {
    fn draw(&self, image: &mut RgbImage, scale: Scale, colour: Rgb<u8>) {
        if let Some(bbox) = self.bbox {
            let stroke = (image.width().max(image.height()) / 400).max(1);
            draw_box(image, scale.bbox(bbox), stroke, colour);
        }
        for &(point, on_object) in &self.points {
            draw_point(image, scale.centre(point), if on_object { RIGHT } else { WRONG });
        }
    }
}

/// Pixels of the picture per original pixel.
#[derive(Debug, Clone, Copy)]
struct Scale {
    x: f64,
    y: f64,
}

impl Scale {
    fn new(picture: &RgbImage, (height, width): (i64, i64)) -> Self {
        let per = |side: u32, original: i64| f64::from(side) / original.max(1) as f64;
        Self { x: per(picture.width(), width), y: per(picture.height(), height) }
    }

    fn bbox(self, [x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
        [x0 * self.x, y0 * self.y, x1 * self.x, y1 * self.y]
    }

    fn centre(self, (x, y): (f64, f64)) -> (f64, f64) {
        ((x + 0.5) * self.x, (y + 0.5) * self.y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::WHITE;

    fn object(bbox: [f64; 4], colour: Rgb<u8>) -> Object<'static> {
        Object { bbox, mask: None, prompt: None, label: String::new(), colour }
    }

    #[test]
    fn points_are_discs_where_they_point() {
        let mut image = RgbImage::new(80, 40);
        let points = vec![((5.0, 5.0), true), ((15.0, 5.0), false), ((f64::NAN, 1e9), true)];
        let prompt = Prompt { points, bbox: Some([0.0, 0.0, 20.0, 10.0]) };
        // The picture has four times the pixels of the image on each axis.
        let draw = |image: &mut RgbImage, original_size| {
            let scale = Scale::new(image, original_size);
            prompt.draw(image, scale, Rgb([1, 2, 3]));
        };
        draw(&mut image, (10, 20));
        assert_eq!(image.get_pixel(22, 22), &RIGHT);
        assert_eq!(image.get_pixel(62, 22), &WRONG);
        assert_eq!(image.get_pixel(22, 24), &WHITE);
        assert_eq!(image.get_pixel(22, 30), &Rgb([0; 3]));
        assert_eq!(image.get_pixel(0, 39), &Rgb([1, 2, 3]));
        draw(&mut RgbImage::new(0, 0), (0, 0));
    }

    #[test]
    fn later_objects_cover_earlier_ones_and_masks_take_the_place_of_boxes() {
        let (red, blue) = (Rgb([255, 0, 0]), Rgb([0, 0, 255]));
        // Columns 20 and 21 of an image half as large as the picture.
        let mask = Rle { height: 50, width: 100, counts: vec![1000, 100, 3900] };
        let mut masked = object([20.0, 0.0, 22.0, 50.0], blue);
        masked.mask = Some(&mask);
        let under = object([10.0, 30.0, 60.0, 45.0], red);
        let mut image = RgbImage::new(200, 100);
        let objects = vec![under.clone(), masked.clone()];
        Overlay { original_size: (50, 100), objects }.draw(&mut image);
        assert_eq!(image.get_pixel(40, 60), &blue);
        assert_eq!((image.get_pixel(30, 60), image.get_pixel(119, 89)), (&red, &red));
        let mut image = RgbImage::new(200, 100);
        Overlay { original_size: (50, 100), objects: vec![masked, under] }.draw(&mut image);
        assert_eq!(image.get_pixel(40, 60), &red);
    }

    #[test]
    fn only_the_topmost_objects_have_labels() {
        let colour = |i: u8| Rgb([100, 100, i]);
        let labelled = |i: u8| {
            let at = f64::from(i) * 20.0;
            Object { label: "██".to_owned(), ..object([at, 50.0, at + 4.0, 54.0], colour(i)) }
        };
        let mut image = RgbImage::new(1000, 100);
        let objects = (0..42).map(labelled).collect();
        Overlay { original_size: (100, 1000), objects }.draw(&mut image);
        let above = |i: u8| (0..50).any(|y| image.get_pixel(u32::from(i) * 20, y) == &colour(i));
        assert!(!above(0) && !above(1) && above(2) && above(41));
    }
}
