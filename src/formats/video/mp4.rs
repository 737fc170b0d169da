//! MP4 and QuickTime (ISO/IEC 14496-12): finds the samples of the video track.
//!
//! Published demultiplexers index their tables by values from the file and panic on malformed files;
//! only six tables are needed here.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use anyhow::{Context, Result, bail, ensure};

use super::{Codec, Contents, Sample, fourcc, remedy};

/// An hour at 60 frames a second has 216,000 samples.
const MAX_SAMPLES: u32 = 10_000_000;
/// The tables of such a video take a few MB.
const MAX_MOOV: u64 = 256 << 20;

/// What a decoder needs before the first sample.
#[derive(Debug)]
#[cfg_attr(not(feature = "h264"), allow(dead_code))]
pub(super) struct AvcConfig {
    /// Bytes of the length before each unit of a sample: 1, 2 or 4.
    pub(super) length_size: usize,
    /// Sequence and picture parameter sets.
    pub(super) parameter_sets: Vec<Vec<u8>>,
}

pub(super) fn read(file: &mut File, len: u64) -> Result<Contents> {
    let moov = find_moov(file, len)?;
    let moov = Boxes(&moov);
    for track in moov.all(b"trak") {
        let media = Boxes(Boxes(track).one(b"mdia")?);
        if media.one(b"hdlr")?.get(8..12) != Some(b"vide") {
            continue;
        }
        let tables = Boxes(Boxes(media.one(b"minf")?).one(b"stbl")?);
        let codec = codec(tables.one(b"stsd")?)?;
        let samples = samples(tables, len)?;
        if samples.is_empty() && moov.all(b"mvex").next().is_some() {
            bail!("it is fragmented; remux it with `ffmpeg -i in.mp4 -c copy out.mp4`");
        }
        return Ok(Contents { codec, samples });
    }
    bail!("it has no video track")
}

fn find_moov(file: &mut File, len: u64) -> Result<Vec<u8>> {
    let mut at = 0;
    while at + 8 <= len {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head[..8]).context("it is truncated")?;
        let mut header = 8;
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => len - at,
            1 => {
                file.read_exact(&mut head[8..]).context("it is truncated")?;
                header = 16;
                let large = &head[8..];
                large.iter().fold(0_u64, |n, &byte| n << 8 | u64::from(byte))
            }
            size => u64::from(size),
        };
        let kind = fourcc(&head[4..8]);
        ensure!(
            size >= header && size <= len - at,
            "it is truncated: the box {kind} at byte {at} claims {size} bytes, {} are left",
            len - at
        );
        if &head[4..8] == b"moov" {
            ensure!(size <= MAX_MOOV, "its index claims {size} bytes");
            let mut bytes = vec![0; (size - header) as usize];
            file.read_exact(&mut bytes).context("it is truncated")?;
            return Ok(bytes);
        }
        at += size;
    }
    bail!(
        "it has no index (box moov): the recording was not closed properly, or the file is truncated"
    )
}

/// The boxes within a box.
#[derive(Clone, Copy)]
struct Boxes<'a>(&'a [u8]);

