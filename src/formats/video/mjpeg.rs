//! Motion JPEG: one JPEG per frame, often without Huffman tables; then the standard tables apply.

use anyhow::{Result, ensure};
use sonotune_base::image_io::{DecodeOptions, decode_bytes};

use super::{MAX_PIXELS, Unsupported};
use crate::Pixels;

/// Refuses what would be shown wrongly: frames in two halves, which capture cards write, and colours of
/// limited range, which FFmpeg marks with a comment. A JPEG is of full range and BT.601 otherwise.
/// `height` is the container's.
pub(super) fn inspect(bytes: &[u8], height: u32) -> Result<()> {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let content = bytes.get(at + 4..at + 2 + len.max(2)).unwrap_or_default();
        match (marker, content) {
            (0xff, _) => {
                at += 1;
                continue;
            }
            (0xda, _) => break,
            (0xfe, b"CS=ITU601" | b"CS=ITU601\0") => {
                return Err(Unsupported("Motion JPEG of limited range".to_owned()).into());
            }
            (0xc0..=0xc2, &[_depth, high, low, ..]) => {
                let coded = u32::from(u16::from_be_bytes([high, low]));
                // A frame of odd height loses a row.
                if coded > 0 && coded.abs_diff(height.div_ceil(2)) <= 1 && height > 8 {
                    return Err(Unsupported("interlaced Motion JPEG".to_owned()).into());
                }
            }
            _ => {}
        }
        at += 2 + len;
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Pixels> {
    ensure!(bytes.starts_with(&[0xff, 0xd8]), "not a JPEG");
    let options = DecodeOptions { exif: false, max_pixels: MAX_PIXELS };
    let image = match place_for_tables(bytes) {
        None => decode_bytes(bytes, options)?,
        Some(at) => {
            let mut whole = bytes[..at].to_vec();
            for (class, counts, values) in TABLES {
                whole.extend([0xff, 0xc4, 0, (2 + 1 + 16 + values.len()) as u8, *class]);
                whole.extend(counts.iter().chain(*values));
            }
            whole.extend(&bytes[at..]);
            decode_bytes(&whole, options)?
        }
    };
    let (height, width, channels) = (image.height, image.width, image.channels);
    Ok(Pixels { height, width, channels, data: image.pixels })
}

/// Where the first scan begins; `None` if tables come before it.
fn place_for_tables(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        let &[0xff, marker, high, low] = bytes.get(at..at + 4)? else { return None };
        match marker {
            0xc4 => return None,
            0xda => return Some(at),
            0xff => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
}

type Table = (u8, [u8; 16], &'static [u8]);

/// Class and number, codes of each length, values: ITU-T T.81, tables K.3 to K.6.
#[rustfmt::skip]
const TABLES: &[Table] = &[
    (0x00, [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DC_VALUES),
    (0x01, [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DC_VALUES),
    (0x10, [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], &AC_LUMINANCE),
    (0x11, [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119], &AC_CHROMINANCE),
];

const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

#[rustfmt::skip]
const AC_LUMINANCE: [u8; 162] = [
    1, 2, 3, 0, 4, 17, 5, 18, 33, 49, 65, 6, 19, 81, 97, 7, 34, 113, 20, 50, 129, 145, 161, 8,
    35, 66, 177, 193, 21, 82, 209, 240, 36, 51, 98, 114, 130, 9, 10, 22, 23, 24, 25, 26, 37, 38,
    39, 40, 41, 42, 52, 53, 54, 55, 56, 57, 58, 67, 68, 69, 70, 71, 72, 73, 74, 83, 84, 85, 86,
    87, 88, 89, 90, 99, 100, 101, 102, 103, 104, 105, 106, 115, 116, 117, 118, 119, 120, 121,
    122, 131, 132, 133, 134, 135, 136, 137, 138, 146, 147, 148, 149, 150, 151, 152, 153, 154,
    162, 163, 164, 165, 166, 167, 168, 169, 170, 178, 179, 180, 181, 182, 183, 184, 185, 186,
    194, 195, 196, 197, 198, 199, 200, 201, 202, 210, 211, 212, 213, 214, 215, 216, 217, 218,
    225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 241, 242, 243, 244, 245, 246, 247, 248,
    249, 250,
];

#[rustfmt::skip]
const AC_CHROMINANCE: [u8; 162] = [
    0, 1, 2, 3, 17, 4, 5, 33, 49, 6, 18, 65, 81, 7, 97, 113, 19, 34, 50, 129, 8, 20, 66, 145,
    161, 177, 193, 9, 35, 51, 82, 240, 21, 98, 114, 209, 10, 22, 36, 52, 225, 37, 241, 23, 24,
    25, 26, 38, 39, 40, 41, 42, 53, 54, 55, 56, 57, 58, 67, 68, 69, 70, 71, 72, 73, 74, 83, 84,
    85, 86, 87, 88, 89, 90, 99, 100, 101, 102, 103, 104, 105, 106, 115, 116, 117, 118, 119, 120,
    121, 122, 130, 131, 132, 133, 134, 135, 136, 137, 138, 146, 147, 148, 149, 150, 151, 152,
    153, 154, 162, 163, 164, 165, 166, 167, 168, 169, 170, 178, 179, 180, 181, 182, 183, 184,
    185, 186, 194, 195, 196, 197, 198, 199, 200, 201, 202, 210, 211, 212, 213, 214, 215, 216,
    217, 218, 226, 227, 228, 229, 230, 231, 232, 233, 234, 242, 243, 244, 245, 246, 247, 248,
    249, 250,
];
