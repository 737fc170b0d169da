//! A first config for a folder of images: what is in it, and which settings follow from that.
//!
//! [`init`] surveys the folder, takes a fingerprint of the data, divides the images, chooses settings by rules, and writes
//! a config with the reason beside each line. Images are never copied: lists and COCO files refer to them.

mod choose;
mod classes;
mod coding;
mod dataset;
mod division;
mod exports;
mod fingerprint;
mod line;
mod listing;
mod machine;
mod names;
mod output;
mod pairs;
mod prepare;
mod spacing;
mod survey;
mod task;
mod weights;
mod write;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use sonotune_base::{
    stop::StopFlag,
    words::{counted, shell_word},
};

pub use division::Division;
pub use fingerprint::{Fingerprint, Objects};
pub use line::Line;
pub use machine::Machine;
pub use task::Task;
pub use weights::WeightsAtHand;

/// What to make a config for.
#[derive(Debug, Clone)]
pub struct Request {
    /// A folder, or a COCO file.
    pub data: PathBuf,
    /// Folder for the config, and for the lists or COCO files that it names.
    pub out: PathBuf,
    /// Folder of the run.
    pub run_dir: PathBuf,
    /// The task, if it is not to be chosen.
    pub task: Option<Task>,
    /// Name of the objects of masks in a folder without classes.
    pub category: Option<String>,
    /// Seed of the division and the run.
    pub seed: u64,
    /// How long the run should take.
    pub minutes: f64,
    /// Replaces the config and its files.
    pub overwrite: bool,
    pub machine: Machine,
    pub weights: Vec<WeightsAtHand>,
}

/// Something that was decided about the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub what: String,
    pub guess: bool,
}

/// What was found and written.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub data: PathBuf,
    pub layout: String,
    pub task: Task,
    pub why_task: String,
    /// Further tasks that the data allow.
    pub other_tasks: Vec<Task>,
    pub fingerprint: Fingerprint,
    pub machine: Machine,
    pub division: Option<Division>,
    pub decisions: Vec<Decision>,
    pub notes: Vec<String>,
    /// The config's lines.
    pub lines: Vec<Line>,
    pub config: PathBuf,
    /// All files that were written, the config last.
    pub files: Vec<PathBuf>,
    /// What to do next.
    pub commands: Vec<String>,
}

/// What takes long: how many images are opened, and each that has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Begin { what: &'static str, images: usize },
    Image,
}

/// Writes a first config for `request.data`.
///
/// # Errors
/// Kind data: nothing in the folder can be learnt from, or not by the task that was asked for. Kind config: the output is
/// there already, or is inside the data.
pub fn init(
    request: &Request,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &StopFlag,
) -> Result<Report> {
    output::check(request)?;
    let survey = survey::of(&request.data)?;
    let chosen = task::choose(&survey, request.task)?;
    let data = dataset::gather(request, &survey, chosen.task, progress, stop)?;
    let (model, mut notes) =
        weights::best(&request.weights, chosen.task, &request.machine, request.minutes);
    notes.splice(0..0, survey.notes.iter().chain(&data.notes).cloned());
    if chosen.task == Task::Instances && model.is_none() {
        notes.push(
            "objects are found and outlined well only after long training or from pretrained weights: expect little of a \
             random start"
                .to_owned(),
        );
    }
    notes.extend(few(&data));
    let facts = choose::Facts {
        task: chosen.task,
        print: &data.fingerprint,
        machine: &request.machine,
        model: model.as_ref(),
        train: data.train,
        val: data.val,
        minutes: request.minutes,
        multi_label: data.multi_label,
    };
    let mut lines = vec![
        Line::new("", "run_dir", shown(&request.run_dir).into(), "folder of the run"),
        Line::new(
            "",
            "seed",
            i64::try_from(request.seed).unwrap_or_default().into(),
            "all random choices follow from it",
        ),
    ];
    lines.extend(data.lines.iter().cloned());
    lines.extend(choose::choose(facts));
    let decision = |(what, guess): &(String, bool)| Decision { what: what.clone(), guess: *guess };
    let mut decisions = vec![Decision { what: chosen.why.clone(), guess: chosen.guess }];
    decisions.extend(data.decisions.iter().map(decision));
    let mut report = Report {
        data: request.data.clone(),
        layout: survey.layout.clone(),
        task: chosen.task,
        why_task: chosen.why,
        other_tasks: chosen.others,
        fingerprint: data.fingerprint.clone(),
        machine: request.machine,
        division: data.division.clone(),
        decisions,
        notes,
        lines,
        config: request.out.join(output::CONFIG),
        files: Vec::new(),
        commands: commands(request),
    };
    report.files = output::write(request, &data, &write::config(&report))?;
    Ok(report)
}

/// Fewer training images than this are few, and fewer images of a class.
const FEW: (usize, usize) = (50, 10);

/// Notes on data that are too few for scores to mean much.
fn few(data: &dataset::Data) -> Vec<String> {
    let mut notes = Vec::new();
    if data.train < FEW.0 {
        notes.push(format!(
            "{} are few for training: expect rough results, and scores that change with the split",
            counted(data.train, "image")
        ));
    }
    let classes = data.fingerprint.classes.iter().filter(|_| data.fingerprint.of_images);
    for (name, count) in classes.filter(|(_, count)| *count < FEW.1) {
        notes.push(format!(
            "{name} has {} only: scores for it mean little",
            counted(*count, "image")
        ));
    }
    notes
}

fn commands(request: &Request) -> Vec<String> {
    let word = |path: &Path| shell_word(&shown(path));
    let config = word(&request.out.join(output::CONFIG));
    vec![
        format!("sonotune config validate {config}"),
        format!("sonotune data check {config}"),
        format!("sonotune train {config} --dry-run"),
        format!("sonotune train {config}"),
        format!("sonotune eval --run {} --split test", word(&request.run_dir)),
    ]
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Fingerprint {
    /// `780 images (437 benign, 210 malignant, 133 normal), 190 to 1048 pixels long`.
    #[must_use]
    pub fn words(&self) -> String {
        let [low, middle, high] = self.longer_side;
        let classes: Vec<String> =
            self.classes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let mut words = counted(self.images, "image");
        if self.of_images && !classes.is_empty() {
            words += &format!(" ({})", classes.join(", "));
        }
        words += &if low == high {
            format!(", all {low} pixels long")
        } else {
            format!(", {low} to {high} pixels long, mostly about {middle}")
        };
        if let Some(objects) = &self.objects {
            words += &format!(", {}", counted(objects.count, "object"));
            if !self.of_images && classes.len() > 1 {
                words += &format!(" ({})", classes.join(", "));
            }
            if objects.empty_images > 0 {
                words += &format!(", {} without any", counted(objects.empty_images, "image"));
            }
        }
        words
    }
}
