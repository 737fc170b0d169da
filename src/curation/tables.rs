//! Side files, which give the class, split and patient of an image by its key.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use sonotune_base::Error;

use crate::{
    select::{KeyRule, globs, nothing_matches},
    spec::{Table, TableFormat},
};
use sonotune_archive::Tree;
use sonotune_formats::csv_file::CsvFile;

/// What side files say about one image; a later table wins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub class: Option<String>,
    pub patient: Option<String>,
    pub split: Option<String>,
    /// `[row, column]` in millimetres a pixel.
    pub spacing: Option<[f64; 2]>,
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
    /// lacks a column (the message lists the columns it has), or two rows of a table disagree.
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
            let mut seen = BTreeMap::new();
            for path in &paths {
                rows += all.read_file(tree, path, (index, table), &key, &mut seen)?;
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

    /// Names a table none of whose rows is about one of these images: its `key` gives other keys than
    /// theirs. For a required table each image without a row is a problem of its own.
    pub(crate) fn unrelated<'k>(
        &self,
        tables: &[Table],
        images: impl Iterator<Item = &'k String> + Clone,
    ) -> Option<String> {
        let has_row =
            |key: &String, index| self.row(key).is_some_and(|r| r.tables.contains(&index));
        let unrelated = |index: &usize| !images.clone().any(|key| has_row(key, *index));
        let is_told = |table: &Table| table.optional || table.required;
        let index = (0..tables.len()).filter(|&i| !is_told(&tables[i])).find(unrelated)?;
        let rows = &mut self.rows.iter().filter(|(_, row)| row.tables.contains(&index));
        let (theirs, ours) = (rows.next()?.0, images.clone().next()?);
        Some(format!(
            "tables[{index}]: none of its rows is about an image: their keys are like `{theirs}`, those \
             of images like `{ours}`; tables[{index}].key must give the latter"
        ))
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
        (index, table): (usize, &Table),
        key: &KeyRule,
        seen: &mut BTreeMap<String, Seen>,
    ) -> Result<usize> {
        let file = open(tree, path, table)?;
        let optional = |name: &Option<String>| name.as_deref().map(|n| file.column(n)).transpose();
        let key_column = file.column(&table.key_column)?;
        let columns = [optional(&table.class)?, optional(&table.patient)?, optional(&table.split)?];
        let spacing = Spacing::of(table, &file)?;
        let mut matched = 0;
        for (line, row) in &file.rows {
            let entry = |at: usize| file.entry(*line, row, at);
            let Some(text) = entry(key_column)? else { continue };
            let Some((key, _)) = key.key(text) else {
                self.example.get_or_insert_with(|| text.to_owned());
                continue;
            };
            matched += 1;
            let mm = spacing
                .as_ref()
                .map(|spacing| spacing.read((&file, path), *line, row))
                .transpose()?;
            let mm = mm.flatten();
            let mut told =
                [None, None, None, mm.map(|[row, column]| format!("{row} x {column} mm"))];
            for (told, column) in told.iter_mut().zip(columns) {
                *told = column.map(entry).transpose()?.flatten().map(str::to_owned);
            }
            let split = told[2].take().and_then(|value| table.splits.get(&value).cloned());
            told[2] = split.or_else(|| table.other_split.clone());
            let place = format!("{path}, line {line}");
            seen.entry(key.clone()).or_default().agree(&key, &place, &told)?;
            let [class, patient, split, _] = told;
            let row = self.rows.entry(key).or_default();
            row.tables.push(index);
            overwrite(&mut row.split, split);
            overwrite(&mut row.class, class);
            overwrite(&mut row.patient, patient);
            overwrite(&mut row.spacing, mm);
        }
        Ok(matched)
    }
}

/// The columns with the size of a pixel.
struct Spacing<'t> {
    names: [&'t str; 2],
    columns: [usize; 2],
}

impl<'t> Spacing<'t> {
    /// One column for square pixels, two for others.
    fn of(table: &'t Table, file: &CsvFile) -> Result<Option<Self>> {
        let names = match table.spacing.0.as_slice() {
            [] => return Ok(None),
            [both] => [both.as_str(); 2],
            [row, column, ..] => [row.as_str(), column.as_str()],
        };
        Ok(Some(Self { names, columns: [file.column(names[0])?, file.column(names[1])?] }))
    }

    /// `[row, column]` of a row of the table; none if a cell is empty.
    fn read(
        &self,
        (file, path): (&CsvFile, &str),
        line: u64,
        row: &[String],
    ) -> Result<Option<[f64; 2]>> {
        let mut sides = [0.0; 2];
        for ((side, &column), name) in sides.iter_mut().zip(&self.columns).zip(self.names) {
            let Some(text) = file.entry(line, row, column)? else { return Ok(None) };
            let number = text.parse().ok().filter(|mm: &f64| mm.is_finite() && *mm > 0.0);
            *side = number.ok_or_else(|| {
                Error::data(format!(
                    "{path}, line {line}: `{name}` is `{text}`: expected a positive number, the millimetres a pixel"
                ))
            })?;
        }
        Ok(Some(sides))
    }
}

/// What one table has said about an image: class, patient, split and spacing, each with its place.
#[derive(Debug, Default)]
struct Seen([Option<(String, String)>; 4]);

impl Seen {
    /// Takes note of another row.
    ///
    /// # Errors
    /// Kind data: the row contradicts an earlier one.
    fn agree(&mut self, key: &str, place: &str, told: &[Option<String>; 4]) -> Result<()> {
        let names = ["class", "patient", "split", "spacing"];
        for ((known, told), name) in self.0.iter_mut().zip(told).zip(names) {
            let Some(told) = told else { continue };
            match known {
                None => *known = Some((told.clone(), place.to_owned())),
                Some((earlier, _)) if earlier == told => {}
                Some((earlier, first)) => bail!(Error::data(format!(
                    "{place}: the {name} of `{key}` is `{told}`, but {first}, says `{earlier}`; \
                     correct the table, or let `key` tell the two rows apart"
                ))),
            }
        }
        Ok(())
    }
}

fn overwrite<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

fn open(tree: &Tree, path: &str, table: &Table) -> Result<CsvFile> {
    let bytes = tree.read(path)?;
    match table.format {
        TableFormat::Words => CsvFile::of_words(&bytes, path, &table.columns),
        TableFormat::Csv => {
            let others = [&table.class, &table.patient, &table.split].into_iter().flatten();
            let needed: Vec<&str> = [&table.key_column]
                .into_iter()
                .chain(others)
                .chain(&table.spacing.0)
                .map(String::as_str)
                .collect();
            CsvFile::read(&bytes, path, &table.columns, &needed)
        }
    }
}
