//! JPEG-LS (ITU-T T.87), lossless and near-lossless, 2 to 16 bits, all interleavings.
//!
//! Our own, since no crate fits: `charls` needs CMake, those in Rust alone read one sample per pixel or bring
//! a second DICOM library.

use anyhow::{Context, Result, bail, ensure};

use super::{
    Frame, check_size,
    jpeg_ls_scan::{Bits, Parameters, Scan},
    with_sign,
};
use crate::dicom::{header::Image, samples::Samples};

/// How the samples of a pixel follow each other in a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interleave {
    /// One component per scan.
    None,
    Line,
    Sample,
}

/// The frame and presets of the segments read so far.
struct Head {
    bits: u32,
    height: usize,
    width: usize,
    ids: Vec<u8>,
    /// MAXVAL, T1, T2, T3 and RESET; 0 is the default.
    presets: [i32; 5],
}

pub(super) fn decode(bytes: &[u8], image: &Image) -> Result<Frame> {
    ensure!(bytes.starts_with(&[0xFF, 0xD8]), "it is not a JPEG-LS stream");
    let mut head: Option<Head> = None;
    let mut presets = [0; 5];
    let mut planes: Vec<Vec<u16>> = Vec::new();
    let mut at = 2;
    loop {
        let Some(&[0xFF, marker]) = bytes.get(at..at + 2) else {
            bail!("its JPEG-LS stream is cut off or damaged at byte {at}");
        };
        if marker == 0xFF {
            at += 1;
            continue;
        }
        if marker == 0xD9 {
            break;
        }
        let body = bytes.get(at + 2..).and_then(segment);
        let body = body.with_context(|| format!("its JPEG-LS stream is cut off at byte {at}"))?;
        at += 4 + body.len();
        match marker {
            0xF7 => {
                let read = read_frame(body)?;
                check_size(image, (read.height as u32, read.width as u32), read.ids.len())?;
                head = Some(read);
            }
            0xF8 => presets = read_presets(body)?,
            0xDD => bail!("its JPEG-LS stream has restart markers, which are not read"),
            0xDA => {
                let head =
                    head.as_mut().context("its JPEG-LS stream has a scan before its frame")?;
                head.presets = presets;
                let rest = bytes.get(at..).unwrap_or_default();
                at += scan(rest, head, body, &mut planes)?;
                if planes.len() >= head.ids.len() {
                    break;
                }
            }
            0xE0..=0xEF | 0xFE => {}
            other => bail!("its JPEG-LS stream has a segment FF{other:02X}, which is not read"),
        }
    }
    let head = head.context("its JPEG-LS stream has no frame")?;
    let missing = head.ids.len() - planes.len().min(head.ids.len());
    ensure!(missing == 0, "its JPEG-LS stream lacks {missing} of its components");
    let pixels = (0..image.num_pixels()).flat_map(|i| planes.iter().map(move |plane| plane[i]));
    let number = |value: u16| with_sign(i32::from(value), head.bits, image.signed);
    let samples = if head.bits <= 8 {
        Samples::U8(pixels.map(|value| number(value) as u8).collect())
    } else {
        Samples::U16(pixels.map(|value| number(value) as u16).collect())
    };
    Ok(Frame { samples, photometric: image.photometric })
}

/// The body of a segment that begins with its length.
fn segment(bytes: &[u8]) -> Option<&[u8]> {
    let len = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    bytes.get(2..len)
}

fn read_frame(body: &[u8]) -> Result<Head> {
    let [bits, h1, h0, w1, w0, count, ids @ ..] = body else {
        bail!("the frame of its JPEG-LS stream is cut off");
    };
    let ids: Vec<u8> = ids.chunks(3).take(usize::from(*count)).map(|part| part[0]).collect();
    ensure!((2..=16).contains(bits), "its JPEG-LS stream has {bits} bits per sample, not 2 to 16");
    ensure!(matches!(ids.len(), 1 | 3), "its JPEG-LS stream has {} components", ids.len());
    Ok(Head {
        bits: u32::from(*bits),
        height: usize::from(u16::from_be_bytes([*h1, *h0])),
        width: usize::from(u16::from_be_bytes([*w1, *w0])),
        ids,
        presets: [0; 5],
    })
}

fn read_presets(body: &[u8]) -> Result<[i32; 5]> {
    let [1, numbers @ ..] = body else {
        bail!("its JPEG-LS stream has mapping tables, which are not read");
    };
    ensure!(numbers.len() >= 10, "the presets of its JPEG-LS stream are cut off");
    let number = |i: usize| i32::from(u16::from_be_bytes([numbers[2 * i], numbers[2 * i + 1]]));
    Ok(std::array::from_fn(number))
}

/// Decodes a scan, appends its planes and returns its length in bytes.
fn scan(bytes: &[u8], head: &Head, body: &[u8], planes: &mut Vec<Vec<u16>>) -> Result<usize> {
    let count = usize::from(*body.first().unwrap_or(&0));
    let tail = body.get(1 + 2 * count..).unwrap_or_default();
    let &[near, interleave, transform, ..] = tail else {
        bail!("the header of a scan of its JPEG-LS stream is cut off");
    };
    ensure!(transform == 0, "its JPEG-LS stream has a point transform, which is not read");
    let interleave = match interleave {
        0 if count == 1 => Interleave::None,
        1 => Interleave::Line,
        2 => Interleave::Sample,
        other => bail!("its JPEG-LS stream has interleaving {other} with {count} components"),
    };
    ensure!(
        count >= 1 && planes.len() + count <= head.ids.len(),
        "a scan of its JPEG-LS stream has {count} components too many"
    );
    let parameters = Parameters::new(head.bits, i32::from(near), head.presets)?;
    let mut bits = Bits::new(bytes);
    let mut scan = Scan::new(parameters, head.width, count);
    let mut decoded = vec![Vec::with_capacity(head.height * head.width); count];
    for row in 0..head.height {
        match interleave {
            Interleave::None | Interleave::Line => {
                (0..count).try_for_each(|component| scan.line(&mut bits, component))
            }
            Interleave::Sample => scan.interleaved_line(&mut bits),
        }
        .with_context(|| format!("its JPEG-LS stream is damaged in row {row}"))?;
        for (component, plane) in decoded.iter_mut().enumerate() {
            plane.extend(scan.row(component).iter().map(|&value| value as u16));
        }
        scan.advance();
    }
    planes.append(&mut decoded);
    Ok(bits.position())
}
