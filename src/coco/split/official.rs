//! The split that a dataset's authors published.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use sonotune_base::Error;

use super::{Official, Part, SplitOptions, groups::Group};
use crate::{CocoFile, ImageRecord};

/// Places the groups that the authors' split places. If a dataset has an official validation or test
/// set, bars the rest of it from the drawn one.
///
/// # Errors
/// If the authors' split divides a group, or has an unknown name.
pub(super) fn apply(file: &CocoFile, groups: &mut [Group], options: &SplitOptions) -> Result<()> {
    if options.official == Official::Ignore {
        return Ok(());
    }
    // With folds, validation is drawn anew: official validation images train the other folds.
    let keeps_val = options.folds.is_none();
    // For each dataset: whether it has validation, whether it has test.
    let mut has: HashMap<Option<&str>, (bool, bool)> = HashMap::new();
    for group in &mut *groups {
        let part = part_of(file, group, keeps_val)?;
        let dataset = file.dataset_of(&file.images[group.images[0]]);
        let has = has.entry(dataset).or_default();
        has.0 |= part == Some(Part::Val);
        has.1 |= part == Some(Part::Test);
        group.official = part.is_some();
        group.part = part;
    }
    for group in groups {
        let dataset = file.dataset_of(&file.images[group.images[0]]);
        let &(val, test) = has.get(&dataset).unwrap_or(&(false, false));
        (group.may_validate, group.may_test) = (!val, !test);
    }
    Ok(())
}

/// The part for which the authors hold the group out; `None` for training and unplaced groups.
fn part_of(file: &CocoFile, group: &Group, keeps_val: bool) -> Result<Option<Part>> {
    let place = |image: &ImageRecord| -> Result<Option<Part>> {
        match image.provenance.official_split.as_deref() {
            Some("test") => Ok(Some(Part::Test)),
            Some("val") => Ok(keeps_val.then_some(Part::Val)),
            None | Some("train") => Ok(None),
            Some(other) => bail!(
                "image {}: official_split is \"{other}\"; expected train, val or test",
                image.file_name
            ),
        }
    };
    let first = &file.images[group.images[0]];
    let part = place(first).context(Error::data("official split"))?;
    for &i in &group.images[1..] {
        let image = &file.images[i];
        let other = place(image).context(Error::data("official split"))?;
        if other != part {
            let name = |part: Option<Part>| part.unwrap_or(Part::Train);
            let (what, remedy) = if group.is_united {
                ("images that are the same", "leave such images apart (--duplicates report)")
            } else {
                (&*group.name, "group by image (--by image)")
            };
            return Err(Error::data(format!(
                "the official split divides {what}: image {} is for {}, image {} for {}. To keep \
                 that split, {remedy}; to keep the group together, draw a new split \
                 (--official ignore)",
                first.file_name,
                name(part),
                image.file_name,
                name(other)
            ))
            .into());
        }
    }
    Ok(part)
}
