//! From YCbCr to RGB as FFmpeg's swscale computes it, which is what OpenCV shows.
//!
//! The range (16 to 235, or 0 to 255) and the matrix are the stream's. If it does not name them, they are
//! the container's; if that does not either, limited range and BT.601.

use anyhow::{Context, Result};

use crate::Pixels;

/// How luma and chroma become RGB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) full_range: bool,
    pub(super) matrix: Matrix,
}

/// The matrices of ITU-T H.273.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Matrix {
    #[default]
    Bt601,
    Bt709,
    Fcc,
    Smpte240m,
    Bt2020,
}

impl Matrix {
    /// By H.273's code (`matrix_coefficients`); swscale takes BT.601 for those it does not know.
    pub(super) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Bt709,
            4 => Self::Fcc,
            7 => Self::Smpte240m,
            9 | 10 => Self::Bt2020,
            _ => Self::Bt601,
        }
    }

    /// Factors of Cr in red, Cb in blue, and (negative) Cb and Cr in green, for chroma of limited
    /// range, with 16 fractional bits.
    const fn factors(self) -> [i64; 4] {
        match self {
            Self::Bt601 => [104_597, 132_201, -25_675, -53_279],
            Self::Bt709 => [117_489, 138_438, -13_975, -34_925],
            Self::Fcc => [104_448, 132_798, -24_759, -53_109],
            Self::Smpte240m => [117_579, 136_230, -16_907, -35_559],
            Self::Bt2020 => [110_013, 140_363, -12_277, -42_626],
        }
    }
}

/// What each value of luma and chroma adds to red, green and blue: sums of these, clamped, are the colours.
///
/// Factors have 13 fractional bits. swscale truncates each product separately; rounding the sum instead
/// would be one level brighter on average.
struct Tables {
    luma: [i16; 256],
    cr_red: [i16; 256],
    cb_blue: [i16; 256],
    cb_green: [i16; 256],
    cr_green: [i16; 256],
    /// Clamped to 0 to 255, by the sum plus [`LOWEST`].
    clamped: [u8; 1024],
}

/// No sum of the matrices here is below its negative, nor above 1023 minus this.
const LOWEST: i16 = 384;

impl Tables {
    fn new(colour: Colour) -> Self {
        let round = |factor: i64| ((factor * (1 << 13) + (1 << 15)) >> 16) as i32;
        let chroma = colour.matrix.factors();
        let chroma = chroma.map(|f| round(if colour.full_range { f * 224 / 255 } else { f }));
        let [cr_red, cb_blue, cb_green, cr_green] = chroma;
        let (offset, y) =
            if colour.full_range { (0, 1 << 13) } else { (16, round((255 << 16) / 219)) };
        let table = |factor: i32, zero: i32| {
            std::array::from_fn(|value| ((factor * (value as i32 - zero)) >> 13) as i16)
        };
        Self {
            luma: table(y, offset),
            cr_red: table(cr_red, 128),
            cb_blue: table(cb_blue, 128),
            cb_green: table(cb_green, 128),
            cr_green: table(cr_green, 128),
            clamped: std::array::from_fn(|sum| (sum as i16 - LOWEST).clamp(0, 255) as u8),
        }
    }

    /// Red, green and blue of one luma, from what its chroma adds to each.
    fn rgb(&self, luma: u8, chroma: [i16; 3]) -> [u8; 3] {
        let luma = self.luma[usize::from(luma)] + LOWEST;
        // The mask only spares a check of bounds.
        chroma.map(|chroma| self.clamped[(luma + chroma) as usize & 1023])
    }
}

/// A frame in YCbCr 4:2:0 of 8 bits; rows may be padded.
pub(super) struct Planes<'a> {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Y, Cb, Cr.
    pub(super) data: [&'a [u8]; 3],
    /// Bytes from one row to the next.
    pub(super) strides: [usize; 3],
}

/// Chroma is repeated, not interpolated, as swscale does without further options.
pub(super) fn to_rgb(planes: &Planes, colour: Colour) -> Result<Pixels> {
    let &Planes { height, width, data, strides } = planes;
    let tables = Tables::new(colour);
    let row = |plane: usize, row: usize, len: usize| {
        let start = row * strides[plane];
        data[plane].get(start..start + len).context("the decoder's planes are too short")
    };
    let mut rgb = vec![0; height * width * 3];
    for (y, out) in rgb.chunks_exact_mut((width * 3).max(1)).enumerate() {
        let half = width.div_ceil(2);
        let (lumas, cbs, crs) = (row(0, y, width)?, row(1, y / 2, half)?, row(2, y / 2, half)?);
        let pairs = lumas.chunks(2).zip(out.chunks_mut(6));
        for ((luma, out), (&cb, &cr)) in pairs.zip(cbs.iter().zip(crs)) {
            let (cb, cr) = (usize::from(cb), usize::from(cr));
            let green = tables.cb_green[cb] + tables.cr_green[cr];
            let chroma = [tables.cr_red[cr], green, tables.cb_blue[cb]];
            // Written out: a loop over one or two pixels takes twice the time.
            match (luma, out) {
                (&[first, second], [r, g, b, r2, g2, b2]) => {
                    [*r, *g, *b] = tables.rgb(first, chroma);
                    [*r2, *g2, *b2] = tables.rgb(second, chroma);
                }
                (&[last, ..], [r, g, b, ..]) => [*r, *g, *b] = tables.rgb(last, chroma),
                _ => {}
            }
        }
    }
    Ok(Pixels {
        height: u32::try_from(height)?,
        width: u32::try_from(width)?,
        channels: 3,
        data: rgb,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables against the formula, for every luma beside extreme and middle chroma.
    #[test]
    fn sums_of_tables_equal_the_formula_and_fit_the_clamp() {
        use Matrix::{Bt601, Bt709, Bt2020, Fcc, Smpte240m};
        for matrix in [Bt601, Bt709, Fcc, Smpte240m, Bt2020] {
            for full_range in [false, true] {
                let tables = Tables::new(Colour { full_range, matrix });
                let round = |f: i64| ((f * (1 << 13) + (1 << 15)) >> 16) as i32;
                let scaled = |f: i64| round(if full_range { f * 224 / 255 } else { f });
                let [red, blue, cb_green, cr_green] = matrix.factors().map(scaled);
                let (offset, y) = if full_range { (0, 1 << 13) } else { (16, 9539) };
                for luma in 0..=255u8 {
                    for (cb, cr) in [(0, 0), (0, 255), (255, 0), (255, 255), (128, 128), (90, 200)]
                    {
                        let bright = (y * (i32::from(luma) - offset)) >> 13;
                        let part = |factor: i32, value: i32| (factor * (value - 128)) >> 13;
                        let sums = [
                            bright + part(red, cr),
                            bright + part(cb_green, cb) + part(cr_green, cr),
                            bright + part(blue, cb),
                        ];
                        let (b, r) = (cb as usize, cr as usize);
                        let green = tables.cb_green[b] + tables.cr_green[r];
                        let chroma = [tables.cr_red[r], green, tables.cb_blue[b]];
                        let expected = sums.map(|sum| sum.clamp(0, 255) as u8);
                        assert_eq!(
                            tables.rgb(luma, chroma),
                            expected,
                            "{matrix:?} {luma} {cb} {cr}"
                        );
                        let lowest = i32::from(LOWEST);
                        assert!(sums.iter().all(|sum| (-lowest..1024 - lowest).contains(sum)));
                    }
                }
            }
        }
    }
}
