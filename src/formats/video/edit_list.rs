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
    /// The decoded frames that are shown, in display order.
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
    // An empty list does not hide the track.
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

/// The edits in order. A pause (media time −1) before all others shows nothing; FFmpeg takes later ones as
/// edits that begin at −1, and frame numbers follow it. The speed of an edit does not change which frames it
/// has.
fn edits(elst: &[u8], movie_scale: u32, track_scale: u32) -> Result<Vec<Edit>> {
    let wide = elst.first() == Some(&1);
    let count = u32_at(elst, 4)? as usize;
    ensure!(count <= MAX_EDITS, "its edit list claims {count} edits, more than {MAX_EDITS}");
    ensure!(movie_scale > 0 && track_scale > 0, "its time scale is 0, and it has an edit list");
    let (mut edits, mut pauses) = (Vec::new(), 0);
    for i in 0..count {
        let (duration, start) = if wide {
            (u64_at(elst, 8 + 20 * i)?, u64_at(elst, 16 + 20 * i)?.cast_signed())
        } else {
            let start = u32_at(elst, 12 + 12 * i)?.cast_signed();
            (u64::from(u32_at(elst, 8 + 12 * i)?), i64::from(start))
        };
        ensure!(start >= -1, "edit {i} of its edit list starts at the time {start}");
        // Rounded to the nearest, as FFmpeg does.
        let scaled = (u128::from(duration) * u128::from(track_scale) + u128::from(movie_scale / 2))
            / u128::from(movie_scale);
        let end = i64::try_from(scaled).ok().and_then(|duration| start.checked_add(duration));
        let end = end.with_context(|| format!("edit {i} of its edit list lasts {duration}"))?;
        edits.push(Edit { start, end });
        if start == -1 && edits.len() == pauses + 1 {
            pauses += 1;
        }
    }
    // As many empty edits, so that a list of pauses alone is not an empty list.
    for pause in &mut edits[..pauses] {
        pause.end = pause.start;
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key frames at 0 and 4; the order of showing is 0 2 3 1 | 4 6 7 5, a time apart each.
    fn samples() -> Samples {
        let times = vec![10, 13, 11, 12, 14, 17, 15, 16];
        Samples { places: Vec::new(), times, sync: Some(vec![0, 4]) }
    }

    /// Durations in a movie of 10 units a second and starts in a track of 1.
    fn list(edits: &[(u32, i32)]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend((edits.len() as u32).to_be_bytes());
        for (duration, start) in edits {
            bytes.extend(duration.to_be_bytes());
            bytes.extend(start.to_be_bytes());
            bytes.extend([0, 1, 0, 0]);
        }
        bytes
    }

    fn shown(edits: &[(u32, i32)]) -> (Vec<Segment>, Vec<u32>) {
        present(&samples(), Some(&list(edits)), 10, 1).unwrap()
    }

    #[test]
    fn without_edits_all_frames_are_shown_by_their_time() {
        let all = vec![0, 2, 3, 1, 4, 6, 7, 5];
        let segment = vec![Segment { samples: 0..8, shown: 0..8 }];
        assert_eq!(present(&samples(), None, 0, 0).unwrap(), (segment.clone(), all.clone()));
        assert_eq!(shown(&[]), (segment, all));
        assert_eq!(shown(&[(50, -1)]), (Vec::new(), Vec::new()));
    }

    #[test]
    fn an_edit_is_decoded_from_the_key_frame_before_it() {
        assert_eq!(shown(&[(20, 12)]), (vec![Segment { samples: 0..4, shown: 2..4 }], vec![3, 1]));
        assert_eq!(shown(&[(20, 14)]), (vec![Segment { samples: 4..7, shown: 0..2 }], vec![4, 6]));
        let (segments, frames) = shown(&[(20, -1), (10, 16), (20, 13), (1000, 17)]);
        assert_eq!(frames, [7, 1, 4, 5]);
        assert_eq!(
            segments,
            [
                Segment { samples: 4..8, shown: 2..3 },
                Segment { samples: 0..5, shown: 3..5 },
                Segment { samples: 4..6, shown: 1..2 },
            ]
        );
    }

    #[test]
    fn a_pause_between_edits_is_an_edit_from_the_start() {
        assert_eq!(shown(&[(500, -1), (10, 16), (120, -1), (10, 17)]).1, [7, 0, 5]);
    }

    #[test]
    fn durations_round_to_the_nearest() {
        assert_eq!(shown(&[(14, 10)]).1, [0]);
        assert_eq!(shown(&[(15, 10)]).1, [0, 2]);
    }

    #[test]
    fn lists_that_lie_are_errors() {
        let error = |bytes: &[u8], scale| {
            present(&samples(), Some(bytes), scale, 1).unwrap_err().to_string()
        };
        assert!(error(&list(&[(1, 0)])[..12], 10).contains("too short"));
        assert!(error(&list(&[(1, -2)]), 10).contains("starts at the time -2"));
        assert!(error(&list(&[(1, 0)]), 0).contains("time scale is 0"));
        assert!(error(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], 10).contains("4294967295 edits"));
        let mut wide = vec![1, 0, 0, 0, 0, 0, 0, 1];
        wide.extend([0xff; 8]);
        wide.extend([0; 12]);
        assert!(error(&wide, 1).contains("lasts"));
    }
}
