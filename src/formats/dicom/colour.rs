//! Colours as 8-bit RGB.

use anyhow::{Result, bail};

use super::{header::Photometric, samples::Samples};

/// 8 bits of a sample that has `bits`: the upper ones, or stretched if there are fewer.
pub(super) fn to_8bit(value: u32, bits: u32) -> u8 {
    let largest = ((1_u64 << bits) - 1) as u32;
    let value = value & largest;
    match bits {
        8 => value as u8,
        9.. => (value >> (bits - 8)) as u8,
        _ => ((value * 255 + largest / 2) / largest) as u8,
    }
}

/// RGB of samples with three colours, `bits` of each used.
///
/// # Errors
/// YBR_ICT and YBR_RCT outside JPEG 2000, which alone undoes them.
pub(super) fn rgb(samples: Samples, photometric: Photometric, bits: u32) -> Result<Vec<u8>> {
    let mut data = match samples {
        Samples::U8(values) if bits == 8 => values,
        Samples::U8(values) => values.iter().map(|&v| to_8bit(u32::from(v), bits)).collect(),
        Samples::U16(values) => values.iter().map(|&v| to_8bit(u32::from(v), bits)).collect(),
        Samples::U32(values) => values.iter().map(|&v| to_8bit(v, bits)).collect(),
    };
    match photometric {
        Photometric::Rgb => {}
        Photometric::YbrFull | Photometric::YbrFull422 => {
            for pixel in data.chunks_exact_mut(3) {
                pixel.copy_from_slice(&ybr_to_rgb([pixel[0], pixel[1], pixel[2]]));
            }
        }
        Photometric::YbrIct | Photometric::YbrRct => bail!(
            "its PhotometricInterpretation (0028,0004) is YBR_ICT or YBR_RCT, which belong to JPEG 2000, but \
             its transfer syntax is another"
        ),
        Photometric::Monochrome { .. } | Photometric::Palette => {
            bail!("it has one sample per pixel")
        }
    }
    Ok(data)
}

/// RGB of a YBR_FULL colour (PS3.3, C.7.6.3.1.2; the matrix of ITU-T T.871), halves rounded up.
fn ybr_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f64::from(y), f64::from(cb) - 128.0, f64::from(cr) - 128.0);
    let rgb = [
        y + 1.402 * cr,
        y - (0.114 * 1.772 / 0.587) * cb - (0.299 * 1.402 / 0.587) * cr,
        y + 1.772 * cb,
    ];
    rgb.map(|value| (value + 0.5).floor() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ybr_is_converted_as_the_standard_says() {
        assert_eq!(ybr_to_rgb([90, 128, 128]), [90, 90, 90]);
        // 76 + 1.402 × 127 and so on: a pure red within rounding.
        assert_eq!(ybr_to_rgb([76, 85, 255]), [254, 0, 0]);
        assert_eq!(ybr_to_rgb([255, 0, 0]), [76, 255, 28]);
    }

    #[test]
    fn samples_keep_their_upper_bits_or_are_stretched() {
        assert_eq!([0, 128, 255].map(|v| to_8bit(v, 8)), [0, 128, 255]);
        assert_eq!([0, 0x0FFF, 0x0800].map(|v| to_8bit(v, 12)), [0, 255, 128]);
        assert_eq!([0, 1, 15].map(|v| to_8bit(v, 4)), [0, 17, 255]);
        assert_eq!([0, 1].map(|v| to_8bit(v, 1)), [0, 255]);
        assert_eq!(to_8bit(u32::MAX, 32), 255);
    }
}
