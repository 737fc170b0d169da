//! Small pictures of a file before and after, for a person to compare.

use base64::{Engine, prelude::BASE64_STANDARD};
use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops};
use sonotune_formats::Pixels;

use super::regions::Rect;

/// Wide enough to read text of the size that machines use.
const WIDTH: u32 = 640;
const QUALITY: u8 = 75;
/// Occurs in no scale of grey and hardly in Doppler colours.
const OUTLINE: Rgb<u8> = Rgb([255, 0, 255]);

/// A picture within the page.
#[derive(Debug, Clone)]
pub(crate) struct Small {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// A JPEG in base64.
    pub(crate) jpeg: String,
}

/// `frame`, at most 640 pixels wide, with an outline around each region that stays. `None` if the pixels do not
/// make a picture.
pub(crate) fn small(frame: &Pixels, keep: &[Rect]) -> Option<Small> {
    let mut picture = rgb(frame)?;
    let scale = f64::from(WIDTH.min(frame.width)) / f64::from(frame.width);
    if scale < 1.0 {
        let height = (f64::from(frame.height) * scale).round().max(1.0) as u32;
        picture = imageops::thumbnail(&picture, WIDTH, height);
    }
    for rect in keep {
        outline(&mut picture, *rect, scale);
    }
    let mut jpeg = vec![];
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&picture).ok()?;
    let (width, height) = picture.dimensions();
    Some(Small { width, height, jpeg: BASE64_STANDARD.encode(jpeg) })
}

fn rgb(frame: &Pixels) -> Option<RgbImage> {
    let data = match frame.channels {
        1 => frame.data.iter().flat_map(|grey| [*grey; 3]).collect(),
        3 => frame.data.clone(),
        _ => return None,
    };
    RgbImage::from_raw(frame.width, frame.height, data)
}

/// Draws on the region's outermost pixels.
fn outline(picture: &mut RgbImage, rect: Rect, scale: f64) {
    let (width, height) = picture.dimensions();
    let place = |at: u32, most: u32| ((f64::from(at) * scale) as u32).min(most.saturating_sub(1));
    let (left, top) = (place(rect.x, width), place(rect.y, height));
    let right = place(rect.x.saturating_add(rect.width - 1), width);
    let bottom = place(rect.y.saturating_add(rect.height - 1), height);
    for x in left..=right {
        picture.put_pixel(x, top, OUTLINE);
        picture.put_pixel(x, bottom, OUTLINE);
    }
    for y in top..=bottom {
        picture.put_pixel(left, y, OUTLINE);
        picture.put_pixel(right, y, OUTLINE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_frame_becomes_small_and_keeps_its_shape() {
        let frame = Pixels { height: 600, width: 1280, channels: 1, data: vec![7; 600 * 1280] };
        let keep = [Rect { x: 0, y: 0, width: 1280, height: 600 }];
        let small = small(&frame, &keep).unwrap();
        assert_eq!((small.width, small.height), (640, 300));
        assert!(small.jpeg.starts_with("/9j/"));
    }

    #[test]
    fn the_outline_is_on_the_edge_of_the_region() {
        let mut picture = RgbImage::new(10, 8);
        outline(&mut picture, Rect { x: 2, y: 3, width: 4, height: 3 }, 1.0);
        let drawn: Vec<_> = picture.enumerate_pixels().filter(|(.., p)| **p == OUTLINE).collect();
        assert_eq!(drawn.len(), 4 + 4 + 2);
        assert!(drawn.iter().all(|(x, y, _)| (2..6).contains(x) && (3..6).contains(y)));
        outline(&mut picture, Rect { x: 8, y: 7, width: 90, height: 90 }, 1.0);
    }

    #[test]
    fn pixels_that_are_no_picture_are_left_out() {
        let frame = Pixels { height: 2, width: 2, channels: 3, data: vec![0; 5] };
        assert!(small(&frame, &[]).is_none());
    }
}
