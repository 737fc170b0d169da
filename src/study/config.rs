//! The file of a study.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_coco::split::{By, Copies, Official};
use sonotune_config::{Problem, Schema};
use sonotune_statistics::bootstrap::Method;

use crate::cells::slug;

/// What is compared, on what, and how often.
///
/// `base` and every `config` are relative to the folder of the study's file, as with `extends`; `study_dir`
/// and `folds.annotations` to the working directory, as in the config of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StudyConfig {
    /// Folder of the study.
    pub study_dir: PathBuf,
    /// Config that every run begins with.
    pub base: PathBuf,
    /// Seeds: every combination is run once with each.
    #[serde(default = "first_seed")]
    pub seeds: Vec<u64>,
    /// What is learnt, or from which dataset; absent: the task of `base`. Tasks are answered one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskVariant>,
    /// What is compared, such as backbones and their weights: `name`, and `config` or `set` or both.
    pub models: Vec<Variant>,
    /// How the models are trained, e.g. in full or with a frozen backbone; absent: as `base` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strategies: Vec<Variant>,
    /// Combinations to leave out: `{ model = "ResNet-50", strategy = "LoRA" }`, each name optional.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<Skip>,
    /// Cross-validation; absent: the splits of `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<FoldsConfig>,
    /// What the study may cost.
    #[serde(default)]
    pub budget: BudgetConfig,
    /// How the runs are started.
    #[serde(default)]
    pub runs: RunsConfig,
    /// How the scores are summarised and compared.
    #[serde(default)]
    pub statistics: StatisticsConfig,
}

fn first_seed() -> Vec<u64> {
    vec![0]
}

/// A value of something that varies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// As it appears in tables.
    pub name: String,
    /// Config file that is merged on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// Keys on top of that, e.g. `{ backbone.freeze = "all" }`.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub set: toml::Table,
}

/// A task, and what decides it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskVariant {
    /// As it appears in tables.
    pub name: String,
    /// Config file that is merged on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// Keys on top of that.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub set: toml::Table,
    /// The figure that ranks the models; absent: that of `[statistics]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

/// Leaves out the combinations that have all of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// Name of a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Name of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Name of a strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
}

/// `[folds]`: each image is tested once, by a model that neither learnt from its patient nor was chosen on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FoldsConfig {
    /// COCO file whose images are divided.
    pub annotations: PathBuf,
    /// Parts: fold i tests on part i, chooses its checkpoint on the next one, and trains on the others.
    #[serde(default = "five")]
    pub count: usize,
    /// What stays together in one part, as in `sonotune data split`.
    #[serde(default = "auto")]
    pub by: By,
    /// Key of the image entries whose equal values stay together, in place of `by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// What to do about images that are in the file twice: they also stay together with `identical` (the same
    /// pixels) and `near` (alike).
    #[serde(default = "identical")]
    pub duplicates: Copies,
    /// Whether each part gets the same share of every category.
    #[serde(default = "yes")]
    pub stratify: bool,
    /// What to do about a split that the images name; `keep` refuses a file whose images name an official test set.
    #[serde(default = "ignore")]
    pub official: Official,
    /// The division derives from it.
    #[serde(default)]
    pub seed: u64,
}

fn five() -> usize {
    5
}

fn auto() -> By {
    By::Auto
}

fn identical() -> Copies {
    Copies::Identical
}

fn yes() -> bool {
    true
}

fn ignore() -> Official {
    Official::Ignore
}

/// `[budget]`: what the study may cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// Hours from the start of the command after which no further run is started; those that are running
    /// end as usual. Starting the study again goes on.
    pub hours: Option<f64>,
    /// Steps of every run, in place of its `train.max_steps`.
    pub steps: Option<u64>,
}

/// `[runs]`: how the runs are started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunsConfig {
    /// Runs at a time; absent: one for each GPU, or one on the CPU. On the CPU they share the cores.
    pub at_a_time: Option<usize>,
    /// Whether finished runs keep their last checkpoint, from which training could go on, beside the best.
    pub keep_last_checkpoints: bool,
}

/// `[statistics]`: how the scores are summarised and compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticsConfig {
    /// The figure that ranks the models; absent: `f1` for tasks that give labels, otherwise the first figure
    /// of the images.
    pub metric: Option<String>,
    /// Coverage of the intervals; tests are at one minus it.
    pub level: f64,
    /// Draws of the bootstrap, and of tests that permute.
    pub resamples: usize,
    /// How the interval is taken from the bootstrap; docs/statistics.md says which one covers what.
    pub interval: IntervalMethod,
    /// Every draw derives from it.
    pub seed: u64,
    /// Keys of the images whose values make subgroup tables, e.g. `device`, `sex`.
    pub subgroups: Vec<String>,
}

