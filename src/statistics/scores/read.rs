//! Reading a table of scores.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use csv::StringRecord;
use sonotune_base::{Error, unicode::to_utf8};

use super::{ALWAYS, FIELD, OPTIONAL, Row, Scores};

impl Scores {
    /// Reads a table that [`Scores::write`] wrote, or one of the same form.
    ///
    /// # Errors
    /// A data error that names the file, and the line if one is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |error: anyhow::Error| {
            anyhow::Error::from(Error::data(format!("{}: {error:#}", path.display())))
        };
        let bytes = std::fs::read(path).context("cannot be read").map_err(wrong)?;
        Self::from_csv(&bytes).map_err(wrong)
    }

    /// Reads a table from the text of a CSV file.
    ///
    /// # Errors
    /// If the text is not such a table; the message names the line.
    pub fn from_csv(bytes: &[u8]) -> Result<Self> {
        let bytes = to_utf8(bytes).map_err(|what| anyhow!(what))?;
        let mut reader = csv::ReaderBuilder::new().from_reader(&*bytes);
        let header = Header::of(reader.headers()?).context("line 1")?;
        let mut scores = Self { columns: header.columns.clone(), rows: Vec::new() };
        let mut lines = Vec::new();
        for record in reader.records() {
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            scores.rows.push(header.row(&record).with_context(|| format!("line {line}"))?);
            lines.push(line);
        }
        scores.check_lines(&lines)?;
        Ok(scores)
    }

    /// Says the line of a fault where it can be said, not the row.
    fn check_lines(&self, lines: &[u64]) -> Result<()> {
        let mut seen = std::collections::HashMap::new();
        for (row, line) in self.rows.iter().zip(lines) {
            if let Some(fault) = self.fault_of(row) {
                return Err(anyhow!("line {line}: {fault}"));
            }
            if let Some(first) = seen.insert(row.key(), line) {
                return Err(anyhow!("line {line}: {} has a row in line {first}", row.name()));
            }
        }
        self.check()
    }
}

/// What each column of the file is.
struct Header {
    kinds: Vec<Kind>,
    /// Names of the scores.
    columns: Vec<String>,
}

enum Kind {
    Text(String),
    Field(String),
    Score,
}

impl Header {
    fn of(record: &StringRecord) -> Result<Self> {
        let mut names = std::collections::HashSet::new();
        let (mut kinds, mut columns) = (Vec::new(), Vec::new());
        for name in record {
            ensure!(!name.is_empty(), "column {} has no name", kinds.len() + 1);
            ensure!(names.insert(name), "column \"{name}\" appears twice");
            kinds.push(match name.strip_prefix(FIELD) {
                Some(field) => Kind::Field(field.to_owned()),
                None if ALWAYS.contains(&name) || OPTIONAL.contains(&name) => {
                    Kind::Text(name.to_owned())
                }
                None => {
                    columns.push(name.to_owned());
                    Kind::Score
                }
            });
        }
        for name in ALWAYS {
            ensure!(
                names.contains(name),
                "there is no column \"{name}\"; a table of scores begins with {}",
                ALWAYS.join(",")
            );
        }
        Ok(Self { kinds, columns })
    }

    fn row(&self, record: &StringRecord) -> Result<Row> {
        let mut row = Row::default();
        for (kind, cell) in self.kinds.iter().zip(record) {
            match kind {
                Kind::Text(column) => *text(&mut row, column) = cell.to_owned(),
                Kind::Field(_) if cell.is_empty() => {}
                Kind::Field(name) => {
                    row.fields.insert(name.clone(), cell.to_owned());
                }
                Kind::Score => {
                    let column = &self.columns[row.values.len()];
                    row.values.push(number(cell).with_context(|| format!("column {column}"))?);
                }
            }
        }
        Ok(row)
    }
}

fn text<'a>(row: &'a mut Row, column: &str) -> &'a mut String {
    match column {
        "image_id" => &mut row.image_id,
        "file_name" => &mut row.file_name,
        "patient" => &mut row.patient,
        "part" => &mut row.part,
        "label" => &mut row.label,
        _ => &mut row.predicted,
    }
}

/// NaN for an empty cell.
fn number(cell: &str) -> Result<f64> {
    match cell.trim() {
        "" => Ok(f64::NAN),
        text => text.parse().map_err(|_| anyhow!("expected a number or nothing, got \"{text}\"")),
    }
}
