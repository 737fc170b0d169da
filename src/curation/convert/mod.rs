//! Conversion: unpack, plan, read units in parallel, write images, then annotations.
//!
//! ```text
//! OUT/images/<name>__<key>[__<frame>].png
//! OUT/annotations/all.json        COCO, with the origin of each image
//! OUT/conversion.json             what was done, with which choices, and what was left out
//! OUT/.conversion.jsonl           journal of finished units, until the conversion is complete
//! OUT/.source/                    unpacked archives, until the conversion is complete
//! ```
//!
//! An image's name derives from its key and its id from the order of keys, so the output does not
//! depend on threads or interruptions. The annotations are written last: if they exist, the
//! conversion is complete.

mod assemble;
mod fingerprint;
mod in_place;
mod journal;
mod names;
mod report;
mod target;
mod unit;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use sonotune_base::{Error, stop::StopFlag};

pub use in_place::{InPlace, annotate_in_place};
pub use report::{Converted, LeftOut};

use crate::{
    problem::{OnProblem, Problem, judge},
    readers::{self, Plan, Reader},
    spec::Spec,
};
use fingerprint::Fingerprint;
use journal::{Finished, Journal};
use sonotune_archive as archive;
use sonotune_archive::{Limits, Tree};
use unit::{Outcome, UnitWriter};

/// How to convert.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to handle problems.
    pub on_problem: OnProblem,
    /// Number of worker threads; `None` for one per core.
    pub threads: Option<usize>,
    /// Replaces what an earlier conversion with other choices left in the output folder.
    pub overwrite: bool,
    /// Limits on what an archive may unpack to.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            on_problem: OnProblem::Fail,
            threads: None,
            overwrite: false,
            limits: Limits::default(),
        }
    }
}

/// A progress event, reported from any thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// This many more bytes have been unpacked.
    Unpacked(u64),
    /// Reading starts: total number of units, and how many an interrupted conversion had finished.
    Planned { units: usize, finished: usize },
    /// One more unit has been read and written.
    Unit,
}

/// Converts `source`, a folder or an archive, to COCO in the folder `out`.
///
/// An interrupted conversion resumes where it stopped; a complete one is left alone
/// (`Converted::already_complete`). The files do not depend on the number of threads. Nothing
/// is written outside `out`.
///
/// # Errors
/// Kind config: the spec is malformed, or the output folder holds something else or is inside the
/// source. Kind data:
/// nothing matches, or there are more problems than `options.on_problem` allows. Kind interrupted:
/// `stop` was raised; call again to resume.
pub fn convert(
    spec: &Spec,
    source: &Path,
    out: &Path,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &StopFlag,
) -> Result<Converted> {
    let reader = readers::of(spec)?;
    target::keep_apart(source, out)?;
    let _lock = target::lock(out)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.unwrap_or(0))
        .build()
        .context("starting worker threads")?;
    let fingerprint = pool.install(|| Fingerprint::of(spec, source, options, out, stop))?;
    if let Some(complete) = target::prepare(out, &fingerprint, options.overwrite)? {
        return Ok(complete);
    }
    let work = out.join(target::SOURCE);
    let unpacked = |bytes| progress(Progress::Unpacked(bytes));
    let tree = archive::unpack(source, &spec.unpack, &work, &options.limits, &unpacked, stop)?;
    let plan = plan_source(reader.as_ref(), &tree, options.on_problem, source)?;
    let names = names::of_units(&spec.name, &plan.units)?;
    let journal = Journal::open(out, &fingerprint, &plan.units)?;
    progress(Progress::Planned { units: plan.units.len(), finished: journal.finished().len() });
    let conversion =
        Conversion { spec, reader: reader.as_ref(), tree: &tree, plan: &plan, names: &names, out };
    pool.install(|| conversion.run(&journal, options.on_problem, progress, stop))?;
    let finished = journal.into_finished();
    let converted = conversion.report(finished, &fingerprint, options)?;
    target::finish(out)?;
    Ok(converted)
}

/// Pairs the files of `source` without reading or writing any image, to show what a conversion would
/// do. Archives are unpacked into `work`.
///
/// # Errors
/// Same errors as [`convert`], except that problems are reported in the plan.
pub fn plan(
    spec: &Spec,
    source: &Path,
    work: &Path,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &StopFlag,
) -> Result<Plan> {
    target::keep_apart(source, work)?;
    let unpacked = |bytes| progress(Progress::Unpacked(bytes));
    let tree = archive::unpack(source, &spec.unpack, work, &options.limits, &unpacked, stop)?;
    readers::of(spec)?.plan(&tree)
}

