//! Adds, renames and removes categories.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use serde::Deserialize;
use sonotune_base::{Error, words::counted};

use super::{Refusal, Store};
use crate::{
    document::{CategoryItem, set},
    events::Event,
};

/// Characters of a name at most.
const MAX_NAME: usize = 200;

/// A category as it shall be; without an id a new one.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WantedCategory {
    #[serde(default)]
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
}

impl Store {
    /// Makes the file's categories the wanted ones, in their order.
    ///
    /// # Errors
    /// [`Refusal::InUse`] if one would go that objects have; others as of [`put`](Self::put).
    pub(crate) fn put_categories(&mut self, wanted: &[WantedCategory]) -> Result<(), Refusal> {
        self.look_outside().map_err(Refusal::Outside)?;
        check(wanted)?;
        let before = self.document.categories.clone();
        let goes =
            |category: &&CategoryItem| !wanted.iter().any(|other| other.id == Some(category.id));
        let mut used = Vec::new();
        for category in before.iter().filter(goes) {
            let objects = self.document.images.iter().flat_map(|image| &image.objects);
            let count = objects.filter(|object| object.category_id == category.id).count();
            if count > 0 {
                used.push(format!("\"{}\" has {}", category.name, counted(count, "object")));
            }
        }
        if !used.is_empty() {
            return Err(Refusal::InUse(used.join(", ")));
        }
        self.document.categories = Vec::new();
        let made = self.make(wanted, &before);
        if made.is_ok() && self.document.categories == before {
            return Ok(());
        }
        if let Err(error) = made.and_then(|()| self.save()) {
            self.document.categories = before;
            return Err(error.into());
        }
        self.saves += 1;
        self.events.send(Event::Categories);
        Ok(())
    }

    fn make(&mut self, wanted: &[WantedCategory], before: &[CategoryItem]) -> Result<()> {
        let mut next =
            before.iter().map(|category| category.id).max().map_or(1, |id| id.saturating_add(1));
        for category in wanted {
            let name = category.name.trim();
            let item = match category.id {
                None => {
                    let entry =
                        crate::document::Entry::of(vec![set("id", &next)?, set("name", name)?])?;
                    next = next.saturating_add(1);
                    CategoryItem { id: next - 1, name: name.to_owned(), entry }
                }
                Some(id) => {
                    let known = before.iter().find(|other| other.id == id);
                    let known =
                        known.ok_or_else(|| Error::data(format!("there is no category {id}")))?;
                    let is_same = known.name == name;
                    let entry = if is_same {
                        known.entry.clone()
                    } else {
                        known.entry.with(vec![set("name", name)?])?
                    };
                    CategoryItem { id, name: name.to_owned(), entry }
                }
            };
            self.document.categories.push(item);
        }
        Ok(())
    }
}

fn check(wanted: &[WantedCategory]) -> Result<()> {
    ensure!(!wanted.is_empty(), Error::data("at least one category is needed"));
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    for category in wanted {
        let name = category.name.trim();
        let fits = !name.is_empty() && name.chars().count() <= MAX_NAME;
        ensure!(
            fits,
            Error::data(format!("a category's name must have 1 to {MAX_NAME} characters"))
        );
        ensure!(names.insert(name), Error::data(format!("two categories are named \"{name}\"")));
        let is_first = category.id.is_none_or(|id| ids.insert(id));
        ensure!(is_first, Error::data(format!("\"{name}\" has the id of another category")));
    }
    Ok(())
}
