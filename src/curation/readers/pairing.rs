//! Pairs images and masks by key into units.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use regex::Regex;
use sonotune_base::{
    Error,
    words::{closest, question},
};

use super::{Detail, MaskFile, Plan, RoleCount, Unit, cine};
use crate::{
    problem::{Problem, ProblemKind},
    select::{Selected, Selection, Selector, regex},
    spec::{Class, Files, MaskRule, Spec, Unpaired},
    tables::Tables,
};
use sonotune_archive::Tree;
use sonotune_coco::Provenance;

/// What pairs the files of a reader.
#[derive(Debug)]
pub(super) struct Pairing<'a> {
    spec: &'a Spec,
    images: (String, Selector),
    masks: Vec<Role>,
    unpaired: Unpaired,
    provenance: Option<Regex>,
}

#[derive(Debug)]
struct Role {
    place: String,
    rule: MaskRule,
    selector: Selector,
    class: Option<Regex>,
}

impl<'a> Pairing<'a> {
    /// `table` is the reader's name in the spec, for messages.
    pub(super) fn new(
        spec: &'a Spec,
        table: &str,
        images: &Files,
        masks: &[MaskRule],
        unpaired: Unpaired,
    ) -> Result<Self> {
        let place = format!("{table}.images");
        let list = if table == "outlines" { "outlines" } else { "masks" };
        let roles = masks.iter().enumerate().map(|(index, rule)| {
            let place = format!("{table}.{list}[{index}]");
            let selector = Selector::of_masks(&place, rule)?;
            let find = rule.class.as_ref().and_then(|class| class.find.as_ref());
            let class = find.map(|find| regex(&format!("{place}.class.find"), find)).transpose()?;
            Ok(Role { place, rule: rule.clone(), selector, class })
        });
        Ok(Self {
            spec,
            images: (place.clone(), Selector::new(&place, images)?),
            masks: roles.collect::<Result<_>>()?,
            unpaired,
            provenance: spec.provenance.as_ref().map(|p| regex("provenance", p)).transpose()?,
        })
    }

    pub(super) fn plan(&self, tree: &Tree) -> Result<Plan> {
        let mut plan = Plan::default();
        let tables = Tables::read(&self.spec.tables, tree)?;
        let images = self.images.1.select(tree, &mut plan.problems)?;
        plan.roles.push(role_count(&self.images.0, &images));
        if let Some(wrong) = tables.unrelated(&self.spec.tables, images.by_key.keys()) {
            bail!(Error::data(wrong));
        }
        let mut masks = Vec::new();
        for role in &self.masks {
            let selection = role.selector.select(tree, &mut plan.problems)?;
            let labels = role.labels(&selection, &tables);
            plan.roles.push(RoleCount { labels, ..role_count(&role.place, &selection) });
            masks.push(selection);
        }
        self.report_orphans(&images, &masks, &mut plan);
        for (key, files) in &images.by_key {
            for file in files {
                match self.unit(key, file, &masks, &tables) {
                    Ok(Some(unit)) => plan.units.push(unit),
                    Ok(None) => plan.skipped.push(file.path.clone()),
                    Err(problem) => plan.problems.push(problem),
                }
            }
        }
        sort(&mut plan.units);
        cine::add_provenance(&mut plan.units, tree);
        Ok(plan)
    }

    /// The images by key, with the information in their paths; for readers that pair differently.
    pub(super) fn images(&self, tree: &Tree, plan: &mut Plan) -> Result<Selection> {
        let images = self.images.1.select(tree, &mut plan.problems)?;
        plan.roles.push(role_count(&self.images.0, &images));
        Ok(images)
    }

    /// Reports masks whose image is missing.
    fn report_orphans(&self, images: &Selection, masks: &[Selection], plan: &mut Plan) {
        if self.unpaired == Unpaired::Skip {
            return;
        }
        // A key whose images were refused as duplicates has already been reported.
        let told: BTreeSet<&str> = plan
            .problems
            .iter()
            .filter(|p| p.kind == ProblemKind::DuplicateKey)
            .filter_map(|p| p.message.split('`').nth(1))
            .collect();
        let mut orphans = Vec::new();
        for selection in masks {
            for (key, files) in &selection.by_key {
                if images.by_key.contains_key(key) || told.contains(key.as_str()) {
                    continue;
                }
                let message = format!(
                    "{}: no image has its key `{key}`{}",
                    files[0].path,
                    nearest(key, images.by_key.keys())
                );
                orphans.push(Problem::new(ProblemKind::MissingPartner, message));
            }
        }
        plan.problems.extend(orphans);
    }

    /// `None` if the spec leaves out such an image.
    fn unit(
        &self,
        key: &str,
        image: &Selected,
        masks: &[Selection],
        tables: &Tables,
    ) -> Result<Option<Unit>, Problem> {
        if let Some(files) = tables.missing(key) {
            return Err(Problem::new(
                ProblemKind::MissingRow,
                format!("{}: {files} has no row for its key `{key}`", image.path),
            ));
        }
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for (index, (role, selection)) in self.masks.iter().zip(masks).enumerate() {
            let files = selection.by_key.get(key).map_or(&[][..], Vec::as_slice);
            if files.is_empty() && role.rule.required {
                missing.push(role.place.as_str());
            }
            for file in files {
                if let Some(category) = role.category(file, key, tables)? {
                    found.push(MaskFile { path: file.path.clone(), rule: index, category });
                }
            }
        }
        let any = masks.iter().any(|selection| selection.by_key.contains_key(key));
        if !missing.is_empty() || !any {
            match self.unpaired {
                Unpaired::Skip => return Ok(None),
                Unpaired::KeepImages if missing.is_empty() => {}
                Unpaired::KeepImages | Unpaired::Refuse => {
                    return Err(self.unpaired_problem(key, image, masks, &missing));
                }
            }
        }
        let provenance = self.provenance(key, image, tables);
        Ok(Some(Unit {
            key: key.to_owned(),
            provenance,
            masks: found,
            detail: Detail::Files,
            spacing: tables.row(key).and_then(|row| row.spacing),
        }))
    }

