//! Videos with one mask file per frame.

use std::collections::BTreeMap;

use anyhow::Result;
use regex::Regex;

use super::{
    Emit, MaskFile, Plan, Reader, Unit, cine::Cine, decode_mask, pairing::Pairing, rasters::labels,
};
use crate::{
    Frame, Mask, Pixels,
    problem::{Fault, Problem, ProblemKind},
    select::regex,
    spec::{FrameMaskRule, Frames, MaskRule, Spec, Unpaired},
};
use sonotune_archive::Tree;
use sonotune_base::Error;
use sonotune_dataset::FrameChoice;

pub(super) struct FrameReader<'a> {
    settings: &'a Frames,
    pairing: Pairing<'a>,
    rules: Vec<MaskRule>,
    numbers: Vec<Option<Regex>>,
    choice: FrameChoice,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Frames) -> Result<Self> {
        let rules: Vec<MaskRule> = settings.masks.iter().map(FrameMaskRule::as_mask_rule).collect();
        let pairing = Pairing::new(spec, "frames", &settings.videos, &rules, settings.unpaired)?;
        let numbers = settings.masks.iter().enumerate().map(|(index, rule)| {
            let place = format!("frames.masks[{index}].number");
            let number = rule.number.as_ref().filter(|number| !number.is_empty());
            number.map(|number| regex(&place, number)).transpose()
        });
        let numbers = numbers.collect::<Result<_>>()?;
        let choice = match (settings.every_frame, settings.num_frames) {
            (None, None) => FrameChoice::All,
            (Some(step), None) => FrameChoice::Every(step),
            (None, Some(number)) => FrameChoice::Number(number),
            (Some(_), Some(_)) => {
                let what =
                    "frames.every_frame and frames.num_frames exclude each other: leave one out";
                return Err(Error::config(what).into());
            }
        };
        Ok(Self { settings, pairing, rules, numbers, choice })
    }

    /// The masks of each frame, in the order of rules.
    fn by_frame<'u>(&self, unit: &'u Unit) -> Result<BTreeMap<usize, Vec<&'u MaskFile>>, Problem> {
        let mut frames = BTreeMap::<usize, Vec<&MaskFile>>::new();
        for (index, number) in self.numbers.iter().enumerate() {
            let files = unit.masks.iter().filter(|file| file.rule == index);
            for (position, file) in files.enumerate() {
                let frame = match number {
                    None => position,
                    Some(number) => number
                        .captures(&file.path)
                        .and_then(|captures| captures.get(1))
                        .and_then(|group| group.as_str().parse().ok())
                        .ok_or_else(|| {
                            let rule = format!("frames.masks[{index}].number");
                            let message = format!("{}: {rule} finds no number", file.path);
                            Problem::new(ProblemKind::NoKey, message)
                        })?,
                };
                let masks = frames.entry(frame).or_default();
                if let Some(other) = masks.iter().find(|other| other.rule == index) {
                    return Err(Problem::new(
                        ProblemKind::DuplicateKey,
                        format!("{} and {}: both are for frame {frame}", other.path, file.path),
                    ));
                }
                masks.push(file);
            }
        }
        Ok(frames)
    }
}

impl Reader for FrameReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        let mut plan = self.pairing.plan(tree)?;
        for unit in &mut plan.units {
            unit.provenance.clip.get_or_insert_with(|| unit.key.clone());
        }
        Ok(plan)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let video = Cine::open(&tree.path(name)).map_err(|e| Problem::unreadable(&e))?;
        let masks = self.by_frame(unit)?;
        let count = video.num_frames();
        if let Some((frame, files)) = masks.range(count..).next() {
            return Err(Problem::new(
                ProblemKind::FrameCount,
                format!("{}: is for frame {frame} (from 0), but {name} has {count}", files[0].path),
            )
            .into());
        }
        let chosen = self.choice.of(u32::try_from(count).unwrap_or(u32::MAX));
        visit(&video, name, &chosen, &mut |index, image| {
            let files = masks.get(&index).map_or(&[][..], Vec::as_slice);
            let has = |rule: usize| files.iter().any(|file| file.rule == rule);
            let required = self.settings.masks.iter().enumerate().filter(|(_, rule)| rule.required);
            if let Some((rule, _)) = required.into_iter().find(|(rule, _)| !has(*rule)) {
                match self.settings.unpaired {
                    Unpaired::Skip => return Ok(()),
                    Unpaired::KeepImages => {}
                    Unpaired::Refuse => {
                        let message =
                            format!("{name}: frame {index} has no mask of frames.masks[{rule}]");
                        return Err(Problem::new(ProblemKind::MissingPartner, message).into());
                    }
                }
            }
            let mut frame = Frame {
                image,
                encoded: None,
                masks: Vec::new(),
                marked: false,
                left_out: false,
                frame: Some(index as u32),
                spacing: unit.spacing.or_else(|| video.spacing()),
            };
            for file in files {
                let (pixels, _) = decode_mask(&tree.path(&file.path), &file.path)?;
                let (labels, marked) = labels(&self.rules[file.rule], file, pixels, &frame.image)?;
                frame.marked |= marked;
                frame.masks.push(Mask::Labels(labels));
            }
            emit(frame)
        })
    }
}

/// Passes the frames `chosen` of a video, ascending, to `each` in order; a fault of `each` ends it.
pub(super) fn visit(
    video: &Cine,
    name: &str,
    chosen: &[u32],
    each: &mut dyn FnMut(usize, Pixels) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if video.is_random_access() {
        return chosen.iter().try_for_each(|&index| {
            let index = index as usize;
            each(index, video.frame(index).map_err(|error| Problem::unreadable(&error))?)
        });
    }
    let mut fault = None;
    let visited = video.frames(|index, image| {
        if chosen.binary_search(&(index as u32)).is_err() {
            return Ok(());
        }
        each(index, image).map_err(|own| {
            fault = Some(own);
            anyhow::anyhow!("stopped")
        })
    });
    match (fault, visited) {
        (Some(fault), _) => Err(fault),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(Problem::unreadable(&error.context(name.to_owned())).into()),
    }
}
