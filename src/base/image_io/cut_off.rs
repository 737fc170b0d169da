//! Finds what is wrong with an image file by its header and its length, as far as they tell.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Result, ensure};
use image::{ImageDecoder, ImageFormat, ImageReader};

use super::{
    DecodeOptions, cannot_read, decode_file, read_turned, source, swaps_sides, turned_size,
    without_panic,
};
use crate::Error;

/// `(height, width)` of the file at `path`, and whether EXIF rotates it by 90°, if its header is that
/// of an image within the limits and the file is as long as its parts say. Reads little of a PNG or
/// WebP file.
///
/// # Errors
/// Same errors as [`decode_file`]. Pixels are not looked at: a file that passes
/// may still be damaged.
pub fn check_header(path: &Path, options: DecodeOptions) -> Result<((u32, u32), bool)> {
    let failed = |e| cannot_read(path, e);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut start = [0; 16];
    let known = (&mut file).take(16).read(&mut start).map_err(failed)?;
    let format = match source::format(&start[..known]) {
        Some(format @ (ImageFormat::Png | ImageFormat::WebP)) => format,
        // Where their pixels end, only the decoder works out; they are rare, and quickly decoded.
        Some(ImageFormat::Bmp | ImageFormat::Tiff) => {
            let image = decode_file(path, options)?;
            return Ok(((image.height, image.width), image.transposed));
        }
        // The header of a JPEG does not tell its end; reading says more about other files.
        _ => return read_turned(path, options),
    };
    without_panic(|| {
        file.rewind()?;
        let mut reader = ImageReader::with_format(BufReader::new(&file), format);
        reader.limits(source::limits(options));
        let mut decoder = reader.into_decoder()?;
        source::check_pixels(decoder.dimensions(), options)?;
        let turned = options.exif && swaps_sides(decoder.orientation()?);
        let size = turned_size(decoder.dimensions(), turned);
        drop(decoder);
        match format {
            ImageFormat::Png => check_png(&mut file, length)?,
            _ => check_webp(&start, length)?,
        }
        Ok(size)
    })
    .map_err(|reason| Error::data(format!("image {}: {reason:#}", path.display())).into())
}

/// Goes from chunk to chunk to the one that ends the file.
fn check_png(file: &mut (impl Read + Seek), length: u64) -> Result<()> {
    let (mut at, mut head) = (8, [0; 8]);
    loop {
        ensure!(
            at + 8 <= length,
            "truncated: the file ends after {length} bytes, the PNG does not"
        );
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        if &kind == b"IEND" {
            return Ok(());
        }
        at += 12 + u64::from(u32::from_be_bytes([a, b, c, d]));
    }
}

/// The length that a WebP file states; some writers forget the byte that pads it to an even one.
fn check_webp(start: &[u8; 16], length: u64) -> Result<()> {
    let stated = 8 + u64::from(u32::from_le_bytes([start[4], start[5], start[6], start[7]]));
    ensure!(
        stated <= length + 1,
        "truncated: the file has {length} bytes, its header states {stated}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const OPTIONS: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 20 };

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let noise = |x: u32, y: u32| image::Rgb([(x * 31 + y * 17) as u8, (x * y) as u8, x as u8]);
        let mut bytes = Vec::new();
        let image = image::RgbImage::from_fn(40, 30, noise);
        image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    #[test]
    fn whole_files_pass_and_cut_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let formats = [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
            ImageFormat::WebP,
        ];
        for format in formats {
            let whole = encoded(format);
            std::fs::write(&path, &whole).unwrap();
            assert_eq!(check_header(&path, OPTIONS).unwrap(), ((30, 40), false), "{format:?}");
            for cut in [0, 4, 20, whole.len() / 2] {
                std::fs::write(&path, &whole[..cut]).unwrap();
                let refused = check_header(&path, OPTIONS).is_err();
                assert!(refused && decode_file(&path, OPTIONS).is_err(), "{format:?} {cut}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        let whole = encoded(ImageFormat::Png);
        let message = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            format!("{:#}", check_header(&path, OPTIONS).unwrap_err())
        };
        for (bytes, expected) in [
            (&whole[..whole.len() / 2], "truncated"),
            (b"", "the file is empty"),
            (b"<html></html>, no image", "not an image"),
        ] {
            let text = message(bytes);
            assert!(text.contains(expected) && text.contains("image.png"), "{text}");
        }
        let gone = check_header(&folder.path().join("none.png"), OPTIONS).unwrap_err();
        assert!(format!("{gone:#}").contains("none.png: cannot read"), "{gone:#}");
        let small = DecodeOptions { max_pixels: 100, ..OPTIONS };
        std::fs::write(&path, &whole).unwrap();
        let large = format!("{:#}", check_header(&path, small).unwrap_err());
        assert!(large.contains("preprocess.max_pixels"), "{large}");
    }

    #[test]
    fn the_end_of_a_png_is_needed_and_what_follows_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        let whole = encoded(ImageFormat::Png);
        for cut in 0..20 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let decodes = decode_file(&path, OPTIONS).is_ok();
            assert_eq!(check_header(&path, OPTIONS).is_ok(), decodes, "{cut}");
        }
        std::fs::write(&path, [&whole[..], b"something after the end"].concat()).unwrap();
        assert!(decode_file(&path, OPTIONS).is_ok() && check_header(&path, OPTIONS).is_ok());
    }
}
