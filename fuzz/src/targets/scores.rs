//! Tables of scores.

use std::collections::BTreeMap;

use sonotune_base::ErrorKind;
use sonotune_statistics::scores::{Row, Scores, align};

use super::{accepted, scratch};

/// What was read is written and read again; its patients and probabilities are used.
pub fn scores(bytes: &[u8]) {
    let path = scratch::file("hostile.csv", bytes);
    let Some(scores) = accepted(Scores::read(&path), ErrorKind::Data, "hostile.csv") else {
        return;
    };
    let out = scratch::path("written.csv");
    scores.write(&out).expect("what was read can be written");
    let again = Scores::read(&out).expect("what was written can be read");
    assert_eq!(again.columns, scores.columns);
    assert_eq!(again.rows.len(), scores.rows.len());
    for (a, b) in again.rows.iter().zip(&scores.rows) {
        assert_eq!(without_numbers(a), without_numbers(b));
        let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
        assert!(a.values.iter().zip(&b.values).all(same));
    }
    let _ = accepted(scores.classified(), ErrorKind::Data, "");
    assert_eq!(scores.patients().len(), scores.rows.len());
    let aligned = align(&[("a", &scores), ("b", &again)]).expect("a table is like itself");
    assert_eq!(aligned.len(), 2);
}

fn without_numbers(row: &Row) -> (Vec<&str>, &BTreeMap<String, String>) {
    let texts =
        [&row.image_id, &row.file_name, &row.patient, &row.part, &row.label, &row.predicted];
    (texts.into_iter().map(String::as_str).collect(), &row.fields)
}
