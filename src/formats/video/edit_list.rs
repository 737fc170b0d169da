//! Which frames of a track are shown, and in what order: composition times and edit lists.
//!
//! A player shows frames by their composition time, and only those within an edit (`elst`). FFmpeg, and
//! through it OpenCV, number frames in that order; tracings count on it.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

use super::{
    boxes::{u32_at, u64_at},
    samples::Samples,
};

/// Trimming leaves one or two edits; each may show every frame once more.
const MAX_EDITS: usize = 1000;
/// Frames shown by all edits together.
const MAX_SHOWN: usize = 10_000_000;

/// A part of the track that is shown without interruption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Samples to decode, the first of which needs no other.
    pub(super) samples: Range<usize>,
    /// Of the decoded frames, in display order, those that are shown.
    pub(super) shown: Range<usize>,
}

/// When an edit begins and ends, in the track's time scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edit {
    start: i64,
    end: i64,
}

/// The segments of a track and, for each frame shown, its sample.
pub(super) fn present(
    samples: &Samples,
    edits: Option<&[u8]>,
    movie_scale: u32,
    track_scale: u32,
) -> Result<(Vec<Segment>, Vec<u32>)> {
    let everything = Edit { start: i64::MIN, end: i64::MAX };
    let edits = match edits {
        Some(elst) => self::edits(elst, movie_scale, track_scale)?,
        None => Vec::new(),
    };
    // An empty list, or one of pauses alone, does not hide the track.
    let edits = if edits.is_empty() { vec![everything] } else { edits };
    let mut order: Vec<u32> = (0..samples.times.len() as u32).collect();
    order.sort_by_key(|&i| samples.times[i as usize]);
    let (mut segments, mut shown) = (Vec::new(), Vec::new());
    for edit in edits {
        // In display order, what an edit shows is contiguous.
        let time = |&i: &u32| samples.times[i as usize];
        let from = order.partition_point(|i| time(i) < edit.start);
        let to = order.partition_point(|i| time(i) < edit.end);
        let Some(within) = order.get(from..to).filter(|within| !within.is_empty()) else {
            continue;
        };
        ensure!(
            shown.len() + within.len() <= MAX_SHOWN,
            "its edit list shows more than {MAX_SHOWN} frames"
        );
        shown.extend(within);
        segments.push(segment(samples, within));
    }
    Ok((segments, shown))
}

/// Decoding begins with the last key frame that precedes all of `within` in decoding and in display order.
fn segment(samples: &Samples, within: &[u32]) -> Segment {
    let (Some(first), Some(last)) = (within.iter().min(), within.iter().max()) else {
        return Segment { samples: 0..0, shown: 0..0 };
    };
    let earliest = samples.times[within[0] as usize];
    let start = match &samples.sync {
        None => *first,
        Some(sync) => {
            let until = sync.partition_point(|s| s <= first);
            let key = sync[..until].iter().rfind(|&&s| samples.times[s as usize] <= earliest);
            key.copied().unwrap_or(0)
        }
    };
    let range = start as usize..*last as usize + 1;
    let times = &samples.times[range.clone()];
    let before = times.iter().filter(|&&time| time < earliest).count();
    Segment { samples: range, shown: before..before + within.len() }
}

/// The edits that show something, in order. A pause (media time −1) shows nothing; the speed of an edit
/// does not change which frames it has.
fn edits(elst: &[u8], movie_scale: u32, track_scale: u32) -> Result<Vec<Edit>> {
    let wide = elst.first() == Some(&1);
    let count = u32_at(elst, 4)? as usize;
    ensure!(count <= MAX_EDITS, "its edit list claims {count} edits, more than {MAX_EDITS}");
    ensure!(movie_scale > 0 && track_scale > 0, "its time scale is 0, and it has an edit list");
    let mut edits = Vec::new();
    for i in 0..count {
        let (duration, start) = if wide {
            (u64_at(elst, 8 + 20 * i)?, u64_at(elst, 16 + 20 * i)?.cast_signed())
        } else {
            let start = u32_at(elst, 12 + 12 * i)?.cast_signed();
            (u64::from(u32_at(elst, 8 + 12 * i)?), i64::from(start))
        };
        ensure!(start >= -1, "edit {i} of its edit list starts at the time {start}");
        if start == -1 {
            continue;
        }
        // Rounded to the nearest, as FFmpeg does.
        let scaled = (u128::from(duration) * u128::from(track_scale) + u128::from(movie_scale / 2))
            / u128::from(movie_scale);
        let end = i64::try_from(scaled).ok().and_then(|duration| start.checked_add(duration));
        let end = end.with_context(|| format!("edit {i} of its edit list lasts {duration}"))?;
        edits.push(Edit { start, end });
    }
    Ok(edits)
}
