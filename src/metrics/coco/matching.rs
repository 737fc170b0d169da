//! Which detection of an image matches which object, for every area range and IoU threshold.

use anyhow::Result;

use super::{Detection, IouType, Params, Truth, iou};

/// What an image adds to the result.
#[derive(Debug)]
pub struct ImageMatches {
    pub(super) cells: Vec<Cell>,
}

/// An image's detections of one category, most confident first.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) category: u32,
    pub(super) scores: Box<[f64]>,
    /// Objects that count, by area range.
    pub(super) num_truths: Box<[u32]>,
    pub(super) outcomes: Outcomes,
}

/// Two bits for every detection and setting (area range × IoU threshold): whether it is matched, and
/// whether it is ignored.
#[derive(Debug)]
pub(super) struct Outcomes {
    words: Box<[u64]>,
    words_each: usize,
}

impl Outcomes {
    pub(super) fn words_each(num_settings: usize) -> usize {
        (2 * num_settings).div_ceil(64)
    }

    fn new(num_detections: usize, num_settings: usize) -> Self {
        let words_each = Self::words_each(num_settings);
        Self { words: vec![0; num_detections * words_each].into(), words_each }
    }

    /// All bits of a detection.
    pub(super) fn of(&self, detection: usize) -> &[u64] {
        &self.words[detection * self.words_each..][..self.words_each]
    }

    fn set(&mut self, detection: usize, bit: usize) {
        self.words[detection * self.words_each + bit / 64] |= 1 << (bit % 64);
    }

    fn set_matched(&mut self, detection: usize, setting: usize) {
        self.set(detection, 2 * setting);
    }

    fn set_ignored(&mut self, detection: usize, setting: usize) {
        self.set(detection, 2 * setting + 1);
    }
}

