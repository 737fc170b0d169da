//! Everything that a run reports while it runs, to people and to programs.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use image::RgbImage;
use sonotune_base::words::{duration, significant};
use tch::Device;
use tempfile::NamedTempFile;

use super::{
    console::Console,
    events::EventFile,
    guarded::{Failures, Guarded, loss, lost_records, reserve},
    memory::peak_memory,
    metrics_file::{MetricsFile, MetricsLine},
    pictures,
    step::{MeanTime, StepTime, TrainRecord, status},
};
use sonotune_base::fs::AppendFile;
use sonotune_dataset::Split;
use sonotune_metrics::{Confusion, Report};
use sonotune_run_folder::{RunFolder, Summary, write_json};

/// What a [`RunLogger`] needs to know about the run.
#[derive(Debug, Clone, Copy)]
pub struct LoggerOptions {
    /// Optimiser steps of the whole run.
    pub total_steps: u64,
    /// The step of the checkpoint that the run resumes from. Log records of later steps are dropped:
    /// the run writes them again.
    pub resume_step: Option<u64>,
    /// Whether the evaluation due at that step is still to be made.
    pub evaluation_pending: bool,
    /// Device whose memory is watched.
    pub device: Device,
}

/// Writes console, `train.log`, `metrics.jsonl` and TensorBoard events of a run.
///
/// Opening them may fail; later a record that cannot be written is lost with one warning per file,
/// and the run continues. [`finish`](Self::finish) reports at the end what is lost.
#[derive(Debug)]
pub struct RunLogger(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    options: LoggerOptions,
    console: Console,
    log: Guarded<AppendFile>,
    /// Records and summary; `None` in a process that leaves them to the first.
    records: Option<Records>,
    started: Instant,
    last_progress: Option<Instant>,
    /// Steps since the last record, and their sums.
    interval: (u64, StepTime),
    /// Text beside the progress bar.
    status: String,
}

#[derive(Debug)]
struct Records {
    metrics: Guarded<MetricsFile>,
    events: Guarded<EventFile>,
    summary: PathBuf,
    /// Reserves the space that the summary will need, so that it can be written even to a full disk.
    /// Removed before that.
    reserve: Option<NamedTempFile>,
}

