//! Detects truncated JPEGs, which decoders tolerate but training must not, and kinds that cannot be read.

use anyhow::{Result, ensure};

/// Refuses a JPEG of 12 bits or without losses, and one that ends before its end-of-image marker: the
/// decoder would fill the rest with grey, and the model would be trained on half an image.
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
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            let bits = bytes.get(at + 4).copied().unwrap_or(8);
            ensure!(
                bits == 8 && !matches!(marker, 0xC3 | 0xC7 | 0xCB | 0xCF),
                "a {} JPEG of {bits} bits per channel cannot be read; save it as a PNG with 8 bits per \
                 channel",
                if marker & 3 == 3 { "lossless" } else { "lossy" }
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_cannot_be_read_are_told_by_their_frame() {
        let jpeg = |marker: u8, bits: u8| {
            let frame = [0xFF, marker, 0, 11, bits, 0, 1, 0, 1, 1, 1, 0x11, 0];
            let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0xFF, 0xD9];
            [&[0xFF, 0xD8][..], &frame, &scan].concat()
        };
        assert!(check_complete(&jpeg(0xC0, 8)).is_ok());
        for (marker, bits, expected) in
            [(0xC1, 12, "a lossy JPEG of 12 bits"), (0xC3, 16, "a lossless")]
        {
            let error = check_complete(&jpeg(marker, bits)).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("PNG"), "{error}");
        }
    }
}
