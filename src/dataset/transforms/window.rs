//! The part of a resized image that is kept.

use std::ops::Range;

use super::Planes;
use sonotune_base::image_io::Image;

/// The size an image is resized to, and the part of it that is kept. Nothing outside is computed;
/// values inside are the same as without cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    resized: (u32, u32),
    offset: (u32, u32),
    size: (u32, u32),
}

impl Window {
    /// The whole of an image of size `resized`, `(height, width)`.
    #[must_use]
    pub fn whole(resized: (u32, u32)) -> Self {
        Self { resized, offset: (0, 0), size: resized }
    }

    /// A part of `size` of an image of size `resized`, starting at `offset`, `(y, x)` of its top left
    /// pixel; moved and cut to fit if it reaches beyond the image.
    #[must_use]
    pub fn new(resized: (u32, u32), offset: (u32, u32), size: (u32, u32)) -> Self {
        let size = (size.0.min(resized.0), size.1.min(resized.1));
        let offset = (offset.0.min(resized.0 - size.0), offset.1.min(resized.1 - size.1));
        Self { resized, offset, size }
    }

    /// `(height, width)` of the whole image, resized.
    #[must_use]
    pub fn resized(&self) -> (u32, u32) {
        self.resized
    }

    /// `(y, x)` of the top left pixel that is kept.
    #[must_use]
    pub fn offset(&self) -> (u32, u32) {
        self.offset
    }

    /// `(height, width)` of what is kept.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Whether nothing is cut off.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.size == self.resized
    }

    pub(super) fn rows(&self) -> Range<usize> {
        self.offset.0 as usize..(self.offset.0 + self.size.0) as usize
    }

    pub(super) fn columns(&self) -> Range<usize> {
        self.offset.1 as usize..(self.offset.1 + self.size.1) as usize
    }
}

/// The part of an image that needs no resizing.
pub(super) fn crop(image: Image, window: &Window) -> Image {
    if window.is_whole() {
        return image;
    }
    let Image { channels, width, .. } = image;
    let columns = window.columns();
    let mut pixels = Vec::with_capacity(window.rows().len() * columns.len() * channels);
    for y in window.rows() {
        let row = &image.pixels[y * width as usize * channels..][..width as usize * channels];
        pixels.extend_from_slice(&row[columns.start * channels..columns.end * channels]);
    }
    let (height, width) = window.size;
    Image { height, width, pixels, ..image }
}

/// The part of planes of the window's whole size.
pub(super) fn crop_planes(planes: Planes<u8>, window: &Window) -> Planes<u8> {
    if window.is_whole() {
        return planes;
    }
    let (rows, columns) = (window.rows(), window.columns());
    let mut data = Vec::with_capacity(planes.channels * rows.len() * columns.len());
    for plane in planes.data.chunks_exact(planes.height * planes.width) {
        for row in plane.chunks_exact(planes.width).take(rows.end).skip(rows.start) {
            data.extend_from_slice(&row[columns.clone()]);
        }
    }
    Planes { channels: planes.channels, height: rows.len(), width: columns.len(), data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_never_leaves_its_image() {
        let window = Window::new((10, 20), (4, 18), (7, 5));
        assert_eq!((window.offset(), window.size()), ((3, 15), (7, 5)));
        assert!(Window::new((10, 20), (4, 18), (99, 99)).is_whole());
    }

    #[test]
    fn pixels_and_planes_are_cut_alike() {
        let window = Window::new((3, 4), (1, 2), (2, 2));
        let pixels: Vec<u8> = (0..12).flat_map(|i| [i, i + 20, i + 40]).collect();
        let image = Image {
            height: 3,
            width: 4,
            channels: 3,
            pixels,
            transposed: false,
            stored: Default::default(),
        };
        let cut = crop(image, &window);
        assert_eq!(cut.pixels, [6, 26, 46, 7, 27, 47, 10, 30, 50, 11, 31, 51]);
        let data: Vec<u8> = (0..24).collect();
        let cut = crop_planes(Planes { channels: 2, height: 3, width: 4, data }, &window);
        assert_eq!(cut.data, [6, 7, 10, 11, 18, 19, 22, 23]);
        assert_eq!((cut.height, cut.width), (2, 2));
    }
}
