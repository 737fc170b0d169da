//! Converts the output of any decoder to 8-bit grey or RGB.

use anyhow::{Result, bail};
use image::ColorType;

/// Channels and `[H, W, C]` bytes.
pub(super) fn to_8bit(raw: Vec<u8>, color: ColorType) -> Result<(usize, Vec<u8>)> {
    Ok(match color {
        ColorType::L8 => (1, raw),
        ColorType::Rgb8 => (3, raw),
        ColorType::La8 => (1, raw.chunks_exact(2).map(|p| p[0]).collect()),
        ColorType::Rgba8 => (3, keep::<4, 3>(&raw, [0, 1, 2])),
        ColorType::L16 => (1, keep::<2, 1>(&raw, high([0]))),
        ColorType::La16 => (1, keep::<4, 1>(&raw, high([0]))),
        ColorType::Rgb16 => (3, keep::<6, 3>(&raw, high([0, 1, 2]))),
        ColorType::Rgba16 => (3, keep::<8, 3>(&raw, high([0, 1, 2]))),
        other => bail!("its pixels are {other:?}; only 8- and 16-bit integers are supported"),
    })
}

/// Byte offsets of the upper halves of native-endian 16-bit samples: OpenCV also truncates.
fn high<const N: usize>(samples: [usize; N]) -> [usize; N] {
    samples.map(|s| 2 * s + usize::from(cfg!(target_endian = "little")))
}

/// Keeps the bytes at `offsets` of each pixel of `FROM` bytes.
fn keep<const FROM: usize, const TO: usize>(raw: &[u8], offsets: [usize; TO]) -> Vec<u8> {
    let mut out = vec![0; raw.len() / FROM * TO];
    for (to, from) in out.chunks_exact_mut(TO).zip(raw.chunks_exact(FROM)) {
        for (value, &offset) in to.iter_mut().zip(&offsets) {
            *value = from[offset];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_dropped_and_the_upper_byte_kept() {
        assert_eq!(to_8bit(vec![1, 2, 3, 0], ColorType::Rgba8).unwrap(), (3, vec![1, 2, 3]));
        let words: Vec<u8> = [0x12FFu16, 0x3480, 0x5600, 7].map(u16::to_ne_bytes).concat();
        assert_eq!(to_8bit(words, ColorType::Rgba16).unwrap(), (3, vec![0x12, 0x34, 0x56]));
        let words: Vec<u8> = [0xFFFFu16, 0].map(u16::to_ne_bytes).concat();
        assert_eq!(to_8bit(words, ColorType::La16).unwrap(), (1, vec![0xFF]));
        assert!(to_8bit(vec![0; 12], ColorType::Rgb32F).is_err());
    }
}
