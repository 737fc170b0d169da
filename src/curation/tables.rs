//! Side files, which give the class, split and patient of an image by its key.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use sonotune_base::{Error, words::did_you_mean};

use crate::{
    select::{KeyRule, globs, nothing_matches},
    spec::{Table, TableFormat},
};
use sonotune_archive::Tree;

/// What side files say about one image; a later table wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub class: Option<String>,
    pub patient: Option<String>,
    pub split: Option<String>,
    /// Indices of the tables with a row for this image.
    pub tables: Vec<usize>,
}

/// The rows of all tables of a spec, by key.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    rows: BTreeMap<String, Row>,
    required: Vec<(usize, String)>,
    /// A value in the key column that did not match the key's regex.
    example: Option<String>,
}

impl Tables {
    /// Reads the tables' files out of `tree`.
    ///
    /// # Errors
    /// Kind config if a rule is malformed; kind data if a file is missing, unreadable, or
    /// lacks a column (the message lists the columns it has).
    pub fn read(tables: &[Table], tree: &Tree) -> Result<Self> {
        let mut all = Self::default();
        for (index, table) in tables.iter().enumerate() {
            let place = format!("tables[{index}]");
            let set = globs(&format!("{place}.files"), &table.files)?;
            let key = KeyRule::new(&format!("{place}.key"), &table.key, false)?;
            let paths: Vec<&str> = tree.paths().filter(|path| set.is_match(path)).collect();
            if paths.is_empty() && table.optional {
                continue;
            }
            if paths.is_empty() {
                let place = format!("{place}.files");
                bail!(Error::data(nothing_matches(&place, &table.files.0, tree)));
            }
            let mut rows = 0;
            for path in &paths {
                rows += all.read_file(tree, path, index, table, &key)?;
            }
            let example = all.example.take();
            if rows == 0 {
                bail!(Error::data(format!(
                    "{place}: no row of {} has a value that `{}` matches in the column `{}`{}",
                    paths.join(", "),
                    table.key,
                    table.key_column,
                    example
                        .map(|text| format!(", which holds values like `{text}`"))
                        .unwrap_or_default()
                )));
            }
            if table.required {
                all.required.push((index, paths.join(", ")));
            }
        }
        Ok(all)
    }

    /// The row of an image.
    #[must_use]
    pub fn row(&self, key: &str) -> Option<&Row> {
        self.rows.get(key)
    }

    /// Files of the required tables that lack a row for the image; `None` if complete.
    /// Tables that share one kind of row (one list per split) complete each other.
    #[must_use]
    pub fn missing(&self, key: &str) -> Option<String> {
        let row = self.rows.get(key);
        let has =
            self.required.iter().any(|(index, _)| row.is_some_and(|r| r.tables.contains(index)));
        if self.required.is_empty() || has {
            return None;
        }
        Some(self.required.iter().map(|(_, files)| files.as_str()).collect::<Vec<_>>().join(", "))
    }

    fn read_file(
        &mut self,
        tree: &Tree,
        path: &str,
        index: usize,
        table: &Table,
        key: &KeyRule,
    ) -> Result<usize> {
        let (header, records) = records(tree, path, table)?;
        let column = |name: &str| {
            header.iter().position(|known| known == name).ok_or_else(|| {
                let near = did_you_mean(name, header.iter().map(String::as_str));
                let known = header.join(", ");
                Error::data(format!("{path}: no column `{name}`{near}; it has {known}"))
            })
        };
        let optional = |name: &Option<String>| name.as_deref().map(column).transpose();
        let key_column = column(&table.key_column)?;
        let (class, patient, split) =
            (optional(&table.class)?, optional(&table.patient)?, optional(&table.split)?);
        let mut matched = 0;
        for record in &records {
            let field = |at: usize| record.get(at).cloned();
            let Some(text) = field(key_column) else { continue };
            let Some((key, _)) = key.key(&text) else {
                self.example.get_or_insert(text);
                continue;
            };
            matched += 1;
            let row = self.rows.entry(key).or_default();
            row.tables.push(index);
            let told = split.and_then(field).and_then(|v| table.splits.get(&v).cloned());
            overwrite(&mut row.split, told.or_else(|| table.other_split.clone()));
            overwrite(&mut row.class, class.and_then(field));
            overwrite(&mut row.patient, patient.and_then(field));
        }
        Ok(matched)
    }
}

fn overwrite(old: &mut Option<String>, new: Option<String>) {
    if new.is_some() {
        *old = new;
    }
}

type Records = (Vec<String>, Vec<Vec<String>>);

fn records(tree: &Tree, path: &str, table: &Table) -> Result<Records> {
    let bytes = tree.read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match table.format {
        TableFormat::Words => {
            let rows =
                text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect());
            Ok((table.columns.clone(), rows.filter(|row: &Vec<String>| !row.is_empty()).collect()))
        }
        TableFormat::Csv => {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(table.columns.is_empty())
                .trim(csv::Trim::All)
                .from_reader(text.as_bytes());
            let fail = |error: csv::Error| Error::data(format!("{path}: {error}"));
            let header = match table.columns.is_empty() {
                true => reader.headers().map_err(fail)?.iter().map(str::to_owned).collect(),
                false => table.columns.clone(),
            };
            let rows = reader
                .records()
                .map(|record| record.map(|r| r.iter().map(str::to_owned).collect()).map_err(fail));
            Ok((header, rows.collect::<Result<_, _>>()?))
        }
    }
}
