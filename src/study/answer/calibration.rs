//! Whether the probabilities of a classification mean what they say.

use anyhow::Result;
use serde::Serialize;
use sonotune_statistics::{
    Error,
    calibration::{Bins, Reliability, brier, fit_temperature, logits, reliability, top_label},
};

use super::{
    explained,
    pool::{Arm, Pooled},
};

/// Parts of [0, 1] that confidences are divided into.
const BINS: usize = 10;

/// Calibration of one entry, over the images of all its seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Calibration {
    /// Name of the entry.
    pub name: String,
    /// Expected calibration error of the predicted category, with ten bins of equal width.
    pub expected_error: f64,
    /// Squared error summed over categories, averaged over images; in [0, 2].
    pub brier: f64,
    /// The temperature that would fit these images best; above 1 if the model is too confident. Fitted to the test
    /// images, it describes them and must not correct them.
    pub temperature: f64,
    /// Why the temperature is the end of its range.
    pub temperature_limit: Option<String>,
    pub bins: Vec<CalibrationBin>,
}

/// Predictions of similar confidence.
#[derive(Debug, Clone, Serialize)]
pub struct CalibrationBin {
    pub low: f64,
    pub high: f64,
    /// Predictions, seeds counted each.
    pub count: usize,
    /// Mean confidence; NaN (`null`) without predictions.
    pub confidence: f64,
    /// Share that is right; NaN (`null`) without predictions.
    pub accuracy: f64,
}

/// Calibration of every entry in the order of the ranking. Empty if the task gives no probabilities; with a note if
/// they do not exclude each other.
pub(super) fn calibration(
    pooled: &Pooled,
    order: &[usize],
) -> Result<(Vec<Calibration>, Option<String>)> {
    let mut all = Vec::new();
    for &arm in order {
        let arm = &pooled.arms[arm];
        if !arm.has_probabilities() {
            return Ok((Vec::new(), None));
        }
        match of_arm(arm)? {
            Ok(calibration) => all.push(calibration),
            Err(why) => {
                return Ok((
                    Vec::new(),
                    Some(format!(
                        "no calibration is given; it needs scores that sum to 1, as the loss cross_entropy gives: {why}"
                    )),
                ));
            }
        }
    }
    Ok((all, None))
}

fn of_arm(arm: &Arm) -> Result<std::result::Result<Calibration, Error>> {
    let (mut probabilities, mut labels) = (Vec::new(), Vec::new());
    for table in &arm.tables {
        let classified = table.classified()?;
        probabilities.extend(classified.probabilities);
        labels.extend(classified.labels);
    }
    // Probabilities of labels that may occur together do not add up to 1.
    let (confidences, correct) = match top_label(&probabilities, &labels) {
        Ok(top) => top,
        Err(error) => return Ok(Err(error)),
    };
    let diagram = explained(reliability(&confidences, &correct, Bins::EqualWidth(BINS)))?;
    let temperature = explained(fit_temperature(&logits(&probabilities), &labels))?;
    Ok(Ok(Calibration {
        name: arm.name(),
        expected_error: diagram.expected_error(),
        brier: explained(brier(&probabilities, &labels))?,
        temperature: temperature.value,
        temperature_limit: temperature.limit.map(|limit| limit.to_string()),
        bins: bins(&diagram),
    }))
}

fn bins(diagram: &Reliability) -> Vec<CalibrationBin> {
    let bin = |bin: &sonotune_statistics::calibration::Bin| CalibrationBin {
        low: bin.low,
        high: bin.high,
        count: bin.rows,
        confidence: bin.confidence,
        accuracy: bin.accuracy,
    };
    diagram.bins.iter().map(bin).collect()
}
