//! JPEG 2000 (ITU-T T.800), by `hayro-jpeg2000`.

use anyhow::{Context, Result, anyhow, ensure};
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image as Codestream};

use super::{Frame, check_size, with_sign};
use crate::dicom::{
    header::{Image, Photometric},
    samples::Samples,
};

/// The decoder takes some 10 bytes per sample.
const MAX_SAMPLES: usize = 50_000_000;

pub(super) fn decode(bytes: &[u8], image: &Image) -> Result<Frame> {
    // Boxes around a codestream, which the standard forbids, may be wrong; a codestream begins with SOC and SIZ.
    let start = bytes.windows(4).position(|mark| mark == [0xFF, 0x4F, 0xFF, 0x51]);
    let bytes = &bytes[start.context("it is not a JPEG 2000 stream")?..];
    let size = Size::of(bytes).context("its JPEG 2000 stream is cut off within its SIZ segment")?;
    check_size(image, (size.height, size.width), size.components)?;
    let samples = image.num_pixels() * size.components;
    ensure!(
        (1..=16).contains(&size.bits),
        "JPEG 2000 of {} bits per sample is not read",
        size.bits
    );
    ensure!(
        samples <= MAX_SAMPLES,
        "its JPEG 2000 stream has {samples} samples, the limit is {MAX_SAMPLES}"
    );
    let settings =
        DecodeSettings { resolve_palette_indices: false, strict: true, ..Default::default() };
    let stream = Codestream::new(bytes, &settings).map_err(damaged)?;
    let mut context = DecoderContext::default();
    let decoded = stream.decode(&mut context).map_err(damaged)?;
    let planes: Vec<&[f32]> = decoded.components().iter().map(|c| c.samples()).collect();
    let full = |plane: &&[f32]| plane.len() == image.num_pixels();
    ensure!(
        planes.len() == size.components && planes.iter().all(full),
        "its JPEG 2000 stream has components of several sizes, which are not read"
    );
    let pixels = (0..image.num_pixels()).flat_map(|i| planes.iter().map(move |plane| plane[i]));
    // The decoder adds half the range to every component, also to those with a sign.
    let half = if size.signed { 1_i32 << (size.bits - 1) } else { 0 };
    let largest = (1_i32 << size.bits) - 1;
    let number = |value: f32| {
        let value = (value.round() as i32).clamp(0, largest) - half;
        with_sign(value, size.bits, image.signed)
    };
    let samples = if size.bits <= 8 {
        Samples::U8(pixels.map(|value| number(value) as u8).collect())
    } else {
        Samples::U16(pixels.map(|value| number(value) as u16).collect())
    };
    let photometric = match image.photometric {
        // The stream itself undoes these.
        Photometric::YbrIct | Photometric::YbrRct => Photometric::Rgb,
        other => other,
    };
    Ok(Frame { samples, photometric })
}

fn damaged(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("its JPEG 2000 stream is damaged: {error}")
}

/// What the SIZ segment of a codestream says.
struct Size {
    height: u32,
    width: u32,
    components: usize,
    bits: u32,
    signed: bool,
}

impl Size {
    fn of(bytes: &[u8]) -> Option<Self> {
        let body = bytes.get(4..4 + 38)?;
        let number = |at: usize| {
            let bytes = body.get(at..at + 4)?;
            Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (width, height) = (number(4)?, number(8)?);
        let (left, top) = (number(12)?, number(16)?);
        let components = usize::from(u16::from_be_bytes([body[36], body[37]]));
        let precision = bytes.get(4 + 38)?;
        Some(Self {
            height: height.checked_sub(top)?,
            width: width.checked_sub(left)?,
            components,
            bits: u32::from(precision & 0x7F) + 1,
            signed: precision & 0x80 != 0,
        })
    }
}
