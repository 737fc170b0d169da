//! The table as text, Markdown, CSV (RFC 4180) and LaTeX (booktabs).

use anyhow::Result;
use sonotune_base::words::score;

use super::{Cell, Comparison, Group, RunRow};
use sonotune_metrics::Table;
use sonotune_metrics::table::{grid, markdown};

/// How to write the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal; the best of a column is marked with a star.
    Text,
    /// The best in bold.
    Markdown,
    /// Full precision.
    Csv,
    /// A booktabs `tabular`, the best in bold.
    Latex,
}

/// Shown if a run does not have the metric.
const ABSENT: &str = "–";

/// The comparison in a format; with `runs` also a row for each run.
///
/// # Errors
/// None in practice: everything is written to memory.
pub fn render(comparison: &Comparison, format: Format, runs: bool) -> Result<String> {
    Ok(match format {
        Format::Text => {
            let Table { header, rows, .. } =
                table(comparison, runs, &|text| format!("{text} *"), "  ");
            format!("{}\n{}", grid(&header, rows), notes(comparison, "* best of its column; "))
        }
        Format::Markdown => {
            let table = table(comparison, runs, &|text| format!("**{text}**"), "");
            format!("{}\n{}", markdown(&table), notes(comparison, "bold: best of its column; "))
        }
        Format::Csv => csv(comparison, runs)?,
        Format::Latex => latex(comparison, runs),
    })
}

/// Header and rows: name, n, and one cell per metric. `padding` is used instead of a mark.
fn table(
    comparison: &Comparison,
    runs: bool,
    best: &dyn Fn(&str) -> String,
    padding: &str,
) -> Table {
    let names = comparison.columns.iter().map(|column| format!("{}{padding}", column.metric));
    let header = ["".to_owned(), "n".to_owned()].into_iter().chain(names).collect();
    let mut rows = Vec::new();
    for group in &comparison.groups {
        let cell = |cell: &Option<Cell>| {
            let text = cell.map_or_else(|| ABSENT.to_owned(), |c| cell_text(&c, group, "±"));
            if cell.is_some_and(|c| c.is_best) { best(&text) } else { text + padding }
        };
        let first = [group.name.clone(), group.runs.len().to_string()];
        rows.push(first.into_iter().chain(group.cells.iter().map(cell)).collect());
        for run in group.runs.iter().filter(|_| runs) {
            let value = |value: &Option<f64>| value_text(*value) + padding;
            let first = [format!("  {}", run_name(run)), String::new()];
            rows.push(first.into_iter().chain(run.values.iter().map(value)).collect());
        }
    }
    Table { title: String::new(), header, rows }
}

fn run_name(run: &RunRow) -> String {
    format!("{} (seed {}, step {})", run.run.display(), run.seed, run.step)
}

fn cell_text(cell: &Cell, group: &Group, plus_minus: &str) -> String {
    let mut text = value_text(Some(cell.mean));
    if let Some(sd) = cell.sd {
        text += &format!(" {plus_minus} {}", score(sd));
    }
    if cell.n != group.runs.len() && cell.n > 0 {
        text += &format!(" (n = {})", cell.n);
    }
    text
}

fn value_text(value: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), score)
}

/// What the numbers are, and what to know about them.
fn notes(comparison: &Comparison, best: &str) -> String {
    let marked = comparison.groups.iter().flat_map(|g| &g.cells).flatten().any(|c| c.is_best);
    let mut text = format!(
        "{}mean ± sample standard deviation over n runs\n{}\n",
        if marked { best } else { "" },
        provenance(comparison)
    );
    for note in &comparison.notes {
        text += &format!("note: {note}\n");
    }
    text
}

fn provenance(comparison: &Comparison) -> String {
    let hash = comparison.dataset_sha256.as_deref().map(|hash| format!(" (SHA-256 {hash})"));
    format!(
        "{} split: {} images, {} objects of {}{}",
        comparison.split,
        comparison.num_images,
        comparison.num_objects,
        comparison.dataset.display(),
        hash.unwrap_or_default()
    )
}

