//! Categories of a file that may be wrong in any way.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::coco::{Integer, Text, read, text};
use serde_json::value::RawValue;

use super::super::CocoConfig;
use super::lenient::{Lists, Refused, entry, required};
use crate::{
    Split,
    findings::{Audit, Code, Findings, Place},
};
use sonotune_base::{
    Category,
    json::quoted_nan,
    names::{mismatch, quoted},
};

/// From category ids to class indices.
pub(super) struct Classes {
    /// By id; `None` for those left out.
    pub(super) indices: HashMap<i64, Option<u32>>,
}

impl Classes {
    pub(super) fn read(
        config: &CocoConfig,
        split: Split,
        lists: &Lists<'_>,
        audit: &mut Audit,
    ) -> Self {
        let listed = listed(&lists.categories, &audit.source, Some(&mut audit.findings));
        let ignored = |c: &Category| config.ignore_categories.contains(&c.name);
        let mut indices: HashMap<i64, Option<u32>> = HashMap::new();
        let (left_out, kept): (Vec<_>, Vec<_>) = listed.into_iter().partition(ignored);
        indices.extend(left_out.iter().map(|c| (c.id, None)));
        if config.agnostic {
            audit.categories = vec![Category { id: 1, name: "object".into() }];
            indices.extend(kept.iter().map(|c| (c.id, Some(0))));
            return Self { indices };
        }
        let (names, origin) = expected(config, split, &kept);
        let own: Vec<&str> = kept.iter().map(|c| c.name.as_str()).collect();
        let names_str: Vec<&str> = names.iter().map(String::as_str).collect();
        if let Some(difference) = mismatch(&own, &names_str) {
            let place = Place::file(&audit.source);
            let (expected, got) = (format!("{} ({origin})", quoted(&names)), quoted(&own));
            let got = format!("{got}: {difference}");
            audit.findings.add_expected(Code::CategoriesDiffer, place, expected, got);
        }
        for name in &names {
            let id = kept.iter().find(|c| c.name == *name).map_or(-1, |c| c.id);
            audit.categories.push(Category { id, name: name.clone() });
        }
        for category in kept {
            let known = audit.categories.iter().position(|c| c.name == category.name);
            let index = known.unwrap_or(audit.categories.len()) as u32;
            // If two have the same id, the first counts.
            indices.entry(category.id).or_insert(Some(index));
            if known.is_none() {
                audit.categories.push(category);
            }
        }
        Self { indices }
    }
}

/// The categories of a list that can be read, with duplicates.
fn listed(
    entries: &[&RawValue],
    source: &Path,
    mut findings: Option<&mut Findings>,
) -> Vec<Category> {
    let mut categories: Vec<Category> = Vec::new();
    let mut found = |i: usize, category: Option<String>, refused: Refused| {
        let place = Place { category, ..Place::entry(source, format!("categories[{i}]")) };
        if let Some(findings) = &mut findings {
            findings.add(refused.code, place, refused.got);
        }
    };
    let mut positions = Vec::new();
    for (i, raw) in entries.iter().enumerate() {
        let category = entry(raw).and_then(|keys| {
            let Integer(id) = required(&keys, "id")?;
            let Text(name) = required(&keys, "name")?;
            Ok(Category { id, name })
        });
        let category = match category {
            Ok(category) => category,
            Err(refused) => {
                found(i, None, refused);
                continue;
            }
        };
        let first = |same: &dyn Fn(&Category) -> bool| {
            categories.iter().position(same).map(|at: usize| positions[at])
        };
        let duplicate = match first(&|c| c.id == category.id) {
            Some(j) => Some(format!("id {} is also that of categories[{j}]", category.id)),
            None => first(&|c| c.name == category.name)
                .map(|j| format!("\"{}\" is also the name of categories[{j}]", category.name)),
        };
        if let Some(got) = duplicate {
            let refused = Refused::new(Code::DuplicateCategory, got);
            found(i, Some(category.name.clone()), refused);
            // Its id stays known, since its annotations do not have an unknown category.
            if categories.iter().any(|c| c.id == category.id) {
                continue;
            }
        }
        categories.push(category);
        positions.push(i);
    }
    categories
}

/// The names that a split should have, without duplicates, and where they come from.
fn expected(config: &CocoConfig, split: Split, own: &[Category]) -> (Vec<String>, String) {
    let distinct = |names: Vec<String>| {
        let mut seen = HashSet::new();
        names.into_iter().filter(|name| seen.insert(name.clone())).collect::<Vec<_>>()
    };
    if let Some(names) = &config.categories {
        return (distinct(names.clone()), "dataset.categories".into());
    }
    let own = || own.iter().map(|c| c.name.clone()).collect();
    let Some(train) = config.train.as_ref().filter(|_| split != Split::Train) else {
        return (distinct(own()), String::new());
    };
    let train = config.root.join(&train.annotations);
    let names = read(&train).ok().and_then(|bytes| {
        let text = text(&bytes, &train).ok()?;
        let text = quoted_nan(&text);
        let lists = Lists::read(&text, &train).ok()?;
        let mut names: Vec<String> =
            listed(&lists.categories, &train, None).into_iter().map(|c| c.name).collect();
        names.retain(|name| !config.ignore_categories.contains(name));
        Some(names)
    });
    // A train file that cannot be read is reported with its own split.
    (distinct(names.unwrap_or_else(own)), format!("those of {}", train.display()))
}
