//! From category ids of a file to class indices.

use std::{collections::HashMap, path::Path};

use anyhow::Result;

use super::RawCategory;
use sonotune_base::{Category, Error, names::mismatch};

/// The single category that replaces all others if classes do not matter.
const AGNOSTIC: &str = "object";

/// Categories in the order of class indices, and the class of each id in the file.
#[derive(Debug)]
pub(super) struct CategoryMap {
    pub(super) categories: Vec<Category>,
    /// By id in the file; `None` for those left out.
    pub(super) indices: HashMap<i64, Option<u32>>,
}

impl CategoryMap {
    /// Categories as the file at `path` lists them, without those named in `ignored`.
    ///
    /// # Errors
    /// If an entry lacks id or name or repeats those of another, or none is left.
    pub(super) fn new(raw: &[RawCategory], ignored: &[String], path: &Path) -> Result<Self> {
        let file = path.display();
        let mut categories: Vec<Category> = Vec::new();
        for (i, entry) in raw.iter().enumerate() {
            let fault = |what: &str| Error::data(format!("{file}: categories[{i}]: {what}"));
            let id = entry.id.ok_or_else(|| fault("`id` is missing"))?.0;
            let name = entry.name.clone().ok_or_else(|| fault("`name` is missing"))?.0;
            if let Some(j) = categories.iter().position(|c| c.id == id) {
                return Err(fault(&format!("id {id} is also that of categories[{j}]")).into());
            }
            if let Some(j) = categories.iter().position(|c| c.name == name) {
                return Err(
                    fault(&format!("\"{name}\" is also the name of categories[{j}]")).into()
                );
            }
            categories.push(Category { id, name });
        }
        let (left_out, kept): (Vec<_>, Vec<_>) =
            categories.into_iter().partition(|c| ignored.contains(&c.name));
        if kept.is_empty() {
            return Err(Error::data(format!("{file}: no categories")).into());
        }
        let indices = left_out.iter().map(|c| (c.id, None)).chain(by_index(&kept)).collect();
        Ok(Self { categories: kept, indices })
    }

    /// Names in the order of class indices.
    pub(super) fn names(&self) -> Vec<String> {
        self.categories.iter().map(|c| c.name.clone()).collect()
    }

    /// Class indices in the order of `names`; `origin` says where the names come from.
    ///
    /// # Errors
    /// If the names are not exactly those of the file at `path`.
    pub(super) fn ordered(mut self, names: &[String], origin: &str, path: &Path) -> Result<Self> {
        let own: Vec<&str> = self.categories.iter().map(|c| c.name.as_str()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if let Some(difference) = mismatch(&own, &names) {
            return Err(Error::data(format!(
                "{}: {difference} ({origin}). List unwanted categories in \
                 dataset.ignore_categories",
                path.display()
            ))
            .into());
        }
        self.categories.sort_by_key(|c| names.iter().position(|n| *n == c.name));
        self.indices.extend(by_index(&self.categories));
        Ok(self)
    }

    /// All categories merged into one.
    pub(super) fn agnostic(mut self) -> Self {
        self.categories = vec![Category { id: 1, name: AGNOSTIC.into() }];
        for index in self.indices.values_mut().flatten() {
            *index = 0;
        }
        self
    }
}

fn by_index(categories: &[Category]) -> Vec<(i64, Option<u32>)> {
    categories.iter().enumerate().map(|(i, c)| (c.id, Some(i as u32))).collect()
}
