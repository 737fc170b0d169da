//! Selects the images of a split that are scored.

use std::sync::Arc;

use anyhow::Result;

use crate::config::RunConfig;
use sonotune_base::Error;
use sonotune_dataset::{Dataset, Record, Split, pixels::Reader};

/// Opens a split for scoring: without the images that `[evaluation]` leaves out, and with a note that
/// counts them.
///
/// # Errors
/// Same errors as [`DatasetConfig::open`](sonotune_dataset::DatasetConfig::open); of kind config when no
/// image is left.
pub(super) fn open(config: &RunConfig, split: Split) -> Result<Arc<Dataset>> {
    let mut dataset = config.dataset()?.open(split)?;
    let evaluation = &config.evaluation;
    dataset.require_values(&config.task.values())?;
    let all = dataset.records.len();
    if all == 0 {
        return Err(Error::data(format!("{} holds no images", dataset.source.display())).into());
    }
    if evaluation.filter_empty_gt {
        dataset.records.retain(|record| !record.objects.is_empty());
    }
    let empty = all - dataset.records.len();
    if evaluation.min_size > 0 {
        let mut kept = Vec::with_capacity(dataset.records.len());
        let reader = Reader::default();
        for record in std::mem::take(&mut dataset.records) {
            if shorter_side(&record, &reader, config)? >= evaluation.min_size {
                kept.push(record);
            }
        }
        dataset.records = kept;
    }
    let small = all - empty - dataset.records.len();
    let mut reasons = Vec::new();
    if evaluation.filter_empty_gt {
        reasons.push(format!("{empty} without objects (evaluation.filter_empty_gt)"));
    }
    if evaluation.min_size > 0 {
        let least = evaluation.min_size;
        reasons.push(format!("{small} with a side below {least} (evaluation.min_size)"));
    }
    let reasons = reasons.join(", ");
    if dataset.records.is_empty() {
        return Err(Error::config(format!(
            "{}: no image is left to score: of {all} images, {reasons}",
            dataset.source.display()
        ))
        .into());
    }
    if !reasons.is_empty() {
        dataset.notes.push(format!("of {all} images not scored: {reasons}"));
    }
    Ok(Arc::new(dataset))
}

fn shorter_side(record: &Record, reader: &Reader, config: &RunConfig) -> Result<u32> {
    let size = match record.size {
        Some(size) => size,
        None => reader.read_size(&record.path, record.frame, config.preprocess.decode_options())?,
    };
    Ok(size.0.min(size.1))
}
