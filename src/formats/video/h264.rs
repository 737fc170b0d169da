//! H.264: how units are framed, which streams OpenH264 (Cisco) decodes, and decoding with it.

use anyhow::{Context, Result};

use super::{
    Unsupported,
    colour::{Colour, Matrix},
    edit_list::Segment,
    sps::Sps,
};

/// What a decoder needs beside the samples.
#[derive(Debug)]
pub(super) struct Stream {
    framing: Framing,
    /// Sequence and picture parameter sets that are stored apart from the samples.
    parameter_sets: Vec<Vec<u8>>,
    pub(super) colour: Colour,
    pub(super) segments: Vec<Segment>,
    /// The container's size, if frames are cut to it.
    pub(super) size: Option<(u32, u32)>,
}

/// How a sample's units are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each is preceded by its length in 1, 2 or 4 bytes.
    Lengths(usize),
    /// Each is preceded by a start code.
    StartCodes,
}

/// What a container says before the first sample.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) framing: Framing,
    pub(super) parameter_sets: Vec<Vec<u8>>,
    /// The container's word on full range and on the code of the colour matrix.
    pub(super) colour: (Option<bool>, Option<u8>),
    /// Height and width, if the container states them.
    pub(super) size: Option<(u32, u32)>,
}

impl Stream {
    /// `first_sample` is asked for when the container has no parameter sets of its own.
    ///
    /// # Errors
    /// [`Unsupported`] if the stream is of a kind that OpenH264 does not decode; damaged parameter sets.
    pub(super) fn new(
        header: Header,
        segments: Vec<Segment>,
        first_sample: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let Header { framing, parameter_sets, colour: (full_range, matrix), size } = header;
        let is_sps = |unit: &&[u8]| unit.first().is_some_and(|head| head & 31 == 7);
        let stored = parameter_sets.iter().map(Vec::as_slice).find(is_sps).map(Sps::parse);
        let sps = match stored {
            Some(sps) => sps?,
            None => {
                let sample = first_sample()?;
                let stream = match framing {
                    Framing::StartCodes => sample,
                    Framing::Lengths(size) => with_start_codes(size, &sample)?,
                };
                let unit = units(&stream).find(is_sps);
                let unit = unit.context("its H.264 stream does not begin with a parameter set")?;
                Sps::parse(unit)?
            }
        };
        if !sps.is_common() {
            return Err(Unsupported(sps.describe()).into());
        }
        super::check_size(sps.height, sps.width)?;
        let (said_range, said_matrix) = sps.colour.map_or((None, None), |(r, m)| (Some(r), m));
        let colour = Colour {
            full_range: said_range.or(full_range).unwrap_or_default(),
            matrix: said_matrix.or(matrix).map(Matrix::from_code).unwrap_or_default(),
        };
        // An odd size cannot be said in 4:2:0 by the stream; as FFmpeg does, the container is believed within
        // the macroblocks.
        let is_near = |&(height, width): &(u32, u32)| {
            let coded = |side: u32| u64::from(side).next_multiple_of(16);
            !sps.crops_start && (coded(height), coded(width)) == (sps.height, sps.width)
        };
        let size = size.filter(is_near);
        Ok(Self { framing, parameter_sets, colour, segments, size })
    }

    /// A sample's units with start codes; `parameter_sets` go before the first of a segment.
    #[cfg_attr(not(feature = "h264"), allow(dead_code))]
    pub(super) fn annex_b(&self, sample: &[u8], is_first: bool) -> Result<Vec<u8>> {
        let mut stream = Vec::with_capacity(sample.len() + 64);
        if is_first {
            for set in &self.parameter_sets {
                stream.extend(START_CODE);
                stream.extend(set);
            }
        }
        match self.framing {
            Framing::StartCodes => stream.extend(sample),
            Framing::Lengths(size) => stream.extend(with_start_codes(size, sample)?),
        }
        Ok(stream)
    }
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

fn with_start_codes(length_size: usize, mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = Vec::with_capacity(bytes.len() + 16);
    while !bytes.is_empty() {
        let (len, rest) =
            bytes.split_at_checked(length_size).context("the length of a unit is truncated")?;
        let len = len.iter().fold(0_usize, |n, &byte| n << 8 | usize::from(byte));
        let (unit, rest) = rest
            .split_at_checked(len)
            .with_context(|| format!("a unit claims {len} bytes, {} are left", rest.len()))?;
        stream.extend(START_CODE);
        stream.extend(unit);
        bytes = rest;
    }
    Ok(stream)
}

/// The units of a stream with start codes, without those; trailing zeros may remain.
fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = |from: usize| {
        let code = stream.get(from..)?.windows(3).position(|w| w == [0, 0, 1])?;
        Some(from + code + 3)
    };
    let mut next = starts(0);
    std::iter::from_fn(move || {
        let start = next?;
        next = starts(start);
        stream.get(start..next.map_or(stream.len(), |next| next - 3))
    })
}
