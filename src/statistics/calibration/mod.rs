//! Whether probabilities mean what they say.

mod proper;
mod reliability;
mod temperature;

pub use proper::{brier, brier_binary, negative_log_likelihood};
pub use reliability::{Bin, Bins, Reliability, reliability, top_label};
pub use temperature::{Limit, Temperature, fit_temperature, logits, with_temperature};

use crate::error::{Error, Result, same_length};

/// How far the probabilities of a row may be from a sum of 1: files keep few digits.
const SUM_TOLERANCE: f64 = 1e-3;

/// Refuses what is not one probability per category that add up to 1, and a label per row.
fn check(probabilities: &[Vec<f64>], labels: &[usize]) -> Result<()> {
    same_length("labels", probabilities.len(), labels.len())?;
    let Some(first) = probabilities.first() else {
        return Err(Error::Empty { what: "rows" });
    };
    for (place, (row, &label)) in probabilities.iter().zip(labels).enumerate() {
        same_length("probabilities of a row", first.len(), row.len())?;
        each_probability("probabilities", row)?;
        let sum: f64 = row.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            let (what, expected) =
                ("sum of probabilities", "1: categories must exclude each other");
            return Err(Error::Value { what, place, value: sum, expected });
        }
        label_within("labels", place, label, row.len())?;
    }
    Ok(())
}

fn label_within(what: &'static str, place: usize, got: usize, categories: usize) -> Result<()> {
    if got < categories { Ok(()) } else { Err(Error::Category { what, place, got, categories }) }
}

/// Refuses what is outside [0, 1].
fn each_probability(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
        Some(place) => {
            let expected = "a number in [0, 1]";
            Err(Error::Value { what, place, value: values[place], expected })
        }
        None => Ok(()),
    }
}
