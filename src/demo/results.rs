//! All that the demo measures, as text and as JSON.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sonotune_base::{
    Error,
    fs::{atomic_write, read_if_exists},
    words::{counted, duration, number},
};
use sonotune_metrics::table::grid;
use sonotune_study::Answer;

use crate::{
    comparison,
    figures::{self, Figure, PROMPTS},
    folder::DemoFolder,
    plan::{Budget, PRETRAINED, Plan, RANDOM, Task},
};

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    pub title: String,
    pub seconds: f64,
    /// Processor time of all its threads; absent if the system does not tell.
    pub cpu_seconds: Option<f64>,
}

/// Figures of whole test splits, such as mAP, seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SeedTable {
    pub(crate) title: String,
    /// What is compared: prompts or starts.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<SeedRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SeedRow {
    pub(crate) metric: String,
    /// `[columns][seeds]`.
    pub(crate) values: Vec<Vec<f64>>,
}

/// All figures of a demo.
#[derive(Debug, Serialize)]
pub struct Results {
    pub(crate) plan: Plan,
    pub(crate) steps: Vec<StepTime>,
    /// Means over test images of the promptable models.
    pub(crate) prompted: Vec<Figure>,
    /// Promptable models, then a table for each task.
    pub(crate) tables: Vec<SeedTable>,
    /// Both starts, compared.
    pub(crate) comparison: Answer,
}

impl Results {
    /// Reads everything that the steps have written.
    ///
    /// # Errors
    /// If a record is missing or cannot be understood.
    pub fn read(plan: Plan, folder: &DemoFolder, steps: Vec<StepTime>) -> Result<Self> {
        let mut tables = vec![prompted_table(plan, folder)?];
        for &task in plan.tasks() {
            tables.push(task_table(folder, task)?);
        }
        Ok(Self {
            plan,
            steps,
            prompted: figures::prompted(folder, plan.seeds)?,
            tables,
            comparison: comparison::answer(folder)?,
        })
    }

    /// Reads a demo that is done, with the plan and the times that it recorded.
    ///
    /// # Errors
    /// Of kind config, if there is none; same errors as [`read`](Self::read).
    pub fn read_again(folder: &DemoFolder) -> Result<Self> {
        #[derive(Deserialize)]
        struct Recorded {
            plan: Plan,
            steps: Vec<StepTime>,
        }
        let path = folder.results();
        let Some(text) = read_if_exists(&path)? else {
            return Err(Error::config(format!(
                "{} is not there: no demo has ended in this folder; leave out --only-page",
                path.display()
            ))
            .into());
        };
        let recorded: Recorded = serde_json::from_str(&text)
            .with_context(|| format!("{} is not the result of a demo", path.display()))?;
        Self::read(recorded.plan, folder, recorded.steps)
    }

    /// Writes `results.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &DemoFolder) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        atomic_write(&folder.results(), text.as_bytes())
    }

    /// Wall time of all steps.
    pub(crate) fn seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.seconds).sum()
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            let _ = writeln!(
                text,
                "{}, test split, {}:\n{}",
                table.title,
                self.of_seeds(),
                table.text()
            );
        }
        for figure in &self.prompted {
            let images = counted(figure.num_images, "image");
            let _ = writeln!(
                text,
                "{} from a {}: {} ({images}, 95 % interval)",
                figure.name,
                figure.prompt,
                figure.text()
            );
        }
        for task in &self.comparison.tasks {
            let _ = writeln!(text, "{}: {}", task.task, task.verdict.text);
        }
        if self.plan.budget == Budget::Quick {
            text += "--quick trains for two steps only: the figures above mean nothing.\n";
        }
        let _ = writeln!(text, "{} in all", duration(self.seconds()));
        text
    }

    /// `%, mean ± standard deviation over 3 seeds`, or `%, seed 0`.
    pub(crate) fn of_seeds(&self) -> String {
        match self.plan.seeds {
            1 => "in %, seed 0".to_owned(),
            seeds => format!("in %, mean ± standard deviation over {seeds} seeds"),
        }
    }
}

fn prompted_table(plan: Plan, folder: &DemoFolder) -> Result<SeedTable> {
    let records = (0..plan.seeds)
        .map(|seed| figures::record(&folder.pretrained(seed)))
        .collect::<Result<Vec<_>>>()?;
    let metrics = ["segm_mAP", "segm_mAP_50", "bbox_mAP", "mIoU", "dice"];
    let row = |metric: &str| {
        let of = |(protocol, _): (&str, &str)| {
            let name = format!("{protocol}/{metric}");
            records.iter().map(|r| r.report.get(&name).map_or(f64::NAN, |m| m.value)).collect()
        };
        SeedRow { metric: metric.to_owned(), values: PROMPTS.into_iter().map(of).collect() }
    };
    Ok(SeedTable {
        title: "masks from prompts".to_owned(),
        columns: PROMPTS.map(|(_, prompt)| prompt.to_owned()).to_vec(),
        rows: metrics.into_iter().map(row).collect(),
    })
}

fn task_table(folder: &DemoFolder, task: Task) -> Result<SeedTable> {
    let starts = [RANDOM, PRETRAINED];
    let mut records = Vec::new();
    for start in starts {
        let runs = comparison::runs(folder, task, start)?;
        records.push(runs.iter().map(|run| figures::record(run)).collect::<Result<Vec<_>>>()?);
    }
    let names = records[0].iter().take(1).flat_map(|record| &record.report.metrics);
    let names = names.map(|metric| metric.name.clone()).filter(|name| task.shows(name));
    let row = |metric: String| {
        let of = |record: &sonotune_run_folder::EvalRecord| {
            record.report.get(&metric).map_or(f64::NAN, |m| m.value)
        };
        let values = records.iter().map(|of_start| of_start.iter().map(of).collect()).collect();
        SeedRow { metric: metric.clone(), values }
    };
    Ok(SeedTable {
        title: task.name().to_owned(),
        columns: starts.map(str::to_owned).to_vec(),
        rows: names.map(row).collect(),
    })
}

impl SeedTable {
    pub(crate) fn header(&self) -> Vec<String> {
        std::iter::once("metric".to_owned()).chain(self.columns.iter().cloned()).collect()
    }

    /// A row for each metric, in percent.
    pub(crate) fn cells(&self) -> Vec<Vec<String>> {
        let row = |row: &SeedRow| {
            let values = row.values.iter().map(|seeds| mean_and_deviation(seeds));
            std::iter::once(row.metric.clone()).chain(values).collect()
        };
        self.rows.iter().map(row).collect()
    }

    fn text(&self) -> String {
        grid(&self.header(), self.cells())
    }
}

/// `67.8 ± 0.4`; a single value as it is.
fn mean_and_deviation(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return number(100.0 * mean);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{} ± {}", number(100.0 * mean), number(100.0 * (squares / (count - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_deviation_only_over_several_seeds() {
        let table = |values: Vec<Vec<f64>>| SeedTable {
            title: "x".into(),
            columns: vec!["a".into(), "b".into()],
            rows: vec![SeedRow { metric: "f1".into(), values }],
        };
        let several = table(vec![vec![0.5, 0.6], vec![0.7, 0.7]]);
        assert_eq!(several.cells(), [["f1", "55.0 ± 7.1", "70.0 ± 0.0"]]);
        assert_eq!(table(vec![vec![0.5], vec![f64::NAN]]).cells(), [["f1", "50.0", "n/a"]]);
    }
}
