//! AVI (RIFF and OpenDML): reads the lists of chunks; the index is not needed.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use anyhow::{Context, Result, ensure};

use super::{
    Codec, Contents, Sample, Unsupported, check_size,
    edit_list::Segment,
    fourcc,
    h264::{Framing, Header, Stream},
    mjpeg, read_sample,
    turn::Turn,
};
use crate::Pixels;

/// Real files nest lists at most four deep.
const MAX_DEPTH: usize = 8;
/// A format header with a palette has about a thousand bytes.
const MAX_HEADER: u32 = 1 << 16;

/// How uncompressed frames are laid out.
#[derive(Debug)]
pub(super) struct Bitmap {
    height: u32,
    width: u32,
    /// Rows from bottom to top, as is usual.
    bottom_up: bool,
    bits: u16,
    /// RGB for each 8-bit value; grey if empty.
    palette: Vec<[u8; 3]>,
}

enum Format {
    /// With the height that the container states.
    Mjpeg(u32),
    Uncompressed(Bitmap),
    H264,
}

#[derive(Default)]
struct Reading {
    /// Streams seen so far.
    streams: usize,
    video: Option<(usize, Format)>,
    /// Type and handler of the stream being described.
    header: Option<([u8; 4], [u8; 4])>,
    samples: Vec<Sample>,
}

pub(super) fn read(file: &mut File, len: u64) -> Result<Contents> {
    let mut reading = Reading::default();
    chunks(file, 0, len, 0, &mut reading)?;
    let (_, format) = reading.video.context("it has no video stream")?;
    let samples = reading.samples;
    let first = *samples.first().context("its video has no frames")?;
    let codec = match format {
        Format::Mjpeg(height) => {
            mjpeg::inspect(&read_sample(file, first)?, height)?;
            Codec::Mjpeg
        }
        Format::Uncompressed(bitmap) => Codec::Uncompressed(bitmap),
        Format::H264 => h264(file, &samples)?,
    };
    let shown = (0..u32::try_from(samples.len()).context("it has too many frames")?).collect();
    Ok(Contents { codec, samples, shown, turn: Turn::None })
}

/// AVI has no times: frames are shown in the order in which the decoder gives them.
fn h264(file: &mut File, samples: &[Sample]) -> Result<Codec> {
    let first = read_sample(file, *samples.first().context("its video has no frames")?)?;
    if !first.starts_with(&[0, 0, 1]) && !first.starts_with(&[0, 0, 0, 1]) {
        return Err(Unsupported("H.264 without start codes in an AVI".to_owned()).into());
    }
    let header = Header {
        framing: Framing::StartCodes,
        parameter_sets: Vec::new(),
        colour: (None, None),
        size: None,
    };
    let segments = vec![Segment { samples: 0..samples.len(), shown: 0..samples.len() }];
    Ok(Codec::H264(Stream::new(header, segments, || Ok(first))?))
}

fn chunks(file: &mut File, start: u64, end: u64, depth: usize, into: &mut Reading) -> Result<()> {
    ensure!(depth < MAX_DEPTH, "its lists are nested more than {MAX_DEPTH} deep");
    let mut at = start;
    while at + 8 <= end {
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head).context("it is truncated")?;
        let id = [head[0], head[1], head[2], head[3]];
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let (data, stop) = (at + 8, at + 8 + u64::from(size));
        ensure!(
            stop <= end,
            "it is truncated: the chunk {} at byte {at} claims {size} bytes, {} are left",
            fourcc(&id),
            end - data
        );
        match &id {
            b"RIFF" | b"LIST" => {
                let mut kind = [0; 4];
                ensure!(size >= 4, "an empty list at byte {at}");
                file.read_exact(&mut kind).context("it is truncated")?;
                if matches!(&kind, b"AVI " | b"AVIX" | b"hdrl" | b"strl" | b"movi" | b"rec ") {
                    chunks(file, data + 4, stop, depth + 1, into)?;
                }
            }
            b"strh" => into.stream_header(&header(file, size)?)?,
            b"strf" => into.stream_format(&header(file, size)?)?,
            _ => into.frame(id, data, size),
        }
        at = stop + u64::from(size % 2);
    }
    Ok(())
}

fn header(file: &mut File, size: u32) -> Result<Vec<u8>> {
    ensure!(size <= MAX_HEADER, "one of its headers claims {size} bytes");
    let mut bytes = vec![0; size as usize];
    file.read_exact(&mut bytes).context("it is truncated")?;
    Ok(bytes)
}