fn plan_source(
    reader: &dyn Reader,
    tree: &Tree,
    on_problem: OnProblem,
    source: &Path,
) -> Result<Plan> {
    let place = source.display().to_string();
    let plan = reader.plan(tree).with_context(|| place.clone())?;
    judge(&plan.problems, on_problem, &format!("{place}\n{}", plan.matched()))?;
    if plan.units.is_empty() {
        bail!(Error::data(format!("{place}: no images left to convert\n{}", plan.matched())));
    }
    Ok(plan)
}

/// What to do about a result that is refused.
const FIX: &str = "fix the source or the spec and convert again with --overwrite";

struct Conversion<'a> {
    spec: &'a Spec,
    reader: &'a dyn Reader,
    tree: &'a Tree,
    plan: &'a Plan,
    names: &'a [String],
    out: &'a Path,
}

impl Conversion<'_> {
    fn run(
        &self,
        journal: &Journal,
        on_problem: OnProblem,
        progress: &(dyn Fn(Progress) + Sync),
        stop: &StopFlag,
    ) -> Result<()> {
        let before = self.plan.problems.len() + journal.num_problems();
        let problems = AtomicUsize::new(before);
        let ended = AtomicBool::new(false);
        let cap = match on_problem {
            OnProblem::Fail => 0,
            OnProblem::Skip { cap } => cap,
        };
        let open: Vec<usize> = (0..self.plan.units.len())
            .filter(|index| !journal.finished().contains(index))
            .collect();
        // Small pieces, in order: a volume takes as long as a hundred single images.
        open.par_iter().with_max_len(1).try_for_each(|&index| {
            if ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            let finished = self.read_unit(index, stop)?;
            let is_problem = finished.problem.is_some();
            journal.append(finished)?;
            if is_problem && problems.fetch_add(1, Ordering::Relaxed) + 1 > cap {
                ended.store(true, Ordering::Relaxed);
            }
            progress(Progress::Unit);
            anyhow::Ok(())
        })?;
        let problems: Vec<Problem> =
            self.plan.problems.iter().cloned().chain(journal.problems()).collect();
        let judged = judge(&problems, on_problem, &self.plan.matched());
        if judged.is_err() {
            // Units that failed are read again next time: the source may have been fixed.
            journal.forget_problems()?;
        }
        judged
    }

    fn read_unit(&self, index: usize, stop: &StopFlag) -> Result<Finished> {
        let unit = &self.plan.units[index];
        let mut writer = UnitWriter::new(self.spec, unit, &self.names[index], self.out, stop);
        let outcome = writer.read(self.reader, self.tree)?;
        Ok(match outcome {
            Outcome::Whole(images, empty) => {
                Finished { unit: index, key: unit.key.clone(), images, empty, problem: None }
            }
            Outcome::LeftOut(problem) => Finished {
                unit: index,
                key: unit.key.clone(),
                images: Vec::new(),
                empty: 0,
                problem: Some(problem),
            },
        })
    }

    /// Refuses a result that shows nothing: the spec does not fit the source.
    fn ensure_content(&self, finished: &[Finished]) -> Result<()> {
        let images = || finished.iter().flat_map(|entry| &entry.images);
        let count = images().count();
        if count == 0 {
            let empty: usize = finished.iter().map(|entry| entry.empty).sum();
            bail!(Error::data(format!(
                "no image is left: {empty} have no object and are left out (`empty` in the spec)\n{}{FIX}",
                self.plan.matched()
            )));
        }
        if images().all(|image| image.brightest <= 1) {
            bail!(Error::data(format!(
                "all {count} images are black: no grey level is above 1 of 255. Are images and masks \
                 swapped in the spec?\n{}{FIX}",
                self.plan.matched()
            )));
        }
        if self.spec.empty.is_none() && images().all(|image| image.objects.is_empty()) {
            bail!(Error::data(format!(
                "none of {count} images has an object. Look at a mask, and check `decode` in the spec; if \
                 the images show nothing, write empty = \"keep\"\n{}{FIX}",
                self.plan.matched()
            )));
        }
        Ok(())
    }

    fn report(
        &self,
        finished: Vec<Finished>,
        fingerprint: &Fingerprint,
        options: &Options,
    ) -> Result<Converted> {
        self.ensure_content(&finished)?;
        let file = assemble::coco(self.spec, &self.plan.units, &finished)?;
        let converted =
            Converted::new(self.spec, self.plan, &finished, &file, fingerprint, options);
        target::commit(self.out, &file, &converted)?;
        Ok(converted)
    }
}