impl Default for StatisticsConfig {
    fn default() -> Self {
        Self {
            metric: None,
            level: 0.95,
            resamples: 2000,
            interval: IntervalMethod::default(),
            seed: 0,
            subgroups: Vec::new(),
        }
    }
}

/// How the interval is taken from the bootstrap; docs/statistics.md says which one covers what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMethod {
    /// Bootstrap-t for means, expanded BCa for other figures.
    #[default]
    Studentized,
    ExpandedBca,
    ExpandedPercentile,
    Bca,
    Percentile,
}

impl IntervalMethod {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Studentized => Method::Studentized,
            Self::ExpandedBca => Method::ExpandedBca,
            Self::ExpandedPercentile => Method::ExpandedPercentile,
            Self::Bca => Method::Bca,
            Self::Percentile => Method::Percentile,
        }
    }
}

impl Schema for StudyConfig {
    const TABLES: &'static [&'static str] = &[];

    fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut fault = |key: &str, message: String| {
            problems.push(Problem::error(format!("`{key}` {message}")).key(key));
        };
        if self.models.is_empty() {
            fault("models", "is empty: a study compares at least one model".into());
        }
        if self.seeds.is_empty() {
            fault("seeds", "is empty: expected at least one number".into());
        }
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        if let Some(pair) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
            fault("seeds", format!("has {} twice: it would not be a repeat", pair[0]));
        }
        let tasks: Vec<&str> = self.tasks.iter().map(|task| &*task.name).collect();
        let models: Vec<&str> = self.models.iter().map(|model| &*model.name).collect();
        let strategies: Vec<&str> = self.strategies.iter().map(|s| &*s.name).collect();
        for (key, names) in [("tasks", &tasks), ("models", &models), ("strategies", &strategies)] {
            if let Some(message) = wrong_names(names) {
                fault(key, message);
            }
        }
        for (i, skip) in self.skip.iter().enumerate() {
            let axes = [
                ("task", &skip.task, &tasks),
                ("model", &skip.model, &models),
                ("strategy", &skip.strategy, &strategies),
            ];
            for (axis, name, known) in axes {
                if let Some(name) = name.as_deref().filter(|name| !known.contains(name)) {
                    let known = known.join(", ");
                    fault(&format!("skip.{i}.{axis}"), format!("= \"{name}\": there are {known}"));
                }
            }
        }
        self.check_numbers(&mut fault);
        problems
    }
}

impl StudyConfig {
    fn check_numbers(&self, fault: &mut impl FnMut(&str, String)) {
        if let Some(folds) = self.folds.as_ref().filter(|folds| folds.count < 3) {
            let message = "expected at least 3, so that one tests, one validates, the others train";
            fault("folds.count", format!("= {}: {message}", folds.count));
        }
        if let Some(hours) = self.budget.hours.filter(|h| !h.is_finite() || *h <= 0.0) {
            fault("budget.hours", format!("= {hours}: expected a positive number"));
        }
        if self.budget.steps == Some(0) {
            fault("budget.steps", "= 0: expected at least 1".into());
        }
        if self.runs.at_a_time == Some(0) {
            fault("runs.at_a_time", "= 0: expected at least 1".into());
        }
        let statistics = &self.statistics;
        if !(0.5..1.0).contains(&statistics.level) {
            fault("statistics.level", format!("= {}: expected 0.5 to below 1", statistics.level));
        }
        if !(200..=1_000_000).contains(&statistics.resamples) {
            let given = statistics.resamples;
            fault("statistics.resamples", format!("= {given}: expected 200 to 1,000,000"));
        }
    }
}

/// Names must tell tables' rows apart, and their folders.
fn wrong_names(names: &[&str]) -> Option<String> {
    for (i, name) in names.iter().enumerate() {
        if slug(name).is_empty() {
            return Some(format!("has the name {name:?}: expected letters or digits"));
        }
        if let Some(other) = names[..i].iter().find(|other| slug(other) == slug(name)) {
            return Some(format!(
                "has the names {other:?} and {name:?}, whose folders would both be called {:?}",
                slug(name)
            ));
        }
    }
    None
}