impl Reading {
    fn stream_header(&mut self, bytes: &[u8]) -> Result<()> {
        ensure!(bytes.len() >= 8, "a stream header is too short");
        let code = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        self.header = Some((code(0), code(4)));
        self.streams += 1;
        Ok(())
    }

    /// `BITMAPINFOHEADER`, for the first video stream.
    fn stream_format(&mut self, bytes: &[u8]) -> Result<()> {
        let Some((kind, handler)) = self.header.take() else { return Ok(()) };
        if &kind != b"vids" || self.video.is_some() {
            return Ok(());
        }
        ensure!(bytes.len() >= 40, "the format of its video is too short");
        let int = |at: usize| {
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let compression = &bytes[16..20];
        let format = match compression {
            b"MJPG" | b"mjpg" => Format::Mjpeg(int(8).unsigned_abs()),
            [0, 0, 0, 0] => Format::Uncompressed(bitmap(bytes, int(4), int(8))?),
            b"H264" | b"h264" | b"X264" | b"x264" | b"avc1" | b"AVC1" => Format::H264,
            _ => return Err(Unsupported(name(compression, handler)).into()),
        };
        self.video = Some((self.streams - 1, format));
        Ok(())
    }

    /// A chunk `##dc` or `##db` with the video's number. An empty chunk is a frame that was
    /// dropped while recording; no decoder counts it.
    fn frame(&mut self, id: [u8; 4], start: u64, len: u32) {
        let Some((video, _)) = self.video else { return };
        let number = format!("{video:02}");
        if len > 0 && &id[..2] == number.as_bytes() && matches!(&id[2..], b"dc" | b"db") {
            self.samples.push(Sample { start, len });
        }
    }
}

/// What a four-character code stands for.
fn name(code: &[u8], handler: [u8; 4]) -> String {
    let text = fourcc(code);
    let family = match text.to_ascii_uppercase().as_str() {
        "FMP4" | "XVID" | "DIVX" | "DX50" | "MP4V" | "3IVX" => "MPEG-4 Part 2",
        "DIV3" | "DIV4" | "MP43" | "MP42" => "Microsoft's MPEG-4",
        "MPG1" | "MPEG" => "MPEG-1",
        "MPG2" => "MPEG-2",
        "CVID" => "Cinepak",
        "DVSD" | "DV25" => "DV",
        "MRLE" => "run-length encoding",
        _ => return format!("the format {text} (handler {})", fourcc(&handler)),
    };
    format!("{family} ({text})")
}

fn bitmap(bytes: &[u8], width: i32, height: i32) -> Result<Bitmap> {
    let bits = u16::from_le_bytes([bytes[14], bytes[15]]);
    ensure!(
        matches!(bits, 8 | 24 | 32),
        "its uncompressed pixels have {bits} bits, not 8, 24 or 32"
    );
    let bottom_up = height > 0;
    let (height, width) = (height.unsigned_abs(), u32::try_from(width).unwrap_or(0));
    check_size(height.into(), width.into())?;
    let palette = if bits == 8 {
        bytes[40..].chunks_exact(4).map(|c| [c[2], c[1], c[0]]).collect()
    } else {
        Vec::new()
    };
    Ok(Bitmap { height, width, bottom_up, bits, palette })
}

impl Bitmap {
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Pixels> {
        let (height, width) = (self.height as usize, self.width as usize);
        let bytes_each = usize::from(self.bits / 8);
        let stride = (width * bytes_each).next_multiple_of(4);
        let needed = stride * (height - 1) + width * bytes_each;
        ensure!(
            bytes.len() >= needed,
            "it has {} bytes, but {height}×{width} pixels need {needed}",
            bytes.len()
        );
        let is_grey = self.bits == 8
            && self.palette.iter().enumerate().all(|(i, c)| c.iter().all(|&v| usize::from(v) == i));
        let channels = if is_grey { 1 } else { 3 };
        let mut data = Vec::with_capacity(height * width * channels);
        for row in 0..height {
            let row = if self.bottom_up { height - 1 - row } else { row };
            let pixels = &bytes[row * stride..row * stride + width * bytes_each];
            match (self.bits, is_grey) {
                (8, true) => data.extend(pixels),
                (8, false) => {
                    let color =
                        |&v: &u8| self.palette.get(usize::from(v)).copied().unwrap_or_default();
                    data.extend(pixels.iter().flat_map(color));
                }
                _ => data.extend(pixels.chunks_exact(bytes_each).flat_map(|p| [p[2], p[1], p[0]])),
            }
        }
        Ok(Pixels { height: self.height, width: self.width, channels, data })
    }
}