pub(super) fn match_image(
    params: &Params,
    truths: &[Truth<'_>],
    detections: &[Detection<'_>],
) -> Result<ImageMatches> {
    // Stable: pycocotools takes the file's order within a category.
    let mut truths: Vec<_> = truths.iter().collect();
    truths.sort_by_key(|t| t.category);
    let mut detections: Vec<_> = detections.iter().collect();
    detections.sort_by_key(|d| d.category);

    let mut cells = Vec::new();
    let (mut truths, mut detections) = (&truths[..], &detections[..]);
    while !truths.is_empty() || !detections.is_empty() {
        let next = truths.first().map(|t| t.category).into_iter();
        let next = next.chain(detections.first().map(|d| d.category)).min().unwrap_or(0);
        let (category, num_truths, num_detections) = if params.class_agnostic {
            (0, truths.len(), detections.len())
        } else {
            (
                next,
                truths.iter().take_while(|t| t.category == next).count(),
                detections.iter().take_while(|d| d.category == next).count(),
            )
        };
        let (own_truths, other_truths) = truths.split_at(num_truths);
        let (own_detections, other_detections) = detections.split_at(num_detections);
        cells.push(match_cell(params, category as u32, own_truths, own_detections)?);
        (truths, detections) = (other_truths, other_detections);
    }
    Ok(ImageMatches { cells })
}

fn match_cell(
    params: &Params,
    category: u32,
    truths: &[&Truth<'_>],
    detections: &[&Detection<'_>],
) -> Result<Cell> {
    let mut ranked = detections.to_vec();
    ranked.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(std::cmp::Ordering::Equal));
    ranked.truncate(params.max_dets.last().copied().unwrap_or(0));
    let ious = iou::matrix(params.iou_type, &ranked, truths)?;

    let mut outcomes = Outcomes::new(ranked.len(), params.num_settings());
    let areas: Vec<f64> = ranked.iter().map(|d| area(params.iou_type, d)).collect();
    let mut num_truths = Vec::with_capacity(params.area_ranges.len());
    for (a, range) in params.area_ranges.iter().enumerate() {
        let outside = |area: f64| area < range.min || area > range.max;
        let ignored: Vec<bool> = truths.iter().map(|t| t.is_crowd || outside(t.area)).collect();
        num_truths.push(ignored.iter().filter(|&&i| !i).count() as u32);
        let candidates = Candidates::new(params, truths, &ignored, &ious, ranked.len());
        let first_setting = a * params.iou_thresholds.len();
        candidates.match_all(params, first_setting, &mut outcomes);
        for (d, &area) in areas.iter().enumerate() {
            if outside(area) {
                ignore_unmatched(params, first_setting, d, &mut outcomes);
            }
        }
    }
    let scores = ranked.iter().map(|d| d.score).collect();
    Ok(Cell { category, scores, num_truths: num_truths.into(), outcomes })
}

fn area(iou_type: IouType, found: &Detection<'_>) -> f64 {
    match (found.area, iou_type, found.mask) {
        (Some(area), ..) => area,
        (None, IouType::Segm, Some(mask)) => mask.area() as f64,
        (None, ..) => found.bbox[2] * found.bbox[3],
    }
}

fn ignore_unmatched(params: &Params, first_setting: usize, d: usize, outcomes: &mut Outcomes) {
    for setting in first_setting..first_setting + params.iou_thresholds.len() {
        let bit = 2 * setting;
        if outcomes.of(d)[bit / 64] >> (bit % 64) & 1 == 0 {
            outcomes.set_ignored(d, setting);
        }
    }
}

/// Objects that a detection overlaps enough for the lowest threshold. Most pairs do not overlap at
/// all; only these are checked for every threshold.
struct Candidates {
    /// By detection: `ranges[d]..ranges[d + 1]` of `objects`.
    ranges: Vec<usize>,
    /// Those that count first, each kind in the file's order.
    objects: Vec<Candidate>,
    num_truths: usize,
}

#[derive(Clone, Copy)]
struct Candidate {
    truth: usize,
    iou: f64,
    ignored: bool,
    is_crowd: bool,
}

/// As in pycocotools: an overlap of 1 must match at a threshold of 1.
fn floor(threshold: f64) -> f64 {
    threshold.min(1.0 - 1e-10)
}

impl Candidates {
    fn new(
        params: &Params,
        truths: &[&Truth<'_>],
        ignored: &[bool],
        ious: &[f64],
        num_detections: usize,
    ) -> Self {
        let lowest = params.iou_thresholds.iter().copied().fold(f64::INFINITY, f64::min);
        let lowest = floor(lowest);
        let mut order: Vec<usize> = (0..truths.len()).collect();
        order.sort_by_key(|&g| ignored[g]);
        let mut ranges = vec![0];
        let mut objects = Vec::new();
        for d in 0..num_detections {
            let row = &ious[d * truths.len()..][..truths.len()];
            objects.extend(order.iter().filter(|&&g| row[g] >= lowest).map(|&g| Candidate {
                truth: g,
                iou: row[g],
                ignored: ignored[g],
                is_crowd: truths[g].is_crowd,
            }));
            ranges.push(objects.len());
        }
        Self { ranges, objects, num_truths: truths.len() }
    }

    fn match_all(&self, params: &Params, first_setting: usize, outcomes: &mut Outcomes) {
        if self.objects.is_empty() {
            return;
        }
        let mut taken = vec![false; self.num_truths];
        for (t, &threshold) in params.iou_thresholds.iter().enumerate() {
            taken.fill(false);
            for (d, range) in self.ranges.windows(2).enumerate() {
                let candidates = &self.objects[range[0]..range[1]];
                if let Some(best) = best(candidates, &taken, floor(threshold)) {
                    taken[best.truth] = true;
                    outcomes.set_matched(d, first_setting + t);
                    if best.ignored {
                        outcomes.set_ignored(d, first_setting + t);
                    }
                }
            }
        }
    }
}

/// The free object with the largest overlap, the last of equal ones. One that counts is never given
/// up for one that is ignored.
fn best<'a>(candidates: &'a [Candidate], taken: &[bool], floor: f64) -> Option<&'a Candidate> {
    let mut best: Option<&Candidate> = None;
    for candidate in candidates {
        if taken[candidate.truth] && !candidate.is_crowd {
            continue;
        }
        if candidate.ignored && best.is_some_and(|b| !b.ignored) {
            break;
        }
        if candidate.iou >= best.map_or(floor, |b| b.iou) {
            best = Some(candidate);
        }
    }
    best
}
