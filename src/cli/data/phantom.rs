//! `sonotune data phantom`.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use sonotune_dataset::Split;
use sonotune_phantom::{Kind, PhantomConfig, SplitSummary, Summary, generate};

#[derive(Debug, Args)]
pub(crate) struct PhantomArgs {
    /// Folder to create.
    out: PathBuf,
    /// Organ-like appearance and its lesion classes.
    #[arg(long, value_enum, default_value_t = PhantomConfig::default().kind)]
    kind: Kind,
    /// Number of images in all splits together.
    #[arg(long, default_value_t = PhantomConfig::default().num_images)]
    num_images: usize,
    /// Height and width of each image in pixels.
    #[arg(long, default_value_t = PhantomConfig::default().image_size)]
    image_size: u32,
    /// Random seed: the same seed and options give the same pixels on any machine.
    #[arg(long, default_value_t = PhantomConfig::default().seed)]
    seed: u64,
    /// Images per patient: several views of one lesion on one machine.
    #[arg(long, default_value_t = PhantomConfig::default().images_per_patient)]
    images_per_patient: usize,
    /// Each image shows 1 to this many lesions.
    #[arg(long, default_value_t = PhantomConfig::default().max_lesions)]
    max_lesions: usize,
    /// Share of images without a lesion.
    #[arg(long, default_value_t = PhantomConfig::default().empty_fraction)]
    empty_fraction: f64,
    /// Allow lesions of different classes in one image (label lists leave these images out).
    #[arg(long)]
    mixed_classes: bool,
    /// Share of patients in the training split.
    #[arg(long, default_value_t = PhantomConfig::default().train_fraction)]
    train_fraction: f64,
    /// Share of patients in the validation split; the rest is the test split.
    #[arg(long, default_value_t = PhantomConfig::default().val_fraction)]
    val_fraction: f64,
    /// Leave out the depth ruler, grey bar and focus mark.
    #[arg(long)]
    no_marks: bool,
    /// Replace OUT if it is a phantom dataset; nothing else is ever replaced.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl PhantomArgs {
    fn config(&self) -> PhantomConfig {
        PhantomConfig {
            num_images: self.num_images,
            image_size: self.image_size,
            seed: self.seed,
            kind: self.kind,
            images_per_patient: self.images_per_patient,
            max_lesions: self.max_lesions,
            empty_fraction: self.empty_fraction,
            mixed_classes: self.mixed_classes,
            train_fraction: self.train_fraction,
            val_fraction: self.val_fraction,
            marks: !self.no_marks,
        }
    }
}

pub(super) fn run(args: &PhantomArgs) -> Result<()> {
    let config = args.config();
    let started = Instant::now();
    // Draws on standard error, and only when that is a terminal.
    let bar = ProgressBar::new(config.num_images as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} images, {per_sec}, {eta}")
    {
        bar.set_style(style);
    }
    let written = generate(&config, &args.out, args.overwrite, &|n| bar.inc(n as u64));
    bar.finish_and_clear();
    let summary = written?;
    let seconds = started.elapsed().as_secs_f64();
    let report = serde_json::json!({ "summary": summary, "config": config, "seconds": seconds });
    crate::present(args.json, &report, |_| print(&summary, &config, seconds))
}

fn print(summary: &Summary, config: &PhantomConfig, seconds: f64) {
    println!(
        "{}: {} {} phantoms of {size}×{size}, {} patients, {} lesions, in {seconds:.1} s",
        summary.path.display(),
        summary.images,
        config.kind.name(),
        summary.patients,
        summary.lesions,
        size = config.image_size,
    );
    for split in &summary.splits {
        println!("  {}", line(split, &summary.path));
    }
}

fn line(summary: &SplitSummary, path: &Path) -> String {
    let split = match summary.split {
        Split::Train => "train",
        Split::Val => "val",
        Split::Test => "test",
    };
    let mut text =
        format!("{split:<5} {:>6} images of {:>5} patients:", summary.images, summary.patients);
    for class in &summary.classes {
        text.push_str(&format!(" {} {},", class.images, class.name));
    }
    if summary.empty_images > 0 {
        text.push_str(&format!(" {} without lesion,", summary.empty_images));
    }
    let file = path.join("annotations").join(format!("{split}.json"));
    format!("{} in {}", text.trim_end_matches(','), file.display())
}
