//! Writes DICOM, uncompressed.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use crate::Pixels;

/// What a DICOM file says of its frames.
#[derive(Debug, Clone, Copy)]
pub struct DicomHead<'a> {
    pub patient: &'a str,
    /// Millimetres a pixel: row, column.
    pub spacing: Option<[f64; 2]>,
}

/// Writes grey or RGB frames of one size, 8 bit, as an ultrasound image or cine in explicit VR, little endian.
///
/// # Errors
/// Without frames, when sizes differ, or when writing fails.
pub fn dicom(path: &Path, frames: &[Pixels], head: DicomHead<'_>) -> Result<()> {
    let Some(Pixels { height, width, channels, .. }) = frames.first() else {
        anyhow::bail!("a file has at least one frame")
    };
    let same = |f: &Pixels| (f.height, f.width, f.channels) == (*height, *width, *channels);
    ensure!(frames.iter().all(same), "frames differ in size");
    let class = if frames.len() > 1 {
        "1.2.840.10008.5.1.4.1.1.3.1"
    } else {
        "1.2.840.10008.5.1.4.1.1.6.1"
    };
    let instance = "1.2.826.0.1.3680043.10.1";
    let short = |value: u32| (value as u16).to_le_bytes().to_vec();

    let mut meta = element(0x0002_0001, b"OB", &[0, 1]);
    meta.extend(element(0x0002_0002, b"UI", &uid(class)));
    meta.extend(element(0x0002_0003, b"UI", &uid(instance)));
    meta.extend(element(0x0002_0010, b"UI", &uid("1.2.840.10008.1.2.1")));

    let mut set = element(0x0008_0016, b"UI", &uid(class));
    set.extend(element(0x0008_0018, b"UI", &uid(instance)));
    set.extend(element(0x0008_0060, b"CS", b"US"));
    set.extend(element(0x0010_0020, b"LO", &text(head.patient)));
    set.extend(element(0x0020_000d, b"UI", &uid("1.2.826.0.1.3680043.10.2")));
    set.extend(element(0x0020_000e, b"UI", &uid("1.2.826.0.1.3680043.10.3")));
    set.extend(element(0x0028_0002, b"US", &short(*channels as u32)));
    let colours = if *channels == 1 { "MONOCHROME2" } else { "RGB" };
    set.extend(element(0x0028_0004, b"CS", &text(colours)));
    if *channels == 3 {
        set.extend(element(0x0028_0006, b"US", &short(0)));
    }
    if frames.len() > 1 {
        set.extend(element(0x0028_0008, b"IS", &text(&frames.len().to_string())));
    }
    set.extend(element(0x0028_0010, b"US", &short(*height)));
    set.extend(element(0x0028_0011, b"US", &short(*width)));
    if let Some([row, column]) = head.spacing {
        set.extend(element(0x0028_0030, b"DS", &text(&format!("{row}\\{column}"))));
    }
    for (tag, value) in [(0x0100, 8), (0x0101, 8), (0x0102, 7), (0x0103, 0)] {
        set.extend(element(0x0028_0000 | tag, b"US", &short(value)));
    }
    let pixels: Vec<u8> = frames.iter().flat_map(|frame| frame.data.iter().copied()).collect();
    set.extend(element(0x7fe0_0010, b"OW", &pixels));

    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(element(0x0002_0000, b"UL", &(meta.len() as u32).to_le_bytes()));
    file.extend(meta);
    file.extend(set);
    Ok(fs::write(path, file)?)
}

/// A UID, padded to an even length.
fn uid(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), b' ');
    bytes
}

/// An element in explicit VR: group and element of the tag, VR, length, value.
fn element(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = ((tag >> 16) as u16).to_le_bytes().to_vec();
    bytes.extend((tag as u16).to_le_bytes());
    bytes.extend(vr);
    let padded = value.len().next_multiple_of(2);
    if matches!(vr, b"OB" | b"OW") {
        bytes.extend([0, 0]);
        bytes.extend((padded as u32).to_le_bytes());
    } else {
        bytes.extend((padded as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes.resize(bytes.len() + padded - value.len(), 0);
    bytes
}
