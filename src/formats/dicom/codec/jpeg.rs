//! JPEG (ITU-T T.81): baseline, extended and progressive of 8 bits, extended of 12 bits, and lossless up to 16 bits.
//!
//! Samples are left in the colours of the stream, which the data set describes. Lossy ones equal libjpeg's, with
//! which most programs show them: the inverse transform and the interpolation of chroma are not exact in the
//! standard.

use anyhow::{Context, Result, anyhow, bail, ensure};
use libjpeg_turbo_rs::ColorSpace;

use super::{Frame, check_length, check_size};
use crate::dicom::{
    header::{Image, Photometric},
    samples::Samples,
    syntax::REMEDY,
};

/// What the segments before the first scan say.
#[derive(Debug, Default)]
struct Head {
    /// The marker of the frame: which process.
    process: u8,
    bits: u32,
    size: (u32, u32),
    ids: Vec<u8>,
    jfif: bool,
}

pub(super) fn decode(bytes: &[u8], image: &Image) -> Result<Frame> {
    let head = read_head(bytes)?;
    check_size(image, head.size, head.ids.len())?;
    let (bits, components) = (head.bits, head.ids.len());
    match head.process {
        0xC3 if (2..=8).contains(&bits) || ((9..=16).contains(&bits) && components == 1) => {
            check_length(bytes, (image.num_pixels() * components) as u64, 1)?;
        }
        // A block of 64 samples takes two bits or more.
        0xC0 | 0xC1 if bits == 8 => check_length(bytes, image.num_pixels() as u64, 32)?,
        0xC1 if bits == 12 && components == 1 => {
            check_length(bytes, image.num_pixels() as u64, 32)?
        }
        0xC2 if bits == 8 => {}
        0xC0..=0xC3 => bail!(
            "a {} JPEG of {components} samples per pixel with {bits} bits each is not read; {REMEDY}",
            if head.process == 0xC3 { "lossless" } else { "lossy" }
        ),
        other => bail!("a JPEG of process FF{other:02X} is not read; {REMEDY}"),
    }
    let samples = match (head.process, bits) {
        (0xC3, _) => lossless(bytes, &head),
        (_, 12) => lossy_12bit(bytes),
        _ => lossy(bytes),
    };
    let samples = samples.context("its JPEG is damaged")?;
    let photometric = match image.photometric {
        _ if matches!(head.ids.as_slice(), b"RGB" | b"rgb") => Photometric::Rgb,
        Photometric::Rgb if head.jfif => Photometric::YbrFull,
        other => other,
    };
    Ok(Frame { samples, photometric })
}

/// Walks the segments up to the first scan.
fn read_head(bytes: &[u8]) -> Result<Head> {
    ensure!(bytes.starts_with(&[0xFF, 0xD8]), "it is not a JPEG");
    let mut head = Head::default();
    let mut at = 2;
    loop {
        let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4) else {
            bail!("its JPEG is cut off or damaged at byte {at}, before its first scan");
        };
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let body = bytes.get(at + 4..end);
        match marker {
            0xFF => {
                at += 1;
                continue;
            }
            0xDA => break,
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let Some([bits, h1, h0, w1, w0, count, ids @ ..]) = body else {
                    bail!("its JPEG is cut off within the header of its frame");
                };
                head.process = marker;
                head.bits = u32::from(*bits);
                let side = |high: u8, low: u8| u32::from(u16::from_be_bytes([high, low]));
                head.size = (side(*h1, *h0), side(*w1, *w0));
                head.ids = ids.chunks(3).take(usize::from(*count)).map(|part| part[0]).collect();
            }
            0xE0 => head.jfif = body.is_some_and(|body| body.starts_with(b"JFIF")),
            _ => {}
        }
        at = end;
    }
    ensure!(head.process != 0, "its JPEG has no frame before its first scan");
    let ends = bytes.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]);
    ensure!(ends, "its JPEG is cut off: it has no end-of-image marker");
    Ok(head)
}

fn lossy(bytes: &[u8]) -> Result<Samples> {
    let mut decoder = libjpeg_turbo_rs::Decoder::new(bytes)?;
    if decoder.jpeg_color_space() == ColorSpace::YCbCr {
        decoder.set_output_colorspace(ColorSpace::YCbCr);
    }
    Ok(Samples::U8(decoder.decode_image()?.into_vec()))
}

fn lossy_12bit(bytes: &[u8]) -> Result<Samples> {
    let image = libjpeg_turbo_rs::decompress_12bit(bytes)?;
    Ok(Samples::U16(image.data.into_iter().map(i16::cast_unsigned).collect()))
}

fn lossless(bytes: &[u8], head: &Head) -> Result<Samples> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    // What the stream has, whatever it is: the transform called `RGB` leaves it.
    decoder.set_color_transform(match head.ids.len() {
        1 => jpeg_decoder::ColorTransform::Grayscale,
        _ => jpeg_decoder::ColorTransform::RGB,
    });
    let data = decoder.decode().map_err(|e| anyhow!("{e}"))?;
    if head.bits <= 8 {
        return Ok(Samples::U8(data));
    }
    Ok(Samples::U16(data.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]])).collect()))
}
