//! The scores of all folds in one table for each way to train and each seed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use sonotune_base::{Error, fs::read_if_exists, words::listed};
use sonotune_dataset::Split;
use sonotune_run_folder::{EvalRecord, RunFiles};
use sonotune_statistics::{
    Clusters,
    scores::{Scores, align},
};

use crate::cells::{Cell, Study};

/// Which images stay together, by file name, as the study's folds know it.
pub type Groups = BTreeMap<String, usize>;

/// Columns of this prefix hold probabilities of categories.
pub(super) const PROBABILITY: &str = "p:";

/// A task's scores: row i is about the same image in every table.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) arms: Vec<Arm>,
    pub(super) clusters: Clusters,
    pub(super) num_folds: usize,
    /// The fold that tested each row, hence which model scored it.
    pub(super) folds: Vec<usize>,
    pub(super) notes: Vec<String>,
}

/// A way to train, with a table for each of its seeds.
#[derive(Debug)]
pub(super) struct Arm {
    pub(super) model: String,
    pub(super) strategy: String,
    pub(super) seeds: Vec<u64>,
    pub(super) tables: Vec<Scores>,
    /// Names of the cells in the tables.
    pub(super) cells: Vec<String>,
    /// A record of one of its evaluations.
    pub(super) record: EvalRecord,
    /// The fold of each image, by file name.
    fold_of: BTreeMap<String, usize>,
}

impl Arm {
    /// Whether it is a classification.
    pub(super) fn has_probabilities(&self) -> bool {
        let columns = self.tables.first().map(|table| &table.columns);
        columns.into_iter().flatten().any(|column| column.starts_with(PROBABILITY))
    }

    pub(super) fn name(&self) -> String {
        match self.strategy.as_str() {
            "" => self.model.clone(),
            strategy => format!("{} · {strategy}", self.model),
        }
    }
}

impl Pooled {
    pub(super) fn num_images(&self) -> usize {
        self.clusters.num_rows()
    }
}

/// The scores of the cells that are done, of a task whose cells are `all`. A seed counts if all of its folds
/// are done. `None` if there is no such seed.
pub(super) fn pool(
    study: &Study,
    all: &[&Cell],
    done: &[&Cell],
    groups: &Groups,
) -> Result<Option<Pooled>> {
    let mut notes = Vec::new();
    let mut arms: Vec<Arm> = Vec::new();
    let mut left: Vec<&Cell> = all.to_vec();
    while let Some(&first) = left.first() {
        let (of_arm, others): (Vec<&Cell>, Vec<&Cell>) =
            left.iter().copied().partition(|cell| cell.is_repeat_of(first));
        left = others;
        match arm(study, &of_arm, done, groups)? {
            (Some(arm), note) => {
                arms.push(arm);
                notes.extend(note);
            }
            (None, note) => notes.extend(note),
        }
    }
    if arms.is_empty() {
        return Ok(None);
    }
    notes.extend(unequal_seeds(&arms));
    let names: Vec<Vec<String>> = arms
        .iter()
        .map(|arm| arm.seeds.iter().map(|seed| format!("{}, seed {seed}", arm.name())).collect())
        .collect();
    let tables: Vec<(&str, &Scores)> = arms
        .iter()
        .zip(&names)
        .flat_map(|(arm, names)| names.iter().map(String::as_str).zip(&arm.tables))
        .collect();
    let mut aligned = align(&tables)?.into_iter();
    for arm in &mut arms {
        arm.tables = aligned.by_ref().take(arm.seeds.len()).collect();
    }
    let Some(first) = arms[0].tables.first() else { return Ok(None) };
    if first.without_patient() > 0 {
        notes.push(format!(
            "{} of {} images name no patient and count as a patient each: intervals are too short if some show \
             the same one",
            first.without_patient(),
            first.rows.len()
        ));
    }
    let clusters = Clusters::new(&first.patients());
    let fold_of = &arms[0].fold_of;
    let folds = first.rows.iter().map(|row| fold_of.get(&row.file_name).copied().unwrap_or(0));
    let folds: Vec<usize> = folds.collect();
    let num_folds = all.iter().map(|cell| cell.fold).collect::<BTreeSet<_>>().len();
    Ok(Some(Pooled { arms, clusters, num_folds, folds, notes }))
}

