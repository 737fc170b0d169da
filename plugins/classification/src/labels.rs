//! The true categories of an image, checked.

use std::path::Path;

use sonotune_engine::prelude::*;

/// [`labels_of`] the image of a target.
pub(crate) fn labels_of_target(
    target: &Target,
    category_names: &[String],
    multi_label: bool,
) -> Result<Vec<usize>> {
    labels_of(&target.image_labels, (&target.image_id, &target.path), category_names, multi_label)
}

/// Category indices of an image; exactly one unless `multi_label`.
pub(crate) fn labels_of(
    given: &[i64],
    (image_id, path): (&ImageId, &Path),
    category_names: &[String],
    multi_label: bool,
) -> Result<Vec<usize>> {
    let image = || format!("image {image_id} ({})", path.display());
    let mut labels = Vec::with_capacity(given.len());
    for &label in given {
        let known = usize::try_from(label).ok().filter(|&label| label < category_names.len());
        labels.push(known.ok_or_else(|| {
            Error::data(format!(
                "{} has label {label}, but the model knows {} categories ({}), counted from 0",
                image(),
                category_names.len(),
                category_names.join(", ")
            ))
        })?);
    }
    if multi_label || labels.len() == 1 {
        return Ok(labels);
    }
    let found = match labels.as_slice() {
        [] => "none".to_owned(),
        several => {
            several.iter().map(|&i| category_names[i].as_str()).collect::<Vec<_>>().join(", ")
        }
    };
    Err(Error::data(format!(
        "{}: expected exactly one category, found {found}; fix the annotation or leave the image \
         out, or set `task.multi_label = true`",
        image()
    ))
    .into())
}

/// `[B, K]` f32 of 0 and 1.
pub(crate) fn multi_hot(labels: &[Vec<usize>], num_classes: usize) -> Tensor {
    let mut values = vec![0f32; labels.len() * num_classes];
    for (row, labels) in labels.iter().enumerate() {
        for label in labels {
            values[row * num_classes + label] = 1.0;
        }
    }
    Tensor::from_slice(&values).view([labels.len() as i64, num_classes as i64]).to_kind(Kind::Float)
}
