//! Encodes PNG images, and copies those that are already in the form we would write.

use std::io::Write;

use anyhow::{Context, Result};
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use crate::Pixels;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Encodes an image losslessly, favouring speed over size.
///
/// # Errors
/// If the image has no pixels.
pub fn encode(image: &Pixels) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(image.data.len() / 2);
    let color = if image.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Up)
        .write_image(&image.data, image.width, image.height, color)
        .context("encoding a PNG")?;
    bytes.flush().context("encoding a PNG")?;
    Ok(bytes)
}

/// Reduces a PNG file to its pixel data, if every reader shows the pixels as stored: 8-bit grey or
/// RGB, not interlaced, without transparency, gamma, colour profile or orientation. Texts and dates
/// are removed, since patients' names have been found in them.
///
/// `None` for any other file. The caller has decoded the file, so its checksums are known to match.
#[must_use]
pub fn verbatim(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes.strip_prefix(SIGNATURE)?;
    let mut kept = Vec::with_capacity(bytes.len());
    kept.extend_from_slice(SIGNATURE);
    loop {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let kind = rest.get(4..8)?;
        let chunk = rest.get(..length.checked_add(12)?)?;
        match kind {
            b"IHDR" => {
                let header = chunk.get(8..21)?;
                let plain = header[8] == 8 && matches!(header[9], 0 | 2) && header[12] == 0;
                if !plain {
                    return None;
                }
                kept.extend_from_slice(chunk);
            }
            b"IDAT" => kept.extend_from_slice(chunk),
            b"IEND" => {
                kept.extend_from_slice(chunk);
                return Some(kept);
            }
            // These would change what a reader shows.
            b"tRNS" | b"eXIf" | b"acTL" => return None,
            _ => {}
        }
        rest = &rest[chunk.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(channels: usize) -> Pixels {
        let data = (0..6 * channels as u8).collect();
        Pixels { height: 2, width: 3, channels, data }
    }

    #[test]
    fn plain_files_pass_without_their_texts() {
        for channels in [1, 3] {
            let plain = encode(&image(channels)).unwrap();
            let mut texts = plain[..33].to_vec();
            texts.extend_from_slice(&9_u32.to_be_bytes());
            texts.extend_from_slice(b"tEXtName\0John0000");
            texts.extend_from_slice(&plain[33..]);
            assert_eq!(verbatim(&texts).as_deref(), Some(&plain[..]));
        }
    }

    #[test]
    fn others_do_not_pass() {
        let mut alpha = Vec::new();
        PngEncoder::new(&mut alpha)
            .write_image(&[1, 2, 3, 4], 1, 1, ExtendedColorType::Rgba8)
            .unwrap();
        assert_eq!(verbatim(&alpha), None);
        let plain = encode(&image(1)).unwrap();
        for length in 0..plain.len() {
            assert_eq!(verbatim(&plain[..length]), None, "{length}");
        }
    }
}
