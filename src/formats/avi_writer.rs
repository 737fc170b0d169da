//! Writes Motion JPEG in AVI, frame by frame: what every player, FFmpeg and OpenCV read.

use std::io::{Seek, SeekFrom, Write};

use anyhow::{Context, Result, ensure};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};

use crate::Pixels;

/// An index entry per frame is kept; a file ends below 4 GiB, which its sizes can say.
const MOST_BYTES: u64 = u32::MAX as u64 - (1 << 24);
const KEYFRAME: u32 = 0x10;
const HAS_INDEX: u32 = 0x10;

/// An AVI file being written.
#[derive(Debug)]
pub struct AviWriter<W> {
    out: W,
    format: AviFormat,
    /// Place of each frame after the list's name `movi`, and its length.
    index: Vec<(u32, u32)>,
    /// Bytes of the list of frames, its name included.
    list_bytes: u64,
}

/// What all frames have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AviFormat {
    pub height: u32,
    pub width: u32,
    pub frames_per_second: u32,
    /// Of JPEG, 1 to 100.
    pub quality: u8,
}

impl<W: Write + Seek> AviWriter<W> {
    /// Begins at the current position of `out`, which must be its start.
    ///
    /// # Errors
    /// Errors from writing.
    pub fn new(mut out: W, format: AviFormat) -> Result<Self> {
        out.write_all(&header(format, 0, 4, 0))?;
        Ok(Self { out, format, index: Vec::new(), list_bytes: 4 })
    }

    /// Appends a frame, grey or RGB.
    ///
    /// # Errors
    /// If it has another size than the others, or the file would exceed 4 GiB; errors from writing.
    pub fn add(&mut self, frame: &Pixels) -> Result<()> {
        let AviFormat { height, width, quality, .. } = self.format;
        ensure!(
            (frame.height, frame.width) == (height, width),
            "frames differ in size: {}×{} after {height}×{width}",
            frame.height,
            frame.width
        );
        let color =
            if frame.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, quality).encode(
            &frame.data,
            width,
            height,
            color,
        )?;
        let bytes = chunk(b"00dc", &jpeg);
        ensure!(
            self.list_bytes + (bytes.len() as u64) < MOST_BYTES,
            "an AVI file ends at 4 GiB, after {} frames",
            self.index.len()
        );
        self.out.write_all(&bytes)?;
        self.index.push((self.list_bytes as u32, jpeg.len() as u32));
        self.list_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes the index and the counts, and returns the file.
    ///
    /// # Errors
    /// Without frames; errors from writing.
    pub fn finish(mut self) -> Result<W> {
        ensure!(!self.index.is_empty(), "a video has at least one frame");
        let mut index = Vec::with_capacity(16 * self.index.len());
        for &(place, len) in &self.index {
            index.extend(b"00dc");
            index.extend(words(&[KEYFRAME, place, len]));
        }
        let index = chunk(b"idx1", &index);
        self.out.write_all(&index)?;
        self.out.seek(SeekFrom::Start(0))?;
        let count = self.index.len() as u32;
        let list = u32::try_from(self.list_bytes).context("an AVI file ends at 4 GiB")?;
        self.out.write_all(&header(self.format, count, list, index.len() as u32))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Everything up to the first frame.
fn header(format: AviFormat, count: u32, list_bytes: u32, index_bytes: u32) -> Vec<u8> {
    let AviFormat { height, width, frames_per_second, .. } = format;
    let microseconds = 1_000_000 / frames_per_second.max(1);
    let main = words(&[microseconds, 0, 0, HAS_INDEX, count, 0, 1, 0, width, height, 0, 0, 0, 0]);
    let mut stream = b"vidsMJPG".to_vec();
    stream.extend(words(&[0, 0, 0, 1, frames_per_second, 0, count, 0, u32::MAX, 0, 0, 0]));
    let mut bitmap = words(&[40, width, height]);
    bitmap.extend([1, 0, 24, 0]);
    bitmap.extend(b"MJPG");
    bitmap.extend(words(&[width.saturating_mul(height).saturating_mul(3), 0, 0, 0, 0]));
    let strl = [b"strl".to_vec(), chunk(b"strh", &stream), chunk(b"strf", &bitmap)].concat();
    let hdrl = [b"hdrl".to_vec(), chunk(b"avih", &main), chunk(b"LIST", &strl)].concat();
    let hdrl = chunk(b"LIST", &hdrl);
    let riff_bytes = 4 + hdrl.len() as u32 + 8 + list_bytes + index_bytes;
    let mut all = b"RIFF".to_vec();
    all.extend(words(&[riff_bytes]));
    all.extend(b"AVI ");
    all.extend(hdrl);
    all.extend(b"LIST");
    all.extend(words(&[list_bytes]));
    all.extend(b"movi");
    all
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn chunk(id: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = id.to_vec();
    chunk.extend((data.len() as u32).to_le_bytes());
    chunk.extend(data);
    // Chunks start at even offsets.
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::Video;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.avi");
        let format = AviFormat { height: 16, width: 24, frames_per_second: 25, quality: 95 };
        let mut writer = AviWriter::new(std::fs::File::create(&path).unwrap(), format).unwrap();
        let frame = |level| Pixels { height: 16, width: 24, channels: 1, data: vec![level; 384] };
        for level in [20, 120, 220] {
            writer.add(&frame(level)).unwrap();
        }
        let small = Pixels { height: 8, width: 48, ..frame(0) };
        let error = writer.add(&small).unwrap_err().to_string();
        assert!(error.contains("8×48 after 16×24"), "{error}");
        writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize, bytes.len() - 8);
        // The index gives the place of each frame after `movi`.
        let movi = bytes.windows(4).position(|name| name == b"movi").unwrap();
        let idx1 = bytes.windows(4).position(|name| name == b"idx1").unwrap();
        for entry in bytes[idx1 + 8..].chunks_exact(16) {
            let place = u32::from_le_bytes(entry[8..12].try_into().unwrap()) as usize;
            assert_eq!(&bytes[movi + place..movi + place + 4], b"00dc");
        }
        let video = Video::open(&path).unwrap();
        let levels: Vec<u8> = (0..3).map(|i| video.frame(i).unwrap().data[0]).collect();
        assert_eq!(video.num_frames(), 3);
        assert!(levels.iter().zip([20, 120, 220]).all(|(got, level)| got.abs_diff(level) < 3));
    }
}
