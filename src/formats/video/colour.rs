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

/// Factors with 13 fractional bits. swscale truncates each product separately; rounding the sum instead
/// would be one level brighter on average.
struct Factors {
    offset: i32,
    y: i32,
    cr_red: i32,
    cb_blue: i32,
    cb_green: i32,
    cr_green: i32,
}

impl Factors {
    fn new(colour: Colour) -> Self {
        let round = |factor: i64| ((factor * (1 << 13) + (1 << 15)) >> 16) as i32;
        let chroma = colour.matrix.factors();
        let chroma = chroma.map(|f| round(if colour.full_range { f * 224 / 255 } else { f }));
        let [cr_red, cb_blue, cb_green, cr_green] = chroma;
        let (offset, y) =
            if colour.full_range { (0, 1 << 13) } else { (16, round((255 << 16) / 219)) };
        Self { offset, y, cr_red, cb_blue, cb_green, cr_green }
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
    let factors = Factors::new(colour);
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
            let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
            let red = (factors.cr_red * cr) >> 13;
            let green = ((factors.cb_green * cb) >> 13) + ((factors.cr_green * cr) >> 13);
            let blue = (factors.cb_blue * cb) >> 13;
            for (&luma, out) in luma.iter().zip(out.chunks_exact_mut(3)) {
                let luma = (factors.y * (i32::from(luma) - factors.offset)) >> 13;
                out[0] = (luma + red).clamp(0, 255) as u8;
                out[1] = (luma + green).clamp(0, 255) as u8;
                out[2] = (luma + blue).clamp(0, 255) as u8;
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
