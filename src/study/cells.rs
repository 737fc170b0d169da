//! The combinations that a study runs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use sonotune_base::Error;

use crate::{
    config::{Skip, StudyConfig, TaskVariant, Variant},
    flatten::overrides,
    folder::StudyFiles,
    folds::Folds,
};

/// A study's file and its folder.
#[derive(Debug)]
pub struct Study {
    pub config: StudyConfig,
    pub files: StudyFiles,
    /// The config with defaults written out.
    pub resolved: String,
    /// Folder that `base` and every `config` are relative to.
    place: PathBuf,
}

/// One run: a combination of what varies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The name that its files have.
    pub name: String,
    /// Empty if the study names no tasks.
    pub task: String,
    pub model: String,
    /// Empty if the study names no strategies.
    pub strategy: String,
    pub seed: u64,
    pub fold: Option<usize>,
    /// Config files, each on top of those before it.
    #[serde(skip)]
    pub layers: Vec<PathBuf>,
    /// `key=value` on top of them.
    #[serde(skip)]
    pub overrides: Vec<String>,
}

impl Cell {
    /// Whether both train the same way: they differ in seed and fold alone.
    #[must_use]
    pub fn is_repeat_of(&self, other: &Self) -> bool {
        let of = |cell: &Self| (cell.task.clone(), cell.model.clone(), cell.strategy.clone());
        of(self) == of(other)
    }

    /// For people: `classification · UltraSam · full · seed 0 · fold 1`.
    #[must_use]
    pub fn title(&self) -> String {
        let names = [&self.task, &self.model, &self.strategy].map(String::as_str);
        let mut parts: Vec<String> =
            names.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect();
        parts.push(format!("seed {}", self.seed));
        parts.extend(self.fold.map(|fold| format!("fold {fold}")));
        parts.join(" · ")
    }
}

impl Study {
    /// Reads the file of a study.
    ///
    /// # Errors
    /// Of kind config; one text that names every problem with file, line and key.
    pub fn load(path: &Path, changes: &[String]) -> Result<Self> {
        let loaded = sonotune_config::load::<StudyConfig>(path, changes)?;
        let place = path.parent().unwrap_or(Path::new("")).to_owned();
        let files = StudyFiles::of(&loaded.config.study_dir);
        let study = Self { config: loaded.config, files, resolved: loaded.resolved, place };
        let configs = std::iter::once(&study.config.base)
            .chain(study.config.tasks.iter().filter_map(|task| task.config.as_ref()))
            .chain(study.config.models.iter().filter_map(|model| model.config.as_ref()))
            .chain(study.config.strategies.iter().filter_map(|s| s.config.as_ref()));
        for config in configs {
            let file = study.place.join(config);
            if !file.is_file() {
                return Err(Error::config(format!(
                    "{}: it names {}, which is not a file; configs are relative to the folder of the study's \
                     file",
                    path.display(),
                    file.display()
                ))
                .into());
            }
        }
        Ok(study)
    }

    /// Every cell, repeats last: a study that is cut short has compared as many models as it could.
    /// `folds` are those that the study makes, if it does.
    ///
    /// # Errors
    /// Of kind config if every combination is skipped.
    pub fn cells(&self, folds: Option<&Folds>) -> Result<Vec<Cell>> {
        let config = &self.config;
        let mut cells = Vec::new();
        let fold_numbers = || match folds {
            Some(folds) => (0..folds.files.len()).map(Some).collect(),
            None => vec![None],
        };
        for &seed in &config.seeds {
            for fold in fold_numbers() {
                for task in or_none(&config.tasks) {
                    for model in &config.models {
                        for strategy in or_none(&config.strategies) {
                            if !self.is_skipped(task, model, strategy) {
                                let of = Combination { task, model, strategy, seed, fold };
                                cells.push(self.cell(&of, folds)?);
                            }
                        }
                    }
                }
            }
        }
        if cells.is_empty() {
            return Err(Error::config("`skip` leaves out every combination").into());
        }
        Ok(cells)
    }

    fn is_skipped(
        &self,
        task: Option<&TaskVariant>,
        model: &Variant,
        strategy: Option<&Variant>,
    ) -> bool {
        let is = |wanted: &Option<String>, name: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| Some(wanted) == name)
        };
        self.config.skip.iter().any(|skip: &Skip| {
            is(&skip.task, task.map(|task| &task.name))
                && is(&skip.model, Some(&model.name))
                && is(&skip.strategy, strategy.map(|strategy| &strategy.name))
        })
    }

    fn cell(&self, of: &Combination<'_>, folds: Option<&Folds>) -> Result<Cell> {
        let names = [of.task.map(|t| &t.name), Some(&of.model.name), of.strategy.map(|s| &s.name)];
        let mut parts: Vec<String> = names.iter().flatten().map(|name| slug(name)).collect();
        parts.push(format!("seed{}", of.seed));
        parts.extend(of.fold.map(|fold| format!("fold{fold}")));
        let name = parts.join(".");
        let configs = [
            Some(&self.config.base),
            of.task.and_then(|task| task.config.as_ref()),
            of.model.config.as_ref(),
            of.strategy.and_then(|strategy| strategy.config.as_ref()),
        ];
        let sets = [of.task.map(|t| &t.set), Some(&of.model.set), of.strategy.map(|s| &s.set)];
        let mut own = toml::Table::new();
        for set in sets.into_iter().flatten() {
            merge(&mut own, set);
        }
        let mut overrides = overrides(&own);
        if let (Some(folds), Some(fold)) = (folds, of.fold) {
            overrides.extend(folds.overrides(fold)?);
        }
        overrides.push(format!("seed={}", of.seed));
        overrides.extend(self.config.budget.steps.map(|steps| format!("train.max_steps={steps}")));
        let run_dir = toml::Value::String(self.files.run(&name).display().to_string());
        overrides.push(format!("run_dir={run_dir}"));
        Ok(Cell {
            name,
            task: of.task.map(|task| task.name.clone()).unwrap_or_default(),
            model: of.model.name.clone(),
            strategy: of.strategy.map(|strategy| strategy.name.clone()).unwrap_or_default(),
            seed: of.seed,
            fold: of.fold,
            layers: configs.into_iter().flatten().map(|config| self.place.join(config)).collect(),
            overrides,
        })
    }

    /// The figure that ranks the models of a task, if the study says.
    #[must_use]
    pub fn metric_of(&self, task: &str) -> Option<&str> {
        let own = self.config.tasks.iter().find(|known| known.name == task);
        let own = own.and_then(|task| task.metric.as_deref());
        own.or(self.config.statistics.metric.as_deref())
    }
}

struct Combination<'a> {
    task: Option<&'a TaskVariant>,
    model: &'a Variant,
    strategy: Option<&'a Variant>,
    seed: u64,
    fold: Option<usize>,
}

/// The values of an axis, or a single none for an axis without any.
fn or_none<T>(values: &[T]) -> Vec<Option<&T>> {
    if values.is_empty() { vec![None] } else { values.iter().map(Some).collect() }
}

/// `over` on top of `base`, table by table; another `type` replaces the whole table.
fn merge(base: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                let retypes = above.get("type").is_some_and(|of| below.get("type") != Some(of));
                if retypes {
                    below.clear();
                }
                merge(below, above);
            }
            _ => drop(base.insert(key.clone(), value.clone())),
        }
    }
}

/// A name as part of a file's: lower case, letters and digits, everything else a hyphen.
pub(crate) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}
