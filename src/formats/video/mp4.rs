//! MP4 and QuickTime (ISO/IEC 14496-12): finds the video track, its codec and the frames it shows.
//!
//! Published demultiplexers index their tables by values from the file and panic on malformed files;
//! only a few tables are needed here.

use std::fs::File;

use anyhow::{Context, Result, bail, ensure};

use super::{
    Codec, Contents, Unsupported,
    boxes::{Boxes, has_box, read_moov, u16_at, u32_at},
    edit_list, fourcc,
    h264::{Framing, Header, Stream},
    mjpeg, read_sample,
    samples::{self, Samples},
    turn::Turn,
};

pub(super) fn read(file: &mut File, len: u64) -> Result<Contents> {
    let moov = read_moov(file, len)?;
    let moov = Boxes(&moov);
    for track in moov.all(b"trak").map(Boxes) {
        let media = Boxes(track.one(b"mdia")?);
        if media.one(b"hdlr")?.get(8..12) == Some(b"vide") {
            return read_track(file, len, moov, track, media);
        }
    }
    bail!("it has no video track")
}

fn read_track(
    file: &mut File,
    len: u64,
    moov: Boxes,
    track: Boxes,
    media: Boxes,
) -> Result<Contents> {
    let tables = Boxes(Boxes(media.one(b"minf")?).one(b"stbl")?);
    let format = Format::read(tables.one(b"stsd")?)?;
    if moov.first(b"mvex").is_some() && has_box(file, len, b"moof")? {
        return Err(Unsupported(format!("{} in a fragmented MP4", format.name())).into());
    }
    let samples = samples::read(tables, len)?;
    ensure!(!samples.places.is_empty(), "its video has no frames");
    let edits = track.first(b"edts").and_then(|edts| Boxes(edts).first(b"elst"));
    let movie_scale = moov.first(b"mvhd").map_or(Ok(0), time_scale)?;
    let track_scale = media.first(b"mdhd").map_or(Ok(0), time_scale)?;
    let (segments, shown) = edit_list::present(&samples, edits, movie_scale, track_scale)?;
    ensure!(!shown.is_empty(), "its edit list shows none of its {} frames", samples.places.len());
    let codec = format.codec(file, &samples, segments)?;
    let turn = track.first(b"tkhd").map_or(Ok(Turn::None), turn)?;
    Ok(Contents { codec, samples: samples.places, shown, turn })
}

/// Units in a second, of `mvhd` or `mdhd`.
fn time_scale(header: &[u8]) -> Result<u32> {
    u32_at(header, if header.first() == Some(&1) { 20 } else { 12 })
}

/// The matrix of `tkhd` maps stored pixels to shown ones.
fn turn(header: &[u8]) -> Result<Turn> {
    let at = if header.first() == Some(&1) { 52 } else { 40 };
    let value = |i: usize| Ok::<_, anyhow::Error>(u32_at(header, at + 4 * i)?.cast_signed());
    // Rows of three; the first two of each of the first two rows turn.
    Ok(Turn::from_matrix([value(0)?, value(1)?, value(3)?, value(4)?]))
}

/// The first entry of `stsd`.
struct Format<'a> {
    kind: [u8; 4],
    /// Bytes from the length of the entry on.
    entry: &'a [u8],
}

/// A visual sample entry has 86 bytes before the boxes within it.
const BEFORE_BOXES: usize = 86;

impl<'a> Format<'a> {
    fn read(stsd: &'a [u8]) -> Result<Self> {
        let entry = stsd.get(8..).context("its video has no format")?;
        let kind = entry.get(4..8).context("its video has no format")?;
        let format = Self { kind: [kind[0], kind[1], kind[2], kind[3]], entry };
        // The samples of a second format would need its parameters.
        if u32_at(stsd, 4)? > 1 {
            return Err(
                Unsupported(format!("several formats in turn, first {}", format.name())).into()
            );
        }
        Ok(format)
    }

    fn name(&self) -> String {
        match &self.kind {
            b"avc1" | b"avc3" => "H.264".to_owned(),
            b"jpeg" | b"mjpa" | b"mjpb" | b"mjpg" => "Motion JPEG".to_owned(),
            b"mp4v" => "MPEG-4 Part 2".to_owned(),
            b"hvc1" | b"hev1" => "H.265".to_owned(),
            b"av01" => "AV1".to_owned(),
            b"vp08" | b"vp09" => "VP8 or VP9".to_owned(),
            other => fourcc(other),
        }
    }

    fn codec(
        &self,
        file: &mut File,
        samples: &Samples,
        segments: Vec<edit_list::Segment>,
    ) -> Result<Codec> {
        let mut first_sample = || read_sample(file, samples.places[0]);
        match &self.kind {
            b"avc1" | b"avc3" => {
                let within = self
                    .entry
                    .get(BEFORE_BOXES..)
                    .context("the format of its video is too short")?;
                let mut header = avc_header(Boxes(within))?;
                header.size =
                    Some((u16_at(self.entry, 34)?.into(), u16_at(self.entry, 32)?.into()));
                Ok(Codec::H264(Stream::new(header, segments, first_sample)?))
            }
            b"jpeg" | b"mjpa" | b"mjpg" => {
                mjpeg::inspect(&first_sample()?, u32::from(u16_at(self.entry, 34)?))?;
                Ok(Codec::Mjpeg)
            }
            _ => Err(Unsupported(self.name()).into()),
        }
    }
}

fn avc_header(within: Boxes) -> Result<Header> {
    let bytes = within.one(b"avcC")?;
    let short = "its H.264 configuration is too short";
    let &[_version, _profile, _, _level, sizes, num_sps, ref rest @ ..] = bytes else {
        bail!(short)
    };
    let mut parameter_sets = Vec::new();
    let mut take = |mut rest: &[u8], count: u8| -> Result<usize> {
        let before = rest.len();
        for _ in 0..count {
            let len = usize::from(u16_at(rest, 0)?);
            parameter_sets.push(rest.get(2..2 + len).context(short)?.to_vec());
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
    let colour = within.first(b"colr").map_or((None, None), container_colour);
    let framing = Framing::Lengths(length_size);
    Ok(Header { framing, parameter_sets, colour, size: None })
}

/// `colr` of MP4 (`nclx`) says matrix and range, that of QuickTime (`nclc`) the matrix alone.
fn container_colour(colr: &[u8]) -> (Option<bool>, Option<u8>) {
    const UNSPECIFIED: u8 = 2;
    let matrix = colr.get(9).copied().filter(|&code| code != UNSPECIFIED);
    match colr.get(..4) {
        Some(b"nclx") => (colr.get(10).map(|flags| flags & 0x80 != 0), matrix),
        Some(b"nclc") => (None, matrix),
        _ => (None, None),
    }
}
