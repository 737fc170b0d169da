//! The sample tables of a track: where each coded frame is stored, when it is shown, and which ones
//! can be decoded without others.

use anyhow::{Context, Result, ensure};

use super::{
    Sample,
    boxes::{Boxes, records, u32_at, u64_at},
};

/// An hour at 60 frames a second has 216,000 samples.
const MAX_SAMPLES: u32 = 10_000_000;

/// The coded frames of a track, in decoding order.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) places: Vec<Sample>,
    /// When each is shown (composition time), in the track's time scale, before any edit.
    pub(super) times: Vec<i64>,
    /// Samples that can be decoded without those before them, ascending; `None`: all of them.
    pub(super) sync: Option<Vec<u32>>,
}

pub(super) fn read(tables: Boxes, file_len: u64) -> Result<Samples> {
    let places = places(tables, file_len)?;
    let times = times(tables, places.len())?;
    let sync = tables.first(b"stss").map(|stss| sync(stss, places.len())).transpose()?;
    Ok(Samples { places, times, sync })
}

/// Derives the samples from their sizes, the offsets of chunks and the number of samples per chunk.
fn places(tables: Boxes, file_len: u64) -> Result<Vec<Sample>> {
    let stsz = tables.one(b"stsz")?;
    let (same, count) = (u32_at(stsz, 4)?, u32_at(stsz, 8)?);
    ensure!(count <= MAX_SAMPLES, "its index claims {count} frames");
    let (chunks, wide) = match tables.first(b"stco") {
        Some(stco) => (stco, false),
        None => (tables.first(b"co64").context("its index has no chunk offsets")?, true),
    };
    let num_chunks = u32_at(chunks, 4)? as usize;
    let runs = tables.one(b"stsc")?;
    let num_runs = u32_at(runs, 4)? as usize;
    let (mut samples, mut run) = (Vec::new(), 0);
    for chunk in 0..num_chunks {
        if samples.len() == count as usize {
            break;
        }
        let at = 8 + chunk * if wide { 8 } else { 4 };
        let mut start = if wide { u64_at(chunks, at)? } else { u64::from(u32_at(chunks, at)?) };
        // Runs name the chunk they start with, counted from 1.
        while run + 1 < num_runs && u32_at(runs, 8 + 12 * (run + 1))? as usize <= chunk + 1 {
            run += 1;
        }
        for _ in 0..u32_at(runs, 8 + 12 * run + 4)? {
            if samples.len() == count as usize {
                break;
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

/// Sums of the durations (`stts`), each with the offset between decoding and showing (`ctts`).
/// As in FFmpeg, the last entry of a short table holds on, and offsets may be negative whatever the
/// version of the box says.
fn times(tables: Boxes, count: usize) -> Result<Vec<i64>> {
    let durations = records(tables.one(b"stts")?, 4, 8, "stts")?;
    let mut durations = Runs::new(durations, 1);
    let mut offsets = match tables.first(b"ctts") {
        Some(ctts) => Some(Runs::new(records(ctts, 4, 8, "ctts")?, 0)),
        None => None,
    };
    let (mut now, mut times) = (0_i64, Vec::with_capacity(count));
    for _ in 0..count {
        let offset = offsets.as_mut().map_or(0, |o| i64::from(o.next_value().cast_signed()));
        times.push(now + offset);
        // 10 million durations of 32 bits stay far below 63 bits.
        now += i64::from(durations.next_value());
    }
    Ok(times)
}

/// Values stored as (count, value), one after another.
struct Runs<I> {
    records: I,
    left: u32,
    value: u32,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Runs<I> {
    fn new(records: I, value: u32) -> Self {
        Self { records, left: 0, value }
    }

    fn next_value(&mut self) -> u32 {
        while self.left == 0 {
            let Some(record) = self.records.next() else { return self.value };
            let word = |at: usize| {
                u32::from_be_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
            };
            (self.left, self.value) = (word(0), word(4));
        }
        self.left -= 1;
        self.value
    }
}

/// `stss` counts from 1.
fn sync(stss: &[u8], count: usize) -> Result<Vec<u32>> {
    let mut sync = Vec::new();
    for record in records(stss, 4, 4, "stss")? {
        let number = u32_at(record, 0)?;
        ensure!(
            number >= 1 && number as usize <= count,
            "its table of key frames names frame {number} of {count}"
        );
        sync.push(number - 1);
    }
    sync.sort_unstable();
    sync.dedup();
    Ok(sync)
}
