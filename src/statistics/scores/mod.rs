//! A table of scores: one row per image, or per object or category of an image.
//!
//! As CSV: `image_id,file_name,patient`, then `part`, `label` and `predicted` if any row has them, a
//! column `field:NAME` per field of the images, and one column per score. An empty cell among the
//! scores is an undefined one. The probability that a classifier gives to a category is in the column
//! `p:CATEGORY`.

mod align;
mod read;
mod write;

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use sonotune_base::{Error, words::counted};

pub use align::align;

/// Before the name of a field.
const FIELD: &str = "field:";
/// Before the name of a category.
const PROBABILITY: &str = "p:";
/// Columns of text that every file has.
const ALWAYS: [&str; 3] = ["image_id", "file_name", "patient"];
/// Columns of text that are written if a row has something in them.
const OPTIONAL: [&str; 3] = ["part", "label", "predicted"];

/// Scores of one model on one split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// Names of the scores, in the order of [`Row::values`]: `dice`, `hd95`, `p:benign`.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

/// Scores of one image, or of one part of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub image_id: String,
    pub file_name: String,
    /// Whose image it is; empty if the dataset does not say.
    pub patient: String,
    /// The object or category that the row is about; empty if it is about the whole image.
    pub part: String,
    /// Name of the true category; empty except in classification.
    pub label: String,
    /// Name of the predicted category; empty except in classification.
    pub predicted: String,
    /// What else the dataset says about the image: device, site, sex.
    pub fields: BTreeMap<String, String>,
    /// One number per column; NaN if it is undefined for this row.
    pub values: Vec<f64>,
}

impl Row {
    /// What no two rows of a table share.
    fn key(&self) -> (&str, &str) {
        (&self.image_id, &self.part)
    }

    /// The row in words, for messages.
    fn name(&self) -> String {
        let Self { image_id, part, .. } = self;
        match part.as_str() {
            "" => format!("image {image_id}"),
            part => format!("\"{part}\" of image {image_id}"),
        }
    }
}

/// Truth, predictions and probabilities of a classification, as indices of categories.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// Names of the categories, in the order of their columns.
    pub categories: Vec<String>,
    /// True category of each row.
    pub labels: Vec<usize>,
    /// Predicted category of each row.
    pub predicted: Vec<usize>,
    /// `[rows][categories]`, in [0, 1].
    pub probabilities: Vec<Vec<f64>>,
}

impl Scores {
    /// The scores of one column, row by row.
    ///
    /// # Errors
    /// A data error that lists the columns, if there is none of this name.
    pub fn column(&self, name: &str) -> Result<Vec<f64>> {
        let place = self.columns.iter().position(|column| column == name).ok_or_else(|| {
            let known = self.columns.join(", ");
            Error::data(format!("there is no score \"{name}\"; the table has {known}"))
        })?;
        Ok(self.rows.iter().map(|row| row.values[place]).collect())
    }

    /// Whose image each row is. If the dataset does not name a patient, the image stands for one:
    /// its rows stay together, and images count as independent.
    #[must_use]
    pub fn patients(&self) -> Vec<String> {
        let patient = |row: &Row| match row.patient.as_str() {
            // Cannot be taken for the name of a patient, which has no control character.
            "" => format!("\u{0}{}", row.image_id),
            patient => patient.to_owned(),
        };
        self.rows.iter().map(patient).collect()
    }

    /// Number of rows whose patient the dataset does not name.
    #[must_use]
    pub fn without_patient(&self) -> usize {
        self.rows.iter().filter(|row| row.patient.is_empty()).count()
    }

    /// Names of all fields that any row has, sorted.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        let names: std::collections::BTreeSet<&str> =
            self.rows.iter().flat_map(|row| row.fields.keys()).map(String::as_str).collect();
        names.into_iter().collect()
    }

    /// The table as a classification: categories are those with a column of probabilities.
    ///
    /// # Errors
    /// A data error if the table has no such column, a label or prediction is not among the
    /// categories, or a probability is not in [0, 1]; the message names the row.
    pub fn classified(&self) -> Result<Classified> {
        let places: Vec<(usize, &str)> = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(i, column)| Some((i, column.strip_prefix(PROBABILITY)?)))
            .collect();
        if places.is_empty() {
            return Err(Error::data(
                "the scores are not those of a classification: no column is called p:CATEGORY",
            )
            .into());
        }
        let find = |name: &str, what: &str, row: &Row| {
            places.iter().position(|(_, category)| *category == name).ok_or_else(|| {
                let known: Vec<&str> = places.iter().map(|(_, category)| *category).collect();
                let (row, known) = (row.name(), known.join(", "));
                Error::data(format!("{row}: {what} \"{name}\" is not among {known}"))
            })
        };
        let mut all = Classified {
            categories: places.iter().map(|(_, name)| (*name).to_owned()).collect(),
            labels: Vec::with_capacity(self.rows.len()),
            predicted: Vec::with_capacity(self.rows.len()),
            probabilities: Vec::with_capacity(self.rows.len()),
        };
        for row in &self.rows {
            all.labels.push(find(&row.label, "label", row)?);
            all.predicted.push(find(&row.predicted, "prediction", row)?);
            let probabilities: Vec<f64> = places.iter().map(|&(i, _)| row.values[i]).collect();
            if let Some(wrong) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
                let row = row.name();
                let message = format!("{row}: expected probabilities in [0, 1], got {wrong}");
                return Err(Error::data(message).into());
            }
            all.probabilities.push(probabilities);
        }
        Ok(all)
    }

    /// Checks what a table must fulfil, whoever made it.
    ///
    /// # Errors
    /// A data error if columns have no name, the same name or that of another kind of column, a row
    /// has a different number of values, an infinite one or no image id, or two rows are about the same thing.
    pub fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        for column in &self.columns {
            let reserved = ALWAYS.iter().chain(&OPTIONAL).any(|name| name == column);
            if column.is_empty() || reserved || column.starts_with(FIELD) {
                let message = format!("a score cannot be called \"{column}\": choose another name");
                return Err(Error::data(message).into());
            }
            if !names.insert(column) {
                return Err(Error::data(format!("two scores are called \"{column}\"")).into());
            }
        }
        let mut keys = HashSet::new();
        for (place, row) in self.rows.iter().enumerate() {
            let fault = self.fault_of(row).or_else(|| {
                (!keys.insert(row.key())).then(|| format!("{} has a row already", row.name()))
            });
            if let Some(fault) = fault {
                return Err(Error::data(format!("row {}: {fault}", place + 1)).into());
            }
        }
        Ok(())
    }

    fn fault_of(&self, row: &Row) -> Option<String> {
        if row.image_id.is_empty() {
            return Some("has no image_id".to_owned());
        }
        if row.values.len() != self.columns.len() {
            let (got, expected) = (counted(row.values.len(), "value"), self.columns.len());
            return Some(format!("{} has {got}, expected {expected}", row.name()));
        }
        let infinite = row.values.iter().position(|value| value.is_infinite())?;
        let column = &self.columns[infinite];
        Some(format!("{column} of {} is infinite; an undefined score is NaN", row.name()))
    }
}
