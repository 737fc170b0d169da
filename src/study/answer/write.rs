//! The answer as files.

use anyhow::{Context, Result};
use sonotune_base::fs::atomic_write;
use sonotune_report::compare::latex_escaped;

use super::{Answer, TaskAnswer, page};
use crate::cells::Study;

impl Answer {
    /// Writes `study.json`, `study.html` and the tables.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, study: &Study) -> Result<()> {
        let folder = study.files.folder().join("tables");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        atomic_write(&study.files.result(), serde_json::to_string_pretty(self)?.as_bytes())?;
        atomic_write(&study.files.page(), page::html(self, &study.files).as_bytes())?;
        for task in &self.tasks {
            for (name, (header, rows)) in [("ranking", task.ranking()), ("pairs", task.pairs())] {
                let path = |end: &str| study.files.table(&file_name(task, name, end));
                atomic_write(&path("md"), markdown(&header, &rows).as_bytes())?;
                atomic_write(&path("tex"), latex(&header, &rows).as_bytes())?;
            }
            atomic_write(
                &study.files.table(&file_name(task, "figures", "csv")),
                csv(task).as_bytes(),
            )?;
        }
        Ok(())
    }
}

/// Name of a table of a task in the folder of tables.
pub(super) fn file_name(task: &TaskAnswer, name: &str, end: &str) -> String {
    match crate::cells::slug(&task.task).as_str() {
        "" => format!("{name}.{end}"),
        task => format!("{task}.{name}.{end}"),
    }
}

fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', r"\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    line(header) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

fn latex(header: &[String], rows: &[Vec<String>]) -> String {
    // Not every encoding of LaTeX has these two.
    let cell = |text: &String| latex_escaped(text).replace('·', r"$\cdot$").replace('–', "--");
    let line = |cells: &[String]| {
        format!("{} \\\\\n", cells.iter().map(cell).collect::<Vec<_>>().join(" & "))
    };
    format!(
        "% \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{}}}\n\\toprule\n{}\\midrule\n{}\\bottomrule\n\\end{{tabular}}\n",
        "l".repeat(header.len()),
        line(header),
        rows.iter().map(|row| line(row)).collect::<String>()
    )
}

/// Every figure at full precision, a row each.
fn csv(task: &TaskAnswer) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let number = |value: f64| if value.is_nan() { String::new() } else { value.to_string() };
    let mut csv = "model,strategy,figure,best_is,value,low,high,sd_of_seeds,seeds\n".to_owned();
    for entry in &task.entries {
        for figure in &entry.figures {
            let [low, high] = figure.interval.unwrap_or([f64::NAN; 2]);
            let cells = [
                quoted(&entry.model),
                quoted(&entry.strategy),
                quoted(&figure.name),
                format!("{:?}", figure.best_is).to_lowercase(),
                number(figure.value),
                number(low),
                number(high),
                figure.sd_of_seeds.map_or(String::new(), number),
                figure.by_seed.len().to_string(),
            ];
            csv += &(cells.join(",") + "\n");
        }
    }
    csv
}
