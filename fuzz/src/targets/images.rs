//! Images, of whatever format.

use std::path::Path;

use sonotune_base::{
    ErrorKind,
    image_io::{DecodeOptions, decode_bytes, decode_file, read_size},
};

use super::{accepted, scratch};

/// Far below the default, so that what a header claims beyond it shows in the memory taken.
const OPTIONS: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 18 };

pub fn images(bytes: &[u8]) {
    let path = scratch::file("hostile.img", bytes);
    let size = accepted(read_size(&path, OPTIONS), ErrorKind::Data, "hostile.img");
    let Some(image) = accepted(decode_file(&path, OPTIONS), ErrorKind::Data, "hostile.img") else {
        return;
    };
    assert_eq!(size, Some((image.height, image.width)));
    let pixels = u64::from(image.height) * u64::from(image.width);
    assert!(pixels > 0 && pixels <= OPTIONS.max_pixels);
    assert_eq!(image.pixels.len() as u64, pixels * image.channels as u64);
    let _ = image.into_grey_if_equal();
    if let Some(png) = sonotune_curation::png::verbatim(bytes) {
        let again = decode_bytes(&png, OPTIONS).expect("the pixels' part of a PNG");
        let plain = DecodeOptions { exif: false, ..OPTIONS };
        assert_eq!(Some(again), decode_file(Path::new(&path), plain).ok());
    }
}
