//! Reports as text.

use std::fmt::Write;

use sonotune_base::words::score;
use unicode_width::UnicodeWidthStr;

use crate::{Report, Table};

/// A report for a terminal: the metrics, then each table.
///
/// ```text
/// precision  0.8123
/// recall     0.7977
///
/// Per class
/// class      precision  recall
/// benign        0.8731  0.9012
/// malignant     0.7515  0.6942
/// ```
#[must_use]
pub fn report(report: &Report) -> String {
    let headline = report.headline().into_iter();
    let rows = headline.map(|m| vec![m.name.clone(), score(m.value)]).collect();
    let mut text = grid(&[], rows);
    for table in &report.tables {
        text += "\n";
        text += &plain(table);
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// Title, header and aligned rows: the first column to the left, the others to the right.
#[must_use]
pub fn plain(table: &Table) -> String {
    format!("{}\n{}", table.title, grid(&table.header, table.rows.clone()))
}

/// A Markdown table, as TensorBoard renders it.
#[must_use]
pub fn markdown(table: &Table) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = table.header.iter().enumerate();
    let rule: Vec<&str> = rule.map(|(i, _)| if i == 0 { "---" } else { "---:" }).collect();
    let mut text = row(&table.header);
    let _ = writeln!(text, "|{}|", rule.join("|"));
    text.extend(table.rows.iter().map(|cells| row(cells)));
    text
}

/// Aligned rows under a header: the first column to the left, the others to the right.
pub fn grid(header: &[String], rows: Vec<Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> = rows;
    if !header.is_empty() {
        lines.insert(0, header.to_vec());
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|i| lines.iter().filter_map(|l| l.get(i)).map(|c| c.width()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut out = String::new();
        for (i, cell) in line.iter().enumerate() {
            // By columns on a terminal: a CJK character takes two, an accent none.
            let padding = " ".repeat(widths[i].saturating_sub(cell.width()));
            match i {
                0 => out += &format!("{cell}{padding}"),
                _ => out += &format!("  {padding}{cell}"),
            }
        }
        text += out.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    fn table() -> Table {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        Table {
            title: "Per class".to_owned(),
            header: row(["class", "recall", "n"]),
            rows: vec![row(["gut|artig", "0.5000", "12"]), row(["嚢胞", "n/a", "0"])],
        }
    }

    #[test]
    fn columns_align_by_display_width() {
        let report = Report {
            metrics: vec![
                Metric::new("f1", 0.25),
                Metric::new("accuracy", f64::NAN),
                Metric::new("per_class/a/f1", 1.0),
            ],
            tables: vec![table()],
            notes: vec!["no image of \"b\"".to_owned()],
            ..Report::default()
        };
        assert_eq!(
            super::report(&report),
            "f1        0.2500\naccuracy     n/a\n\nPer class\nclass      recall   n\n\
             gut|artig  0.5000  12\n嚢胞          n/a   0\nnote: no image of \"b\"\n"
        );
    }

    #[test]
    fn markdown_cells_cannot_break_the_table() {
        assert_eq!(
            markdown(&table()),
            "| class | recall | n |\n|---|---:|---:|\n| gut\\|artig | 0.5000 | 12 |\n\
             | 嚢胞 | n/a | 0 |\n"
        );
    }
}
