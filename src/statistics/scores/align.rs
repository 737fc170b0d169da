//! Tables of several models, brought into one order.

use std::collections::HashMap;

use anyhow::Result;
use sonotune_base::{
    Error,
    words::{counted, listed},
};

use super::{Row, Scores};

/// How many rows a message names.
const NAMED: usize = 3;

/// The tables of several models with rows in the order of the first, so that row i is about the same
/// image in each. `models` are names and tables.
///
/// # Errors
/// A data error if there is no table, or two differ in their images, patients, labels or fields: models
/// that were scored on different data cannot be compared.
pub fn align(models: &[(&str, &Scores)]) -> Result<Vec<Scores>> {
    let Some(&(first, reference)) = models.first() else {
        return Err(Error::data("there are no scores to compare").into());
    };
    models
        .iter()
        .map(|&(name, scores)| {
            scores.check()?;
            let rows = in_order(reference, scores).map_err(|difference| {
                Error::data(format!(
                    "the scores of \"{name}\" and \"{first}\" cannot be compared: {difference}. \
                     Score both on the same annotations."
                ))
            })?;
            Ok(Scores { columns: scores.columns.clone(), rows })
        })
        .collect()
}

fn in_order(reference: &Scores, scores: &Scores) -> Result<Vec<Row>, String> {
    let rows: HashMap<_, &Row> = scores.rows.iter().map(|row| (row.key(), row)).collect();
    let known: HashMap<_, &Row> = reference.rows.iter().map(|row| (row.key(), row)).collect();
    let few = |rows: Vec<String>| listed(&rows, NAMED);
    let absent = |of: &Scores, from: &HashMap<_, &Row>| -> Vec<String> {
        of.rows.iter().filter(|row| !from.contains_key(&row.key())).map(Row::name).collect()
    };
    let missing = absent(reference, &rows);
    if !missing.is_empty() {
        let count = counted(missing.len(), "row");
        return Err(format!("the first lacks {count} ({})", few(missing)));
    }
    let added = absent(scores, &known);
    if !added.is_empty() {
        let count = counted(added.len(), "row");
        return Err(format!("the first has {count} that the second lacks ({})", few(added)));
    }
    reference.rows.iter().map(|wanted| same(wanted, rows[&wanted.key()])).collect()
}

/// The row, if truth and origin are the same.
fn same(wanted: &Row, row: &Row) -> Result<Row, String> {
    let differs = |what: &str, got: &str, expected: &str| {
        Err(format!(
            "{what} of {} is \"{got}\" in the first, \"{expected}\" in the second",
            row.name()
        ))
    };
    if row.patient != wanted.patient {
        return differs("the patient", &row.patient, &wanted.patient);
    }
    if row.label != wanted.label {
        return differs("the label", &row.label, &wanted.label);
    }
    for name in wanted.fields.keys().chain(row.fields.keys()) {
        let value = |row: &Row| row.fields.get(name).cloned().unwrap_or_default();
        if value(row) != value(wanted) {
            return differs(name, &value(row), &value(wanted));
        }
    }
    Ok(row.clone())
}
