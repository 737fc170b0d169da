//! `sonotune predict`.

use std::{num::NonZeroU32, path::PathBuf};

use anyhow::Result;
use clap::Args;

use sonotune_base::Error;
use sonotune_dataset::FrameChoice;
use sonotune_run as run;
use sonotune_run::{MaskFiles, PredictOptions, PredictRecord, PromptSource, config};

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// An image, DICOM file or clip, or a folder to search for them.
    images: PathBuf,
    #[command(flatten)]
    model: super::ModelArgs,
    #[command(flatten)]
    frames: FrameArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Carry the answers at prompted frames to the other frames of their clip: the box of each mask is the prompt
    /// of the next frame, forwards and backwards, until the mask is empty.
    #[arg(long)]
    carry: bool,
    /// Kind of prompt for --annotations: `box` (default) or another evaluation protocol of the task.
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    /// Folder for predictions.csv, predictions.json, masks/ and pictures/.
    #[arg(long)]
    out: PathBuf,
    /// Changes to the config, e.g. `device=cpu`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Leave out objects with a lower score; answers to prompts are always kept. Default: the
    /// score from which the task considers an object worth showing.
    #[arg(long, value_name = "SCORE", value_parser = score)]
    min_score: Option<f64>,
    /// Masks as PNG: one label map per image, or one file per object.
    #[arg(long, value_enum, default_value_t)]
    masks: MaskFiles,
    /// Do not draw pictures.
    #[arg(long)]
    no_pictures: bool,
    /// Replace the predictions already in --out.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    pub(super) processes: super::processes::ProcessArgs,
    /// Print a record of what was written, as JSON.
    #[arg(long)]
    json: bool,
}

/// Which frames of clips and multi-frame DICOM files; all, if none is given.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct FrameArgs {
    /// Every Nth frame of each clip, from the first.
    #[arg(long, value_name = "N")]
    every_frame: Option<NonZeroU32>,
    /// N evenly spaced frames of each clip.
    #[arg(long, value_name = "N")]
    frames: Option<NonZeroU32>,
}

impl FrameArgs {
    pub(super) fn choice(&self) -> FrameChoice {
        match (self.every_frame, self.frames) {
            (Some(step), _) => FrameChoice::Every(step),
            (None, Some(number)) => FrameChoice::Number(number),
            (None, None) => FrameChoice::All,
        }
    }
}

/// The prompts for a promptable model.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct PromptArgs {
    /// Points, boxes and masks for each image: JSON or CSV (docs/prediction.md).
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Prompt with every object of a COCO file; its file names are relative to IMAGES.
    #[arg(long, value_name = "COCO.json")]
    annotations: Option<PathBuf>,
    /// Segment everything in each image, without prompts.
    #[arg(long)]
    everything: bool,
}

impl PromptArgs {
    fn source(&self, protocol: Option<&str>) -> Result<PromptSource> {
        if protocol.is_some() && self.annotations.is_none() {
            return Err(Error::config(
                "--protocol sets the kind of prompt for --annotations: give both",
            )
            .into());
        }
        Ok(match (&self.prompts, &self.annotations) {
            (Some(path), _) => PromptSource::File(path.clone()),
            (None, Some(path)) => PromptSource::Annotations {
                path: path.clone(),
                protocol: protocol.unwrap_or("box").to_owned(),
            },
            (None, None) if self.everything => PromptSource::Everything,
            (None, None) => PromptSource::None,
        })
    }
}

fn score(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(score),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

pub(super) fn run(args: &PredictArgs) -> Result<()> {
    let (loaded, source) = args.model.load(&args.overrides, config::load_for_prediction)?;
    let others = args.model.load_others(&args.overrides)?;
    let prompts = args.prompts.source(args.protocol.as_deref())?;
    let options = PredictOptions {
        images: args.images.clone(),
        frames: args.frames.choice(),
        prompts,
        carry: args.carry,
        out: args.out.clone(),
        source,
        min_score: args.min_score,
        masks: args.masks,
        pictures: !args.no_pictures,
        overwrite: args.overwrite,
        ranks: super::join(&loaded.config)?,
    };
    let predicted = run::predict_ensemble(&loaded, &others, &options)?;
    let Some(record) = predicted else { return Ok(()) };
    crate::present(args.json, &record, print)?;
    if record.failures.is_empty() {
        return Ok(());
    }
    Err(Error::data(format!(
        "{} image(s) have no prediction:\n  {}",
        record.failures.len(),
        record.failures.join("\n  ")
    ))
    .into())
}

fn print(record: &PredictRecord) {
    const SHOWN: usize = 10;
    let objects = record.num_objects.map_or_else(String::new, |n| format!(", {n} object(s),"));
    let images = record.num_images;
    let model = super::weights_words(&record.checkpoint, &record.beside, &record.ensemble);
    let average = if record.averaged { " (moving average)" } else { "" };
    println!("{images} image(s){objects} predicted with {model}{average}");
    for (name, rule) in &record.conditions {
        println!("  {name}: {rule}");
    }
    if let Some(first) = record.clips.first() {
        println!("clips ({}):", first.rule);
        for clip in record.clips.iter().take(SHOWN) {
            let labels =
                if clip.labels.is_empty() { "none".to_owned() } else { clip.labels.join(", ") };
            println!("  {}: {labels} ({} frames)", clip.file_name, clip.num_frames);
        }
        let more = record.clips.len().saturating_sub(SHOWN);
        if more > 0 {
            println!("  and {more} more");
        }
    }
    let files = [Some(&record.csv), Some(&record.json), record.masks.as_ref()];
    for path in files.into_iter().chain([record.pictures.as_ref()]).flatten() {
        println!("  {}", path.display());
    }
    let some = |list: &[String]| {
        let shown: Vec<_> = list.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect();
        let more = list.len().saturating_sub(SHOWN);
        shown.concat() + &if more > 0 { format!("\n  and {more} more") } else { String::new() }
    };
    if !record.without_prompts.is_empty() {
        let list = some(&record.without_prompts);
        println!("{} image(s) without prompts left out:{list}", record.without_prompts.len());
    }
    if !record.notes.is_empty() {
        println!("notes:{}", some(&record.notes));
    }
}