fn csv(comparison: &Comparison, runs: bool) -> Result<String> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let number = |value: Option<f64>| match value {
        Some(value) if value.is_finite() => value.to_string(),
        _ => String::new(),
    };
    let columns = comparison.columns.iter().map(|column| &column.metric);
    if runs {
        let first = ["group", "run", "seed", "checkpoint", "step"].map(str::to_owned);
        writer.write_record(first.into_iter().chain(columns.cloned()))?;
        for (group, run) in
            comparison.groups.iter().flat_map(|g| g.runs.iter().map(move |r| (g, r)))
        {
            let first = [
                group.name.clone(),
                run.run.display().to_string(),
                run.seed.to_string(),
                run.checkpoint.display().to_string(),
                run.step.to_string(),
            ];
            writer.write_record(first.into_iter().chain(run.values.iter().map(|v| number(*v))))?;
        }
    } else {
        let of_metric = |name| ["mean", "sd", "n"].map(|what| format!("{name} {what}"));
        let first = ["group", "runs"].map(str::to_owned);
        writer.write_record(first.into_iter().chain(columns.flat_map(of_metric)))?;
        for group in &comparison.groups {
            let cell = |cell: &Option<Cell>| match cell {
                Some(cell) => [number(Some(cell.mean)), number(cell.sd), cell.n.to_string()],
                None => [String::new(), String::new(), "0".to_owned()],
            };
            let first = [group.name.clone(), group.runs.len().to_string()];
            writer.write_record(first.into_iter().chain(group.cells.iter().flat_map(cell)))?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn latex(comparison: &Comparison, runs: bool) -> String {
    let row = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
    let header = ["".to_owned(), "$n$".to_owned()].into_iter();
    let header = header.chain(comparison.columns.iter().map(|c| latex_escaped(&c.metric)));
    let mut text = String::from("% needs \\usepackage{booktabs}\n");
    for line in
        provenance(comparison).lines().chain(comparison.notes.iter().flat_map(|n| n.lines()))
    {
        text += &format!("% {line}\n");
    }
    text += &format!(
        "\\begin{{tabular}}{{l{}}}\n\\toprule\n",
        "r".repeat(comparison.columns.len() + 1)
    );
    text += &row(header.collect());
    text += "\\midrule\n";
    for group in &comparison.groups {
        let cell = |cell: &Option<Cell>| match cell {
            None => "--".to_owned(),
            Some(cell) => {
                let text = cell_text(cell, group, "$\\pm$");
                if cell.is_best { format!("\\textbf{{{text}}}") } else { text }
            }
        };
        let first = [latex_escaped(&group.name), group.runs.len().to_string()];
        text += &row(first.into_iter().chain(group.cells.iter().map(cell)).collect());
        for run in group.runs.iter().filter(|_| runs) {
            let first = [format!("\\quad {}", latex_escaped(&run_name(run))), String::new()];
            let value = |value: &Option<f64>| value_text(*value).replace(ABSENT, "--");
            text += &row(first.into_iter().chain(run.values.iter().map(value)).collect());
        }
    }
    text + "\\bottomrule\n\\end{tabular}\n"
}

/// Text that LaTeX prints as it is.
#[must_use]
pub fn latex_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped += "\\textbackslash{}",
            '~' => escaped += "\\textasciitilde{}",
            '^' => escaped += "\\textasciicircum{}",
            '<' => escaped += "\\textless{}",
            '>' => escaped += "\\textgreater{}",
            '|' => escaped += "\\textbar{}",
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::compare::Column;
    use sonotune_dataset::Split;
    use sonotune_metrics::Direction;

    fn comparison() -> Comparison {
        let column = |metric: &str, best_is| Column { metric: metric.to_owned(), best_is };
        let cell = |mean, sd, n, is_best| Some(Cell { mean, sd, n, is_best });
        let run = |name: &str, seed, values: [Option<f64>; 2]| RunRow {
            run: PathBuf::from(name),
            seed,
            checkpoint: "c.safetensors".into(),
            step: 9,
            values: values.into(),
        };
        Comparison {
            split: Split::Test,
            dataset: "100%_test.json".into(),
            dataset_sha256: Some("ab".into()),
            num_images: 7,
            num_objects: 8,
            conditions: vec![],
            columns: vec![
                column("bbox_mAP", Some(Direction::Highest)),
                column("hd95", Some(Direction::Lowest)),
            ],
            groups: vec![
                Group {
                    name: "lr 1e-3, \"a\" & b".into(),
                    cells: vec![cell(0.1 + 0.2, Some(0.125), 2, true), cell(4.0, None, 1, false)],
                    runs: vec![
                        run("a|1", 1, [Some(0.1), Some(4.0)]),
                        run("a2", 2, [Some(0.5), Some(f64::NAN)]),
                    ],
                },
                Group {
                    name: "one".into(),
                    cells: vec![cell(0.25, None, 1, false), None],
                    runs: vec![run("b", 1, [Some(0.25), None])],
                },
            ],
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn text_aligns_and_marks_the_best() {
        let text = render(&comparison(), Format::Text, false).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "                  n         bbox_mAP              hd95");
        assert!(lines[1].starts_with("lr 1e-3, \"a\" & b  2  0.3000 ± 0.1250 *"), "{text}");
        assert!(lines[1].trim_end().ends_with("4.0000 (n = 1)"), "{text}");
        assert!(lines[2].trim_end().ends_with('–'), "{text}");
        assert!(text.contains("sample standard deviation") && text.contains("note: a note"));
    }

    #[test]
    fn csv_is_quoted_and_of_full_precision() {
        let text = render(&comparison(), Format::Csv, false).unwrap();
        assert_eq!(
            text,
            "group,runs,bbox_mAP mean,bbox_mAP sd,bbox_mAP n,hd95 mean,hd95 sd,hd95 n\r\n\
             \"lr 1e-3, \"\"a\"\" & b\",2,0.30000000000000004,0.125,2,4,,1\r\none,1,0.25,,1,,,0\r\n"
        );
        let text = render(&comparison(), Format::Csv, true).unwrap();
        assert!(text.contains("a2,2,c.safetensors,9,0.5,\r\n"), "{text}");
    }

    #[test]
    fn latex_and_markdown_are_escaped() {
        let text = render(&comparison(), Format::Latex, true).unwrap();
        assert!(text.contains("& \\textbf{0.3000 $\\pm$ 0.1250} &"), "{text}");
        assert!(
            text.contains("\"a\" \\& b")
                && text.contains("bbox\\_mAP")
                && text.contains("a\\textbar{}1")
        );
        assert!(text.contains("% test split") && text.contains("\\toprule"));
        let rows = text.lines().filter(|l| l.ends_with("\\\\"));
        assert!(
            rows.clone().count() == 6
                && rows.clone().all(|l| l.replace("\\&", "").matches('&').count() == 3)
        );
        let text = render(&comparison(), Format::Markdown, true).unwrap();
        assert!(text.contains("| **0.3000 ± 0.1250** |") && text.contains("a\\|1"), "{text}");
    }
}
