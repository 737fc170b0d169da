//! RLE Lossless (PS3.5, annex G): a segment of PackBits for each byte of each sample.
//!
//! The decoder of `dicom-transfer-syntax-registry` reserves what a segment count claims and refuses images
//! that are mostly black, so this is our own.

use anyhow::{Context, Result, ensure};

use super::{Frame, check_length};
use crate::dicom::{header::Image, samples::Samples};

/// The count of segments and 15 offsets.
const HEADER_BYTES: usize = 64;

/// Samples that a bit can stand for: 2 bytes hold 128.
const SAMPLES_PER_BIT: u64 = 8;

pub(super) fn decode(bytes: &[u8], image: &Image) -> Result<Frame> {
    let samples = image.photometric.samples();
    let depth = (image.bits_allocated / 8) as usize;
    ensure!(depth > 0, "RLE of {} bit per sample is not read", image.bits_allocated);
    check_length(bytes, (image.num_pixels() * samples) as u64, SAMPLES_PER_BIT)?;
    let header = bytes.get(..HEADER_BYTES).context("it is shorter than the header of RLE")?;
    let mut numbers = header.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let count = numbers.next().unwrap_or(0) as usize;
    let needed = samples * depth;
    ensure!(count == needed, "it has {count} segments of RLE, its header claims {needed}");
    let starts: Vec<usize> = numbers.take(count).map(|start| start as usize).collect();
    let mut planes = Vec::with_capacity(count);
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
        let segment = bytes.get(start..end).filter(|_| start >= HEADER_BYTES);
        let segment = segment
            .with_context(|| format!("segment {index} of RLE is from byte {start} to {end}"))?;
        let plane = unpack(segment, image.num_pixels());
        planes.push(plane.with_context(|| format!("segment {index} of RLE"))?);
    }
    let pixels = 0..image.num_pixels();
    // Segments begin with the most significant byte of the first sample.
    let value = |sample: usize, pixel: usize| {
        let bytes = planes[sample * depth..(sample + 1) * depth].iter();
        bytes.fold(0, |value, plane| value << 8 | u32::from(plane[pixel]))
    };
    let values = pixels.flat_map(|pixel| (0..samples).map(move |sample| (sample, pixel)));
    let samples = match depth {
        1 => Samples::U8(values.map(|(sample, pixel)| planes[sample][pixel]).collect()),
        2 => Samples::U16(values.map(|(sample, pixel)| value(sample, pixel) as u16).collect()),
        _ => Samples::U32(values.map(|(sample, pixel)| value(sample, pixel)).collect()),
    };
    Ok(Frame { samples, photometric: image.photometric })
}

/// `len` bytes of PackBits; more are ignored, as padding.
fn unpack(segment: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut plane = Vec::with_capacity(len);
    let mut rest = segment;
    while plane.len() < len {
        let [control, tail @ ..] = rest else {
            anyhow::bail!("it ends after {} of {len} pixels", plane.len());
        };
        let room = len - plane.len();
        match usize::from(*control) {
            literal @ 0..=127 => {
                let run = tail.get(..=literal).context("it ends within a run")?;
                plane.extend(&run[..run.len().min(room)]);
                rest = &tail[literal + 1..];
            }
            128 => rest = tail,
            repeat => {
                let byte = *tail.first().context("it ends within a run")?;
                plane.resize(plane.len() + (257 - repeat).min(room), byte);
                rest = &tail[1..];
            }
        }
    }
    Ok(plane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_literals_fill_a_plane() {
        let segment = [2, 1, 2, 3, 254, 9, 128, 0, 7, 0];
        assert_eq!(unpack(&segment, 7).unwrap(), [1, 2, 3, 9, 9, 9, 7]);
        let error = unpack(&[2, 1, 2], 3).unwrap_err().to_string();
        assert_eq!(error, "it ends within a run");
        let error = unpack(&[254, 9], 7).unwrap_err().to_string();
        assert_eq!(error, "it ends after 3 of 7 pixels");
    }
}
