//! Pixels as they are written: not compressed, colours of a pixel side by side.

use std::{fs::File, path::Path};

use anyhow::{Context, Result, bail, ensure};
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{InMemDicomObject, mem::InMemElement};
use sha2::{Digest, Sha256};
use sonotune_formats::dicom::{Dicom, Whole};

use super::blackout::{Bits, Layout};

/// How the frames of a file are written.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) layout: Layout,
    pub(crate) frames: usize,
    bits: Bits,
    photometric: String,
    /// Whether frames were compressed, and so that something was lost.
    compressed: bool,
    lossy: bool,
}

impl Stored {
    /// Decodes the first frame to learn how its samples are arranged.
    ///
    /// # Errors
    /// A frame that cannot be decoded; a depth of one bit.
    pub(crate) fn new(dicom: &Dicom, whole: &Whole) -> Result<Self> {
        let object = &whole.object;
        let first = dicom.stored(0)?;
        let number = |tag: Tag| object.get(tag)?.to_int::<u32>().ok();
        let allocated = 8 * first.bytes as u32;
        if number(tags::BITS_ALLOCATED) == Some(1) {
            bail!("its pixels have one bit: a segmentation, which is not de-identified here");
        }
        let stored = number(tags::BITS_STORED).unwrap_or(allocated).clamp(1, allocated);
        // Decoders put the value into the lowest bits.
        let high = number(tags::HIGH_BIT)
            .filter(|high| !whole.compressed && *high < allocated && *high + 1 >= stored);
        let bits = Bits {
            bytes: first.bytes,
            stored,
            high: high.unwrap_or(stored - 1),
            signed: number(tags::PIXEL_REPRESENTATION) == Some(1),
        };
        let (height, width) = dicom.size();
        let black = black(object, first.photometric, bits);
        let layout = Layout { height, width, bytes: first.bytes, black };
        Ok(Self {
            layout,
            frames: dicom.num_frames(),
            bits,
            photometric: first.photometric.to_owned(),
            compressed: whole.compressed,
            lossy: whole.lossy,
        })
    }

    /// A frame's bytes, without bits that are not part of a sample's value.
    ///
    /// # Errors
    /// A frame that cannot be decoded, or that differs from the first in kind.
    pub(crate) fn frame(&self, dicom: &Dicom, index: usize) -> Result<Vec<u8>> {
        let mut frame = dicom.stored(index)?;
        ensure!(
            frame.photometric == self.photometric && frame.data.len() == self.layout.frame_len(),
            "it has {} bytes of {}, but the first frame has {} of {}; convert the file with the program that wrote it",
            frame.data.len(),
            frame.photometric,
            self.layout.frame_len(),
            self.photometric
        );
        self.bits.clear_unused(&mut frame.data);
        Ok(frame.data)
    }

