//! Carries answers through a clip: the box of a mask is the prompt of the next frame.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use anyhow::Result;
use sonotune_base::{Error, ErrorKind, error::exit_code};
use sonotune_dataset::{Dataset, ImagePrompts, ObjectPrompt, Record};
use sonotune_engine::{
    batch::Target,
    loader::prepare_batch,
    task::{Instance, Prediction},
};

use super::{Answer, Answering, PromptSource, Writing, answers::clip_boxes, last_answers};

/// Refuses to carry where no prompt is, or where frames cannot follow one another.
pub(super) fn check(source: &PromptSource, processes: usize) -> Result<()> {
    let message = if !matches!(source, PromptSource::File(_) | PromptSource::Annotations { .. }) {
        "--carry needs prompts at some frames: give --prompts or --annotations"
    } else if processes > 1 {
        "--carry predicts one frame after the other, in one process: leave out --processes"
    } else {
        return Ok(());
    };
    Err(Error::config(message).into())
}

/// A file with its frames: those asked about, and the others.
#[derive(Debug, Default)]
struct Clip<'a> {
    asked: Vec<&'a Record>,
    others: BTreeMap<u32, &'a Record>,
}

/// What is known of a frame.
struct Answered {
    record: Record,
    target: Target,
    prediction: Prediction,
    /// The frame whose prompts it goes back to, unless it was asked about itself.
    from: Option<u32>,
}

/// The frames of clips in which another one is asked about, to which answers are carried; and all other images.
pub(super) fn divide(asked: &Dataset, unasked: Vec<Record>) -> (Vec<Record>, Vec<Record>) {
    let clips: HashSet<&Path> = asked.records.iter().map(|record| &*record.path).collect();
    unasked.into_iter().partition(|r| r.frame.is_some() && clips.contains(r.path.as_path()))
}

impl Writing<'_> {
    /// Takes in all images, clip by clip; answers are carried to the frames `rest`.
    pub(super) fn carried(&mut self, rest: &[Record]) -> Result<()> {
        let dataset = self.answering.dataset.clone();
        let mut order: Vec<&Path> = Vec::new();
        let mut clips: BTreeMap<&Path, Clip<'_>> = BTreeMap::new();
        for record in &dataset.records {
            if !clips.contains_key(record.path.as_path()) {
                order.push(&record.path);
            }
            clips.entry(&record.path).or_default().asked.push(record);
        }
        for record in rest {
            if let (Some(clip), Some(frame)) = (clips.get_mut(record.path.as_path()), record.frame)
            {
                clip.others.insert(frame, record);
            }
        }
        for clip in order.into_iter().filter_map(|path| clips.remove(path)) {
            for answered in self.through(clip)?.into_values() {
                self.write_carried(answered)?;
            }
        }
        Ok(())
    }

    /// Answers for the frames of a clip: first of those asked about; then from each of them forwards up to the
    /// next one; then backwards to those that no answer has reached.
    fn through(&mut self, mut clip: Clip<'_>) -> Result<BTreeMap<u32, Answered>> {
        clip.asked.sort_by_key(|record| record.frame);
        let mut known = BTreeMap::new();
        for record in &clip.asked {
            if let Some(answered) = self.answer_frame((*record).clone(), None)? {
                known.insert(record.frame.unwrap_or_default(), answered);
            }
        }
        let asked: Vec<u32> = clip.asked.iter().filter_map(|record| record.frame).collect();
        for &start in &asked {
            self.follow(&mut known, &clip, (start, |frame: u32| frame.checked_add(1)))?;
        }
        for &start in asked.iter().rev() {
            self.follow(&mut known, &clip, (start, |frame: u32| frame.checked_sub(1)))?;
        }
        Ok(known)
    }

    /// From the frame `start` on, until no mask has a pixel, a frame is known or fails, or the clip ends.
    fn follow(
        &mut self,
        known: &mut BTreeMap<u32, Answered>,
        clip: &Clip<'_>,
        (start, next): (u32, fn(u32) -> Option<u32>),
    ) -> Result<()> {
        let mut at = start;
        while let Some(prompts) = known.get(&at).map(Answered::boxes).transpose()?
            && !prompts.is_empty()
            && let Some(frame) = next(at)
            && !known.contains_key(&frame)
            && let Some(record) = clip.others.get(&frame)
        {
            let prompts = Some(ImagePrompts::Objects(prompts));
            let record = Record { prompts, ..(*record).clone() };
            let Some(answered) = self.answer_frame(record, Some(start))? else { break };
            known.insert(frame, answered);
            at = frame;
        }
        Ok(())
    }

    /// The answers for one frame; `None` if it fails, which is one of the failures then.
    fn answer_frame(&mut self, record: Record, from: Option<u32>) -> Result<Option<Answered>> {
        let Answering { predictor, plan, base, .. } = self.answering;
        let one = Dataset { records: vec![record], ..Dataset::default() };
        let mut notes = Vec::new();
        let mut answer = || -> Result<(Target, Prediction)> {
            let mut batch = prepare_batch(&one.records, plan)?;
            notes = batch.targets.iter_mut().flat_map(|t| clip_boxes(t, base)).collect();
            let mut predictions = predictor.predict(&batch, &one, &[0])?;
            Ok((batch.targets.remove(0), predictions.remove(0)))
        };
        let answered = answer();
        self.notes.others.extend(notes);
        match (answered, one.records.into_iter().next()) {
            (Ok((target, prediction)), Some(record)) => {
                Ok(Some(Answered { record, target, prediction, from }))
            }
            (Err(error), _) if exit_code(&error) == ErrorKind::Data.exit_code() => {
                self.failures.push(format!("{error:#}"));
                self.bar.done();
                Ok(None)
            }
            (Err(error), _) => Err(error),
            (Ok(_), None) => Ok(None),
        }
    }

    fn write_carried(&mut self, answered: Answered) -> Result<()> {
        let Answered { record, target, prediction, from } = answered;
        let plan = &self.answering.plan;
        let image = || Ok(prepare_batch(std::slice::from_ref(&record), plan)?.image(0));
        let carried_from = from;
        self.write(Answer {
            prediction,
            record: &record,
            carried_from,
            target: &target,
            image: &image,
        })
    }
}

impl Answered {
    /// The boxes of the masks that have pixels, as prompts, in the pixels of the file. An object without a name is
    /// called by its number in the frame that was asked about.
    fn boxes(&self) -> Result<Vec<ObjectPrompt>> {
        let prompts = match &self.target.prompts {
            Some(ImagePrompts::Objects(prompts)) => prompts.as_slice(),
            _ => &[],
        };
        let mut instances = self.prediction.in_file(&self.target)?.instances;
        last_answers(&mut instances);
        let prompt = |instance: &Instance| {
            let mask = instance.mask.as_ref().filter(|mask| mask.area() > 0)?;
            let [x, y, width, height] = mask.bbox();
            let index = instance.answers?.object;
            let name = prompts.get(index).and_then(|prompt| prompt.name.clone());
            Some(ObjectPrompt {
                name: Some(name.unwrap_or_else(|| (index + 1).to_string())),
                category: Some(instance.category),
                bbox: Some([x, y, x + width, y + height]),
                ..ObjectPrompt::default()
            })
        };
        Ok(instances.iter().filter_map(prompt).collect())
    }
}
