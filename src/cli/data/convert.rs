//! `sonotune data convert`.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_curation::{
    convert::{Converted, Options, Progress, convert, plan},
    problem::{OnProblem, listed},
    readers::Plan,
    spec::{Choice, Spec},
    us43d,
};

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Spec of the dataset: a TOML file, or the name of a shipped one (`busi`).
    spec: String,
    /// What was downloaded: a folder or an archive.
    source: PathBuf,
    /// Folder to write to. An interrupted conversion there is resumed.
    out: PathBuf,
    #[command(flatten)]
    choices: ConversionChoices,
    /// Pair files and stop: print what matches what, and write nothing except unpacked files.
    #[arg(long)]
    dry_run: bool,
    /// Replace a conversion made with other options.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Options of a conversion that several verbs share.
#[derive(Debug, Args)]
pub(crate) struct ConversionChoices {
    /// Reproduce all defects of the reference's conversion that the spec names.
    #[arg(long)]
    as_published: bool,
    /// Reproduce only this defect; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "as_published")]
    defect: Vec<String>,
    /// What to do with files that have problems.
    #[arg(long, value_enum, default_value_t = Policy::Fail)]
    on_problem: Policy,
    /// With `--on-problem skip`: more problems than this are an error.
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_problems: usize,
    /// Worker threads [default: number of cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    /// The conversion stops and reports them.
    Fail,
    /// They are left out, counted and listed.
    Skip,
}

impl ConversionChoices {
    pub(super) fn choice(&self) -> Choice {
        if self.as_published {
            Choice::AsPublished
        } else if self.defect.is_empty() {
            Choice::AsIntended
        } else {
            Choice::Only(self.defect.clone())
        }
    }

    pub(super) fn options(&self, overwrite: bool) -> Options {
        Options {
            on_problem: match self.on_problem {
                Policy::Fail => OnProblem::Fail,
                Policy::Skip => OnProblem::Skip { cap: self.max_problems },
            },
            threads: self.threads.map(NonZeroUsize::get),
            overwrite,
            ..Options::default()
        }
    }
}

pub(super) fn run(args: &ConvertArgs) -> Result<()> {
    let choice = args.choices.choice();
    let spec = read_spec(&args.spec, &choice)?;
    let options = args.choices.options(args.overwrite);
    let stop = StopFlag::from_signals()?;
    let bar = Bar::new();
    if args.dry_run {
        let work = args.out.join(".source");
        let plan = plan(&spec, &args.source, &work, &options, &|p| bar.tell(p), &stop);
        bar.finish();
        return print_plan(&plan?, args.json);
    }
    let converted = convert(&spec, &args.source, &args.out, &options, &|p| bar.tell(p), &stop);
    bar.finish();
    let converted = converted?;
    let mut report = serde_json::to_value(&converted)?;
    // This is about this call, not the conversion, so conversion.json does not have it.
    report["already_complete"] = converted.already_complete.into();
    crate::present(args.json, &report, |_| print(&converted, &args.out))
}

/// A spec by its file, or a shipped one by its name.
fn read_spec(name: &str, choice: &Choice) -> Result<Spec> {
    let path = Path::new(name);
    if path.is_file() {
        return Spec::read(path, choice);
    }
    match us43d::find(name) {
        Some(shipped) => shipped.spec(choice),
        None => {
            let near = us43d::nearest(name);
            Err(Error::config(format!(
                "spec {name}: no such file, and no shipped spec of this name{near}; `sonotune data \
                 us43d --list` lists them"
            ))
            .into())
        }
    }
}

fn print(converted: &Converted, out: &Path) {
    let done = if converted.already_complete { " (was complete; nothing done)" } else { "" };
    println!(
        "{}: {} images, {} objects, in {}{done}",
        converted.name,
        converted.images,
        converted.objects,
        out.join("annotations").join("all.json").display(),
    );
    for category in &converted.categories {
        println!("  {:>7} {} in {} images", category.objects, category.name, category.images);
    }
    if converted.images_without_object > 0 {
        println!("  {:>7} images without an object", converted.images_without_object);
    }
    let left_out = &converted.left_out;
    if left_out.empty > 0 {
        println!("  {:>7} images left out: without an object", left_out.empty);
    }
    if !left_out.unpaired.is_empty() {
        let example = &left_out.unpaired[0];
        println!(
            "  {:>7} images left out: without a mask, like {example}",
            left_out.unpaired.len()
        );
    }
    if !left_out.problems.is_empty() {
        println!("left out for problems (all in conversion.json):");
        print!("{}", listed(&left_out.problems, 3));
    }
}

fn print_plan(plan: &Plan, json: bool) -> Result<()> {
    let report = serde_json::json!({
        "roles": plan.roles,
        "units": plan.units.len(),
        "skipped": plan.skipped,
        "problems": plan.problems,
    });
    crate::present(json, &report, |_| {
        print!("{}", plan.matched());
        if !plan.skipped.is_empty() {
            println!("  {:>7} images without a mask, like {}", plan.skipped.len(), plan.skipped[0]);
        }
        if plan.problems.is_empty() {
            println!("no problems");
        } else {
            println!("{} problems:", plan.problems.len());
            print!("{}", listed(&plan.problems, 10));
        }
    })
}

/// A progress bar on standard error, drawn only if that is a terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        Self(ProgressBar::new_spinner())
    }

    pub(super) fn tell(&self, progress: Progress) {
        match progress {
            Progress::Unpacked(bytes) => {
                if let Ok(style) =
                    ProgressStyle::with_template("{spinner} unpacked {bytes}, {bytes_per_sec}")
                {
                    self.0.set_style(style);
                }
                self.0.inc(bytes);
            }
            Progress::Planned { units, finished } => {
                self.0.reset();
                self.0.set_length(units as u64);
                let style = "{bar:40} {pos}/{len} images or volumes, {per_sec}, {eta}";
                if let Ok(style) = ProgressStyle::with_template(style) {
                    self.0.set_style(style);
                }
                self.0.set_position(finished as u64);
            }
            Progress::Unit => self.0.inc(1),
        }
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, line: &str) {
        self.0.println(line);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