    /// Makes the attributes of the image say how it is written.
    pub(crate) fn describe(&self, object: &mut InMemDicomObject) {
        let samples = self.layout.black.len() as u16;
        let mut number = |tag: Tag, value: u16| {
            object.put(InMemElement::new(tag, VR::US, PrimitiveValue::from(value)))
        };
        number(tags::SAMPLES_PER_PIXEL, samples);
        number(tags::BITS_ALLOCATED, 8 * self.bits.bytes as u16);
        number(tags::BITS_STORED, self.bits.stored as u16);
        number(tags::HIGH_BIT, self.bits.high as u16);
        if samples > 1 {
            number(tags::PLANAR_CONFIGURATION, 0);
        } else {
            object.remove_element(tags::PLANAR_CONFIGURATION);
        }
        object.put(InMemElement::new(
            tags::PHOTOMETRIC_INTERPRETATION,
            VR::CS,
            self.photometric.as_str(),
        ));
        // What was lost stays lost when an image is decompressed.
        if self.lossy {
            object.put(InMemElement::new(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01"));
        }
    }

    /// What a user should know about the pixels.
    pub(crate) fn note(&self) -> Option<String> {
        let text = match (self.compressed, self.lossy) {
            (false, _) => return None,
            (true, true) => "pixels were compressed with loss and are written decoded",
            (true, false) => "pixels were compressed and are written decoded",
        };
        Some(text.into())
    }
}

/// Black in a colour model, one value per sample.
fn black(object: &InMemDicomObject, photometric: &str, bits: Bits) -> Vec<u32> {
    let unit = 1_u64 << (bits.high + 1 - bits.stored);
    let top = (1_u64 << bits.stored) - 1;
    let values = match (photometric, bits.signed) {
        ("MONOCHROME1", false) => vec![top],
        // The largest of the values with a sign, and the smallest.
        ("MONOCHROME1", true) => vec![top / 2],
        ("MONOCHROME2", true) => vec![u64::from(u32::MAX) - top / 2],
        ("PALETTE COLOR", _) => vec![u64::from(darkest(object).unwrap_or(0))],
        ("RGB", _) => vec![0; 3],
        ("YBR_FULL", _) => vec![0, top.div_ceil(2), top.div_ceil(2)],
        _ => vec![0],
    };
    values.into_iter().map(|value| (value * unit) as u32).collect()
}

/// The value whose colour in the palette is darkest. `None` if the palette is segmented or damaged: any one value
/// hides what was there as well.
fn darkest(object: &InMemDicomObject) -> Option<u32> {
    let descriptor = object.get(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR)?;
    let [count, first, bits] = descriptor.to_multi_int::<i64>().ok()?[..] else { return None };
    let count = if count == 0 { 1 << 16 } else { count.rem_euclid(1 << 16) } as usize;
    let table = |tag: Tag| -> Option<Vec<u32>> {
        let words: Vec<u16> = match object.get(tag)?.value().primitive()? {
            PrimitiveValue::U16(words) => words.to_vec(),
            PrimitiveValue::U8(bytes) => {
                bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
            }
            _ => return None,
        };
        let is_packed = bits == 8 && words.len() < count;
        let entries: Vec<u32> = if is_packed {
            words.iter().flat_map(|word| word.to_le_bytes()).map(u32::from).collect()
        } else {
            words.into_iter().map(u32::from).collect()
        };
        (entries.len() >= count).then_some(entries)
    };
    let red = table(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA)?;
    let green = table(tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA)?;
    let blue = table(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA)?;
    let index = (0..count).min_by_key(|&i| red[i] + green[i] + blue[i])?;
    u32::try_from(first + index as i64).ok()
}

/// What tells a file without a UID from others: a hash of its content.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn digest(path: &Path) -> Result<String> {
    let read = || {
        let mut hash = Sha256::new();
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok::<_, std::io::Error>(hash.finalize()),
                len => hash.update(&buffer[..len]),
            }
        }
    };
    let digest = read().with_context(|| format!("cannot read {}", path.display()))?;
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use dicom_core::value::C;

    use super::*;

    fn palette(bits: u16, tables: [&[u16]; 3]) -> InMemDicomObject {
        let mut object = InMemDicomObject::new_empty();
        let descriptor = PrimitiveValue::U16(C::from_slice(&[4, 10, bits]));
        object.put(InMemElement::new(
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            VR::US,
            descriptor,
        ));
        let places = [
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        ];
        for (tag, table) in places.into_iter().zip(tables) {
            object.put(InMemElement::new(tag, VR::OW, PrimitiveValue::U16(C::from_slice(table))));
        }
        object
    }

    #[test]
    fn the_darkest_colour_of_a_palette() {
        let long = palette(16, [&[9, 9, 1, 9], &[9, 0, 1, 9], &[9, 9, 1, 0]]);
        assert_eq!(darkest(&long), Some(12));
        let packed = palette(8, [&[0x0909, 0x0109], &[0x0909, 0x0109], &[0x0909, 0x0109]]);
        assert_eq!(darkest(&packed), Some(13));
        assert_eq!(darkest(&palette(16, [&[1], &[1], &[1]])), None);
        assert_eq!(darkest(&InMemDicomObject::new_empty()), None);
    }

    #[test]
    fn black_by_colour_model() {
        let object = InMemDicomObject::new_empty();
        let black = |photometric, stored, high, signed| {
            let bits = Bits { bytes: 2, stored, high, signed };
            black(&object, photometric, bits)
        };
        assert_eq!(black("MONOCHROME2", 8, 7, false), [0]);
        assert_eq!(black("MONOCHROME1", 8, 7, false), [255]);
        assert_eq!(black("MONOCHROME1", 12, 15, false), [0xfff0]);
        assert_eq!(black("MONOCHROME1", 12, 11, true), [2047]);
        assert_eq!(black("MONOCHROME2", 12, 11, true), [(-2048_i32) as u32]);
        assert_eq!(black("RGB", 8, 7, false), [0, 0, 0]);
        assert_eq!(black("YBR_FULL", 8, 7, false), [0, 128, 128]);
    }
}
