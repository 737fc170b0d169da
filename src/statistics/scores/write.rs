//! Writing a table of scores.

use std::path::Path;

use anyhow::Result;
use sonotune_base::fs::atomic_write;

use super::{ALWAYS, FIELD, OPTIONAL, Row, Scores};

impl Scores {
    /// Writes the table as CSV, completely or not at all. Numbers keep every digit.
    ///
    /// # Errors
    /// Same errors as [`Scores::check`]; a storage error if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic_write(path, &self.to_csv()?)
    }

    /// The table as CSV, in UTF-8.
    ///
    /// # Errors
    /// Same errors as [`Scores::check`].
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        self.check()?;
        let filled = |column: &&str| self.rows.iter().any(|row| !text(row, column).is_empty());
        let texts: Vec<&str> =
            ALWAYS.into_iter().chain(OPTIONAL.into_iter().filter(filled)).collect();
        let fields = self.fields();
        let mut csv = csv::Writer::from_writer(Vec::new());
        let names = fields.iter().map(|name| format!("{FIELD}{name}"));
        let head = texts.iter().map(|name| (*name).to_owned());
        csv.write_record(head.chain(names).chain(self.columns.iter().cloned()))?;
        for row in &self.rows {
            let field = |name: &&str| row.fields.get(*name).map_or("", String::as_str).to_owned();
            let value = |v: &f64| if v.is_nan() { String::new() } else { v.to_string() };
            let head = texts.iter().map(|column| text(row, column).to_owned());
            let cells = head.chain(fields.iter().map(field)).chain(row.values.iter().map(value));
            csv.write_record(cells)?;
        }
        Ok(csv.into_inner()?)
    }
}

/// The text of a row in one of the named columns.
fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    match column {
        "image_id" => &row.image_id,
        "file_name" => &row.file_name,
        "patient" => &row.patient,
        "part" => &row.part,
        "label" => &row.label,
        _ => &row.predicted,
    }
}