impl<'a> Boxes<'a> {
    fn all(self, kind: &'static [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while let Some((head, _)) = rest.split_at_checked(8) {
                let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
                let size = if size == 0 { rest.len() } else { size };
                let found = rest.get(8..size)?;
                rest = &rest[size..];
                if &head[4..8] == kind {
                    return Some(found);
                }
            }
            None
        })
    }

    fn one(self, kind: &'static [u8; 4]) -> Result<&'a [u8]> {
        self.all(kind).next().with_context(|| format!("its index has no box {}", fourcc(kind)))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let bytes = bytes.get(at..at + 2).context("a box of its index is too short")?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("a box of its index is too short")?;
    Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The first entry of `stsd`.
fn codec(stsd: &[u8]) -> Result<Codec> {
    let entry = stsd.get(8..).context("its video has no format")?;
    let kind = entry.get(4..8).context("its video has no format")?;
    let name = match kind {
        b"avc1" | b"avc3" => {
            // A visual sample entry has 86 bytes before the boxes within it.
            let within = entry.get(86..).context("the format of its video is too short")?;
            return Ok(Codec::H264(avc_config(Boxes(within).one(b"avcC")?)?));
        }
        b"jpeg" | b"mjpa" | b"mjpg" => return Ok(Codec::Mjpeg),
        b"mp4v" => "MPEG-4 Part 2".to_owned(),
        b"hvc1" | b"hev1" => "H.265".to_owned(),
        b"av01" => "AV1".to_owned(),
        b"vp08" | b"vp09" => "VP8 or VP9".to_owned(),
        other => fourcc(other),
    };
    bail!("its video is in {}", remedy(&name))
}

fn avc_config(bytes: &[u8]) -> Result<AvcConfig> {
    let short = "its H.264 configuration is too short";
    let &[_version, _profile, _, _level, sizes, num_sps, ref rest @ ..] = bytes else {
        bail!(short)
    };
    let mut sets = Vec::new();
    let mut take = |mut rest: &[u8], count: u8| -> Result<usize> {
        let before = rest.len();
        for _ in 0..count {
            let len = usize::from(u16_at(rest, 0)?);
            sets.push(rest.get(2..2 + len).context(short)?.to_vec());
            rest = &rest[2 + len..];
        }
        Ok(before - rest.len())
    };
    let used = take(rest, num_sps & 31)?;
    if let Some((&num_pps, rest)) = rest[used..].split_first() {
        take(rest, num_pps)?;
    }
    let length_size = usize::from(sizes & 3) + 1;
    ensure!(length_size != 3, "its H.264 units have lengths of 3 bytes");
    Ok(AvcConfig { length_size, parameter_sets: sets })
}

/// Derives the samples from their sizes, the offsets of chunks and the number of samples per chunk.
fn samples(tables: Boxes, file_len: u64) -> Result<Vec<Sample>> {
    let stsz = tables.one(b"stsz")?;
    let (same, count) = (u32_at(stsz, 4)?, u32_at(stsz, 8)?);
    ensure!(count <= MAX_SAMPLES, "its index claims {count} frames");
    let (chunks, wide) = match tables.all(b"stco").next() {
        Some(stco) => (stco, false),
        None => (tables.all(b"co64").next().context("its index has no chunk offsets")?, true),
    };
    let num_chunks = u32_at(chunks, 4)? as usize;
    let runs = tables.one(b"stsc")?;
    let num_runs = u32_at(runs, 4)? as usize;
    let (mut samples, mut run) = (Vec::new(), 0);
    for chunk in 0..num_chunks {
        let at = 8 + chunk * if wide { 8 } else { 4 };
        let mut start = if wide {
            u64::from(u32_at(chunks, at)?) << 32 | u64::from(u32_at(chunks, at + 4)?)
        } else {
            u64::from(u32_at(chunks, at)?)
        };
        // Runs name the chunk they start with, counted from 1.
        while run + 1 < num_runs && u32_at(runs, 8 + 12 * (run + 1))? as usize <= chunk + 1 {
            run += 1;
        }
        for _ in 0..u32_at(runs, 8 + 12 * run + 4)? {
            if samples.len() == count as usize {
                return Ok(samples);
            }
            let len = if same == 0 { u32_at(stsz, 12 + 4 * samples.len())? } else { same };
            let end = start.checked_add(u64::from(len)).filter(|&end| end <= file_len);
            let sample = Sample { start, len };
            start = end.with_context(|| {
                format!("it is truncated: frame {} should be at byte {start}", samples.len())
            })?;
            samples.push(sample);
        }
    }
    ensure!(
        samples.len() == count as usize,
        "its index claims {count} frames but locates {}",
        samples.len()
    );
    Ok(samples)
}