impl RunLogger {
    /// Opens the files of `folder`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn new(folder: &RunFolder, options: LoggerOptions) -> Result<Self> {
        let LoggerOptions { total_steps, resume_step, .. } = options;
        let records = Records {
            metrics: Guarded::new(MetricsFile::open(
                &folder.metrics(),
                resume_step,
                options.evaluation_pending,
            )?),
            events: Guarded::new(EventFile::create(folder.path(), resume_step)?),
            summary: folder.summary(),
            reserve: Some(reserve(folder)?),
        };
        let console = Console::new(total_steps, resume_step.unwrap_or(0));
        let log = AppendFile::open(&folder.log())?;
        let logger = Self::with(options, console, log, Some(records));
        if !folder.left_alone().is_empty() {
            let names = folder.left_alone().join(", ");
            logger.warn(&format!("left unchanged in {}: {names}", folder.path().display()));
        }
        Ok(logger)
    }

    /// For a process other than the first: whatever it reports goes into a log of its own.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn of_rank(folder: &RunFolder, rank: usize, options: LoggerOptions) -> Result<Self> {
        let log = folder.rank_log(rank);
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(Self::with(options, Console::Silent, AppendFile::open(&log)?, None))
    }

    fn with(
        options: LoggerOptions,
        console: Console,
        log: AppendFile,
        records: Option<Records>,
    ) -> Self {
        Self(Mutex::new(Inner {
            options,
            console,
            log: Guarded::new(log),
            records,
            started: Instant::now(),
            last_progress: None,
            interval: (0, StepTime::default()),
            status: String::new(),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves nothing half done here that would matter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a message, possibly of several lines.
    pub fn info(&self, text: &str) {
        self.inner().say(text);
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        self.inner().say(&format!("warning: {text}"));
    }

    /// Shows the progress of work that precedes the steps, such as `computing embeddings`. A
    /// terminal shows every call; otherwise a line is printed every half minute.
    pub fn preparing(&self, what: &str, done: u64, total: u64) {
        self.inner().other_progress(what, done, total);
    }

    /// Shows how many validation images are scored; 0 begins. A terminal shows every call; otherwise a line is
    /// printed every half minute.
    pub fn scoring(&self, done: u64, total: u64) {
        let mut inner = self.inner();
        if done == 0 {
            inner.last_progress = Some(Instant::now());
        }
        inner.other_progress("scoring", done, total);
    }

    /// Ends what [`scoring`](Self::scoring) showed, after this step.
    pub fn scored(&self, step: u64) {
        let inner = self.inner();
        inner.console.back_to_steps(step, inner.options.total_steps);
    }

    /// Ends what [`preparing`](Self::preparing) showed; the timing of steps starts.
    pub fn prepared(&self) {
        let mut inner = self.inner();
        let LoggerOptions { total_steps, resume_step, .. } = inner.options;
        inner.console.back_to_steps(resume_step.unwrap_or(0), total_steps);
        inner.started = Instant::now();
    }

    /// Writes to `train.log` only.
    pub fn detail(&self, text: &str) {
        self.inner().log(text);
    }

    /// Records the time of a step; to be called for every step, before [`train_step`].
    ///
    /// [`train_step`]: Self::train_step
    pub fn tick(&self, step: u64, time: StepTime) {
        let mut inner = self.inner();
        let (steps, sum) = &mut inner.interval;
        *steps += 1;
        sum.step_seconds += time.step_seconds;
        sum.data_seconds += time.data_seconds;
        sum.images += time.images;
        let status = format!("eta {}  {}", inner.eta(step), inner.status);
        inner.console.progress(step, &status);
    }

    /// Logs a training step; times are means over the steps [ticked](Self::tick) since the last
    /// call, and TensorBoard shows them as `time/step` and `time/data` in seconds.
    pub fn train_step(&self, record: &TrainRecord) {
        self.inner().train_step(record);
    }

    /// Logs an evaluation: metrics as `<split>/<name>`, tables to `train.log` and as text.
    pub fn evaluation(&self, step: u64, split: Split, report: &Report) {
        self.inner().evaluation(step, split.name(), report);
    }

    /// A picture for TensorBoard. Large ones are scaled down: eight inputs of 1024² at every
    /// evaluation would soon take more space than the checkpoints.
    pub fn image(&self, tag: &str, step: u64, image: &RgbImage) {
        const LARGEST_SIDE: u32 = 640;
        let side = image.width().max(image.height());
        let scaled = (side > LARGEST_SIDE).then(|| sonotune_draw::fit(image, LARGEST_SIDE));
        let image = scaled.as_ref().unwrap_or(image);
        self.inner().write_events(|events| events.image(tag, step, image));
    }

    /// Text for TensorBoard, in Markdown.
    pub fn text(&self, tag: &str, step: u64, markdown: &str) {
        self.inner().write_events(|events| events.text(tag, step, markdown));
    }

    /// The resolved config, for TensorBoard.
    pub fn config(&self, toml: &str) {
        let mut inner = self.inner();
        let step = inner.options.resume_step.unwrap_or(0);
        let markdown = format!("```toml\n{}\n```", toml.trim_end());
        inner.write_events(|events| events.text("config", step, &markdown));
    }

    /// Ends the run: waits until the logs are on the disk and writes `summary.json`, including
    /// what they have lost.
    ///
    /// # Errors
    /// When the summary cannot be written, or records were lost; of kind storage if they were lost for
    /// lack of space. Everything else is saved then.
    pub fn finish(&self, summary: &Summary) -> Result<()> {
        let mut inner = self.inner();
        inner.console.close();
        inner.write_events(|events| events.sync());
        let mut summary = summary.clone();
        summary.faults.lost_records = lost_records(&inner.failures());
        if let Some(records) = &mut inner.records {
            records.reserve = None;
            write_json(&records.summary, &summary)?;
        }
        loss(&inner.failures()).map_or(Ok(()), Err)
    }
}

impl Inner {
    fn failures(&self) -> Vec<&Failures> {
        let records = self.records.iter();
        let records = records.flat_map(|r| [&r.metrics.failures, &r.events.failures]);
        std::iter::once(&self.log.failures).chain(records).collect()
    }

    /// Shows progress that is not counted in steps.
    fn other_progress(&mut self, what: &str, done: u64, total: u64) {
        const BETWEEN_LINES: Duration = Duration::from_secs(30);
        self.console.other_progress(done, total, what);
        let due = self.last_progress.is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
        if self.console.prints_steps() && due && done < total {
            self.last_progress = Some(Instant::now());
            self.say(&format!("{what}: {done}/{total}"));
        }
    }

    fn say(&mut self, text: &str) {
        self.console.line(text);
        self.log(text);
    }

    fn log(&mut self, text: &str) {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let lines: String = text.lines().map(|line| format!("{now} {line}\n")).collect();
        if let Some(warning) = self.log.write(|log| log.append(lines.as_bytes())) {
            self.console.line(&warning);
        }
    }

    fn write_events(&mut self, write: impl FnOnce(&mut EventFile) -> Result<()>) {
        let Some(records) = &mut self.records else { return };
        if let Some(warning) = records.events.write(write) {
            self.say(&warning);
        }
    }

    fn write_metrics(&mut self, line: &MetricsLine) {
        let Some(records) = &mut self.records else { return };
        if let Some(warning) = records.metrics.write(|file| file.append(line)) {
            self.say(&warning);
        }
    }

    fn train_step(&mut self, record: &TrainRecord) {
        let time = self.take_interval();
        let memory = peak_memory(self.options.device);
        let mut values: Vec<(String, String, f64)> = Vec::new();
        let mut push = |name: String, tag: String, value| values.push((name, tag, value));
        for (name, value) in record.losses.iter().chain(&record.scalars) {
            push(name.clone(), format!("train/{name}"), *value);
        }
        for (group, value) in &record.lrs {
            push(format!("lr/{group}"), format!("lr/{group}"), *value);
        }
        let mut same = |name: &str, value| push(name.to_owned(), name.to_owned(), value);
        if let Some(norm) = record.grad_norm {
            same("grad_norm", norm);
        }
        if let Some(time) = &time {
            same("time/step", time.step_seconds);
            same("time/data", time.data_seconds);
            same("time/images_per_second", time.images_per_second);
        }
        if let Some(memory) = memory {
            same("memory/peak", memory as f64);
        }

        let named = values.iter().map(|(name, _, value)| (name.as_str(), *value)).collect();
        self.write_metrics(&MetricsLine { step: record.step, split: "train", values: named });
        let tagged = values.iter().map(|(_, tag, value)| (tag.as_str(), *value));
        self.write_events(|events| events.scalars(record.step, tagged));

        let status = status(record, time.as_ref(), memory);
        let eta = self.eta(record.step);
        let line =
            format!("step {}/{}  eta {eta}  {status}", record.step, self.options.total_steps);
        self.console.progress(record.step, &format!("eta {eta}  {status}"));
        if self.console.prints_steps() {
            self.console.line(&line);
        }
        self.log(&line);
        self.status = status;
    }

    fn evaluation(&mut self, step: u64, split: &str, report: &Report) {
        let values = report.metrics.iter().map(|m| (m.name.as_str(), m.value)).collect();
        self.write_metrics(&MetricsLine { step, split, values });
        let tags: Vec<String> =
            report.metrics.iter().map(|m| format!("{split}/{}", m.name)).collect();
        let tagged = tags.iter().zip(&report.metrics).map(|(tag, m)| (tag.as_str(), m.value));
        self.write_events(|events| events.scalars(step, tagged));

        let headline = report.headline().into_iter();
        let headline: Vec<String> =
            headline.map(|m| format!("{} {}", m.name, significant(m.value))).collect();
        self.say(&format!("step {step}  {split}: {}", headline.join("  ")));
        for note in &report.notes {
            self.say(&format!("step {step}  {split}: note: {note}"));
        }
        for table in &report.tables {
            self.log(&sonotune_metrics::table::plain(table));
            let tag = format!("{split}/{}", table.title);
            self.write_events(|events| {
                events.text(&tag, step, &sonotune_metrics::table::markdown(table))
            });
        }
        if let Some(Confusion { names, counts }) = &report.confusion {
            let picture = pictures::confusion_matrix(counts, names);
            let tag = format!("{split}/confusion_matrix");
            self.write_events(|events| events.image(&tag, step, &picture));
        }
    }

    /// Means over the steps since the last call.
    fn take_interval(&mut self) -> Option<MeanTime> {
        let (steps, sum) = std::mem::take(&mut self.interval);
        (steps > 0).then(|| MeanTime::of(steps, sum))
    }

    /// Estimated from the mean pace of this process so far, including evaluations.
    fn eta(&self, step: u64) -> String {
        let done = step.saturating_sub(self.options.resume_step.unwrap_or(0));
        let left = self.options.total_steps.saturating_sub(step);
        if done == 0 {
            return "?".to_owned();
        }
        let seconds = self.started.elapsed().as_secs_f64() / done as f64 * left as f64;
        // An estimate has no hundredths.
        duration(seconds.floor())
    }
}
