//! Label Studio's own run lengths of brush strokes (the `rle-pack` format of thi.ng/umbrella).

use sonotune_base::Rle;

use crate::server::Failure;

/// Bits of a run's length, by its two-bit code.
const LENGTH_BITS: [u32; 4] = [3, 4, 8, 16];
const WORD_BITS: u32 = 8;
/// A pixel is red, green, blue and alpha, all 255 on the mask and 0 elsewhere.
const CHANNELS: u64 = 4;

/// A mask as bytes.
///
/// # Errors
/// If the image has 2³⁰ pixels or more: the format counts values in 32 bits.
pub(super) fn encode(mask: &Rle) -> Result<Vec<u8>, Failure> {
    let pixels = u64::from(mask.height) * u64::from(mask.width);
    let values = u32::try_from(pixels * CHANNELS)
        .map_err(|_| Failure::unprocessable("the image is too large for a brush"))?;
    let mut bits = Bits::default();
    bits.push(values, 32);
    bits.push(WORD_BITS - 1, 5);
    for length in LENGTH_BITS {
        bits.push(length - 1, 4);
    }
    let rows = mask.to_mask();
    for run in rows.chunk_by(|a, b| a == b) {
        let value = if run.first() == Some(&0) { 0 } else { 255 };
        let mut left = run.len() as u64 * CHANNELS;
        while left > 0 {
            let length = left.min(1 << 16);
            push_run(&mut bits, length as u32, value);
            left -= length;
        }
    }
    Ok(bits.bytes)
}

fn push_run(bits: &mut Bits, length: u32, value: u32) {
    let fits = |&code: &usize| length <= 1 << LENGTH_BITS[code];
    let code = (0..LENGTH_BITS.len()).find(fits).unwrap_or(LENGTH_BITS.len() - 1);
    bits.push(1, 1);
    bits.push(code as u32, 2);
    bits.push(length - 1, LENGTH_BITS[code]);
    bits.push(value, WORD_BITS);
}

/// Bits, the highest of each byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= (((value >> bit) & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::seed::Rng;

    use super::*;

    /// What Label Studio's page does with the bytes.
    fn decode(bytes: &[u8]) -> Vec<u8> {
        let mut at = 0;
        let mut read = |count: u32| {
            (0..count).fold(0_usize, |value, _| {
                let bit = bytes[at / 8] >> (7 - at % 8) & 1;
                at += 1;
                value << 1 | usize::from(bit)
            })
        };
        let (values, word) = (read(32), read(5) as u32 + 1);
        let lengths: Vec<_> = (0..4).map(|_| read(4) as u32 + 1).collect();
        let mut out = Vec::new();
        while out.len() < values {
            let is_run = read(1) == 1;
            let code = read(2);
            let count = read(lengths[code]) + 1;
            if is_run {
                let value = read(word) as u8;
                out.extend(std::iter::repeat_n(value, count));
            } else {
                out.extend((0..count).map(|_| read(word) as u8));
            }
        }
        out
    }

    #[test]
    fn masks_come_back_in_four_channels() {
        for case in 0..60 {
            let mut rng = Rng::at(case, &[3]);
            let (h, w) = (1 + rng.below(40) as u32, 1 + rng.below(400) as u32);
            let period = 1 + rng.below(500) as u32;
            let pixels: Vec<u8> = (0..h * w).map(|i| u8::from(i / period % 2 == 1)).collect();
            let mask = Rle::from_mask(&pixels, (h, w)).unwrap();
            let expected: Vec<u8> = pixels.iter().flat_map(|&p| [p * 255; 4]).collect();
            assert!(decode(&encode(&mask).unwrap()) == expected, "case {case}");
        }
        let large = Rle::new(600, 600, vec![360_000]).unwrap();
        assert_eq!(decode(&encode(&large).unwrap()), vec![0; 1_440_000]);
    }
}