    fn unpaired_problem(
        &self,
        key: &str,
        image: &Selected,
        masks: &[Selection],
        missing: &[&str],
    ) -> Problem {
        let roles: Vec<&str> = match missing {
            [] => self.masks.iter().map(|role| role.place.as_str()).collect(),
            missing => missing.to_vec(),
        };
        let keys = masks.iter().flat_map(|selection| selection.by_key.keys());
        Problem::new(
            ProblemKind::MissingPartner,
            format!(
                "{}: no file of {} has its key `{key}`{}",
                image.path,
                roles.join(" or "),
                nearest(key, keys)
            ),
        )
    }

    /// What path and tables say about an image.
    pub(super) fn provenance(&self, key: &str, image: &Selected, tables: &Tables) -> Provenance {
        let row = tables.row(key);
        let captures = self.provenance.as_ref().and_then(|regex| regex.captures(&image.path));
        let named = |name: &str| {
            let group = captures.as_ref().and_then(|c| c.name(name)).map(|m| m.as_str().to_owned());
            group.or_else(|| image.groups.get(name).cloned())
        };
        Provenance {
            source_file: image.path.clone(),
            patient: row.and_then(|row| row.patient.clone()).or_else(|| named("patient")),
            study: None,
            series: None,
            clip: named("clip"),
            frame: None,
            official_split: row
                .and_then(|row| row.split.clone())
                .or_else(|| named("split"))
                .map(|split| split_name(&split)),
        }
    }
}

/// `train`, `val` or `test` if a folder's name says so; other names unchanged.
fn split_name(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    for split in ["train", "val", "test"] {
        if lower.starts_with(split) {
            return split.to_owned();
        }
    }
    lower
}

impl Role {
    /// The name by which `class` finds the category of a mask.
    fn label(&self, file: &Selected, key: &str, tables: &Tables) -> Option<String> {
        match &self.class {
            Some(regex) => {
                let captures = regex.captures(&file.path)?;
                captures.get(1).map(|group| group.as_str().to_owned())
            }
            None => tables.row(key).and_then(|row| row.class.clone()),
        }
    }

    /// Number of masks by name.
    fn labels(&self, selection: &Selection, tables: &Tables) -> BTreeMap<String, usize> {
        let mut labels = BTreeMap::new();
        if self.rule.class.is_some() {
            for (key, files) in &selection.by_key {
                for label in files.iter().filter_map(|file| self.label(file, key, tables)) {
                    *labels.entry(label).or_default() += 1;
                }
            }
        }
        labels
    }

    /// Category of the foreground: 0 if values determine it, `None` if the spec drops the mask.
    fn category(&self, file: &Selected, key: &str, tables: &Tables) -> Result<Option<u8>, Problem> {
        let Some(class) = &self.rule.class else {
            return Ok(Some(self.rule.category.unwrap_or(0)));
        };
        let label = self.label(file, key, tables);
        let id = category_of(class, label.as_deref()).ok_or_else(|| {
            let message = match label {
                Some(label) => {
                    let place = format!("{}.class.to", self.place);
                    unknown_label(&file.path, &label, &place, class.to.keys())
                }
                None if self.class.is_some() => {
                    format!("{}: {}.class.find does not match it", file.path, self.place)
                }
                None => format!("{}: no table has a class for its key `{key}`", file.path),
            };
            Problem::new(ProblemKind::UnknownLabel, message)
        })?;
        Ok((id != 0).then_some(id))
    }
}

/// The message that the map of the spec at `place` has no entry for the `label` of a file.
pub(super) fn unknown_label<'k>(
    path: &str,
    label: &str,
    place: &str,
    known: impl Iterator<Item = &'k String>,
) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let near = question(label, known.iter().copied());
    let near = near.map(|question| format!(" ({question})")).unwrap_or_default();
    format!(
        "{path}: {place} has no entry for the label `{label}`{near}; it has {}",
        known.join(", ")
    )
}

/// Category of a label by `class`; `None` when it is unknown.
pub(super) fn category_of(class: &Class, label: Option<&str>) -> Option<u8> {
    label.and_then(|label| class.to.get(label).copied()).or(class.other)
}

/// Sorts units by key, numbers in keys by value.
pub(super) fn sort(units: &mut [Unit]) {
    units.sort_by(|a, b| natord::compare(&a.key, &b.key).then_with(|| a.key.cmp(&b.key)));
}

fn role_count(role: &str, selection: &Selection) -> RoleCount {
    let example = selection.by_key.values().flatten().next();
    RoleCount {
        role: role.to_owned(),
        files: selection.files,
        example: example.map(|file| file.path.clone()).unwrap_or_default(),
        labels: BTreeMap::new(),
    }
}

/// A phrase that names the key most similar to `key`, or nothing.
pub(super) fn nearest<'k>(key: &str, keys: impl Iterator<Item = &'k String>) -> String {
    // Asked for each file that lacks a partner.
    let similar = closest(key, keys.take(10_000).map(String::as_str));
    similar.map(|other| format!("; the most similar is `{other}`")).unwrap_or_default()
}
