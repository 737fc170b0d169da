//! Black outside the regions that stay.

use super::regions::Rect;

/// A frame `[H, W, C]`, row-major, its samples little-endian.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) height: u32,
    pub(crate) width: u32,
    /// Bytes of a sample: 1, 2 or 4.
    pub(crate) bytes: usize,
    /// Black, one value per sample of a pixel.
    pub(crate) black: Vec<u32>,
}

impl Layout {
    /// Bytes of a frame.
    pub(crate) fn frame_len(&self) -> usize {
        self.height as usize * self.width as usize * self.black.len() * self.bytes
    }

    /// Makes every pixel outside all of `keep` black. Nothing of what was there is left.
    pub(crate) fn black_out(&self, frame: &mut [u8], keep: &[Rect]) {
        let width = self.width as usize;
        let pixel = self.black.iter().flat_map(|value| value.to_le_bytes()[..self.bytes].to_vec());
        let pixel: Vec<u8> = pixel.collect();
        for (y, row) in frame.chunks_exact_mut((width * pixel.len()).max(1)).enumerate() {
            let mut kept = vec![false; width];
            let crosses = |rect: &&Rect| {
                (u64::from(rect.y)..u64::from(rect.y) + u64::from(rect.height))
                    .contains(&(y as u64))
            };
            for rect in keep.iter().filter(crosses) {
                let end = (rect.x as usize + rect.width as usize).min(width);
                kept[(rect.x as usize).min(end)..end].fill(true);
            }
            let places = row.chunks_exact_mut(pixel.len()).zip(&kept);
            places.filter(|(_, kept)| !**kept).for_each(|(place, _)| place.copy_from_slice(&pixel));
        }
    }
}

/// Where the value of a sample is within its bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bits {
    /// Bytes of a sample: 1, 2 or 4.
    pub(crate) bytes: usize,
    /// BitsStored.
    pub(crate) stored: u32,
    /// HighBit.
    pub(crate) high: u32,
    pub(crate) signed: bool,
}

impl Bits {
    /// Clears the bits of each sample that are not part of its value, since older files hide overlays there;
    /// those above a signed value repeat its sign.
    pub(crate) fn clear_unused(self, frame: &mut [u8]) {
        let all = 8 * self.bytes as u32;
        if self.stored >= all || self.high >= all || self.high + 1 < self.stored {
            return;
        }
        let low = self.high + 1 - self.stored;
        let used = ((1_u32 << self.stored) - 1) << low;
        for sample in frame.chunks_exact_mut(self.bytes) {
            let mut value = [0; 4];
            value[..self.bytes].copy_from_slice(sample);
            let value = u32::from_le_bytes(value);
            let is_negative = self.signed && (value >> self.high) & 1 == 1;
            let value = if is_negative {
                (value & used) | !((1 << self.high) | ((1 << self.high) - 1))
            } else {
                value & used
            };
            sample.copy_from_slice(&value.to_le_bytes()[..self.bytes]);
        }
    }
}

/// Share of the pixels of a picture of `(height, width)` that lie outside all of `keep`.
pub(crate) fn share_outside((height, width): (u32, u32), keep: &[Rect]) -> f64 {
    let mask = Layout { height, width, bytes: 1, black: vec![0] };
    let mut pixels = vec![1_u8; mask.frame_len()];
    mask.black_out(&mut pixels, keep);
    let black = pixels.iter().filter(|pixel| **pixel == 0).count();
    black as f64 / pixels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Rect = Rect { x: 1, y: 1, width: 2, height: 1 };

    fn black(bytes: usize, black: &[u32], keep: &[Rect]) -> Vec<u8> {
        let layout = Layout { height: 2, width: 4, bytes, black: black.to_vec() };
        let mut frame = vec![9; layout.frame_len()];
        layout.black_out(&mut frame, keep);
        frame
    }

    #[test]
    fn pixels_outside_become_black() {
        assert_eq!(black(1, &[0], &[KEEP]), [0, 0, 0, 0, 0, 9, 9, 0]);
        let colour = black(1, &[1, 2, 3], &[KEEP]);
        assert_eq!(colour[12..], [1, 2, 3, 9, 9, 9, 9, 9, 9, 1, 2, 3]);
        assert_eq!(black(2, &[0x0102], &[KEEP])[8..], [2, 1, 9, 9, 9, 9, 2, 1]);
        assert_eq!(black(1, &[0], &[]), [0; 8]);
    }

    #[test]
    fn regions_are_united() {
        let keep = [KEEP, Rect { x: 2, y: 0, width: 9, height: u32::MAX }];
        assert_eq!(black(1, &[0], &keep), [0, 0, 9, 9, 0, 9, 9, 9]);
        assert!((share_outside((2, 4), &keep) - 3.0 / 8.0).abs() < 1e-12);
    }

    #[test]
    fn bits_outside_the_value_are_cleared() {
        let cleared = |bytes, stored, high, signed, mut frame: Vec<u8>| {
            Bits { bytes, stored, high, signed }.clear_unused(&mut frame);
            frame
        };
        assert_eq!(cleared(2, 12, 11, false, vec![0xff; 2]), [0xff, 0x0f]);
        assert_eq!(cleared(2, 12, 15, false, vec![0xff; 2]), [0xf0, 0xff]);
        assert_eq!(cleared(2, 16, 15, false, vec![0xff; 2]), [0xff; 2]);
        assert_eq!(cleared(4, 32, 31, false, vec![0xff; 4]), [0xff; 4]);
        assert_eq!(cleared(1, 7, 6, false, vec![0x81, 0xff]), [0x01, 0x7f]);
        // -1 and 1 of twelve bits, with something above.
        assert_eq!(cleared(2, 12, 11, true, vec![0xff, 0x5f]), [0xff, 0xff]);
        assert_eq!(cleared(2, 12, 11, true, vec![0x01, 0x50]), [0x01, 0x00]);
    }
}
