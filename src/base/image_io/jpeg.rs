//! Detects truncated JPEGs, which decoders tolerate but training must not.

use anyhow::{Result, ensure};

/// Refuses a JPEG that ends before its end-of-image marker. The decoder would fill the rest with
/// grey, and the model would be trained on half an image.
///
/// Walks the segments up to the first scan; in scan data 0xFF is escaped, so the marker's two
/// bytes can only be the marker. Thumbnails inside EXIF segments have their own marker and are
/// skipped with their segment.
pub(super) fn check_complete(bytes: &[u8]) -> Result<()> {
    const START_OF_SCAN: u8 = 0xDA;
    let mut at = 2;
    loop {
        let header = bytes.get(at..at + 4);
        let Some(&[0xFF, marker, high, low]) = header else {
            // Not a segment: fill bytes are legal; the decoder reports anything else.
            ensure!(at + 4 <= bytes.len(), "truncated: the file ends within the JPEG header");
            at += 1;
            continue;
        };
        if marker == START_OF_SCAN {
            break;
        }
        let stands_alone = marker == 0xFF || marker == 0x01 || (0xD0..=0xD8).contains(&marker);
        at += match (marker, stands_alone) {
            (0xFF, _) => 1,
            (_, true) => 2,
            _ => 2 + usize::from(u16::from_be_bytes([high, low])),
        };
    }
    ensure!(
        bytes[at..].windows(2).rev().any(|pair| pair == [0xFF, 0xD9]),
        "truncated: the JPEG has no end-of-image marker"
    );
    Ok(())
}