fn unequal_seeds(arms: &[Arm]) -> Option<String> {
    let first = &arms[0].seeds;
    let differs = arms.iter().any(|arm| arm.seeds != *first);
    differs.then(|| {
        let each = arms.iter().map(|arm| format!("{} {}", arm.name(), arm.seeds.len()));
        format!("not all have the same number of finished seeds: {}", listed(each, 10))
    })
}

/// The tables of one way to train, or why there are none.
fn arm(
    study: &Study,
    cells: &[&Cell],
    done: &[&Cell],
    groups: &Groups,
) -> Result<(Option<Arm>, Option<String>)> {
    let first = cells[0];
    let mut arm = None;
    let mut incomplete = Vec::new();
    for &seed in &study.config.seeds {
        let of_seed: Vec<&&Cell> = cells.iter().filter(|cell| cell.seed == seed).collect();
        if !of_seed.iter().all(|cell| done.iter().any(|known| known.name == cell.name)) {
            incomplete.push(seed);
            continue;
        }
        let mut table = Scores::default();
        for cell in of_seed {
            let (record, scores) = read(study, cell)?;
            let names: Vec<String> = scores.rows.iter().map(|row| row.file_name.clone()).collect();
            add(&mut table, scores, cell, groups)?;
            let arm = arm.get_or_insert_with(|| Arm {
                model: first.model.clone(),
                strategy: first.strategy.clone(),
                seeds: Vec::new(),
                tables: Vec::new(),
                cells: Vec::new(),
                record,
                fold_of: BTreeMap::new(),
            });
            arm.cells.push(cell.name.clone());
            arm.fold_of.extend(names.into_iter().map(|name| (name, cell.fold.unwrap_or(0))));
        }
        if let Some(arm) = &mut arm {
            arm.seeds.push(seed);
            arm.tables.push(table);
        }
    }
    let name = match first.strategy.as_str() {
        "" => first.model.clone(),
        strategy => format!("{} · {strategy}", first.model),
    };
    let note = match (&arm, incomplete.as_slice()) {
        (_, []) => None,
        (None, _) => Some(format!("{name} is not in the table: none of its seeds has finished")),
        (Some(_), seeds) => {
            Some(format!("{name}: seeds not finished and not counted: {}", listed(seeds, 10)))
        }
    };
    Ok((arm, note))
}

fn read(study: &Study, cell: &Cell) -> Result<(EvalRecord, Scores)> {
    let run = RunFiles::of(&study.files.run(&cell.name));
    let path = run.scores(Split::Test);
    let text = read_if_exists(&path)?.unwrap_or_default();
    let record = serde_json::from_str(&text)
        .map_err(|error| Error::data(format!("{} is not a record: {error}", path.display())))?;
    Ok((record, Scores::read(&run.image_scores(Split::Test))?))
}

/// Adds the images of a fold, named by their files, since each fold numbers its own.
fn add(table: &mut Scores, fold: Scores, cell: &Cell, groups: &Groups) -> Result<()> {
    if table.rows.is_empty() {
        table.columns.clone_from(&fold.columns);
    } else if table.columns != fold.columns {
        return Err(Error::data(format!(
            "{} has the scores {}, another fold {}",
            cell.title(),
            fold.columns.join(", "),
            table.columns.join(", ")
        ))
        .into());
    }
    table.rows.extend(fold.rows.into_iter().map(|mut row| {
        row.image_id.clone_from(&row.file_name);
        // What the folds kept together is not independent, whether it has one name or several.
        if let Some(group) = groups.get(&row.file_name) {
            row.patient = format!("group {group}");
        }
        row
    }));
    Ok(())
}
