//! Parses and checks specs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, bail};
use sonotune_base::{Error, words::question};

use crate::{
    masks::Decoder,
    select::{KeyRule, globs},
};
use sonotune_formats::Intensity;

use super::{
    Choice, Decode, FULL_FRAME_DEFECT, FrameMaskRule, FullFrame, MaskRule, OutlineFormat, Reader,
    Spec, Strings,
};

impl Spec {
    /// Reads the file at `path`; `choice` says which defects of the reference to reproduce.
    ///
    /// # Errors
    /// Of kind config: unknown or missing keys (with their line), contradictions, unknown defects.
    pub fn read(path: &Path, choice: &Choice) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::config(format!("cannot read the spec {}: {error}", path.display()))
        })?;
        Self::parse(&text, &path.display().to_string(), choice)
    }

    /// Parses a spec's text; `place` names it in messages.
    ///
    /// # Errors
    /// Same errors as [`Spec::read`].
    pub fn parse(text: &str, place: &str, choice: &Choice) -> Result<Self> {
        // The unmodified text first: only then do errors have a line number.
        let intended: Self = toml::from_str(text).map_err(|error| {
            let near = suggestion(error.message());
            Error::config(format!("spec {place}: {}{near}", error.to_string().trim_end()))
        })?;
        intended.check().with_context(|| format!("spec {place}"))?;
        let names = intended.defects_to_reproduce(place, choice)?;
        if names.is_empty() {
            return Ok(intended);
        }
        let mut table: toml::Table = toml::from_str(text).context("parsed before")?;
        for name in names.iter().filter_map(|name| intended.defects.get(name)) {
            overlay(&mut table, &name.as_published, "as_published")
                .with_context(|| format!("spec {place}, defects"))?;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut published = serde_path_to_error::deserialize::<_, Self>(toml::Value::Table(table))
            .map_err(|error| {
                let path = error.path().to_string();
                Error::config(format!(
                    "spec {place}, with the defects {} applied: {path}: {}",
                    names.join(", "),
                    error.inner()
                ))
            })?;
        if names.contains(&FULL_FRAME_DEFECT) {
            published.full_frame = FullFrame::Drop;
        }
        published.check().with_context(|| format!("spec {place}, as published"))?;
        Ok(published)
    }

    fn defects_to_reproduce(&self, place: &str, choice: &Choice) -> Result<BTreeSet<String>> {
        let known: BTreeSet<String> =
            self.defects.keys().cloned().chain([FULL_FRAME_DEFECT.to_owned()]).collect();
        match choice {
            Choice::AsIntended => Ok(BTreeSet::new()),
            Choice::AsPublished => Ok(known),
            Choice::Only(names) => {
                if let Some(unknown) = names.iter().find(|name| !known.contains(*name)) {
                    let known: Vec<_> = known.into_iter().collect();
                    bail!(Error::config(format!(
                        "spec {place} does not have the defect `{unknown}`; it has {}",
                        known.join(", ")
                    )));
                }
                Ok(names.iter().cloned().collect())
            }
        }
    }

    /// The reader's settings.
    ///
    /// # Errors
    /// When the spec has no reader or several.
    pub fn reader(&self) -> Result<Reader<'_>> {
        let all = [
            self.rasters.as_ref().map(Reader::Rasters),
            self.volumes.as_ref().map(Reader::Volumes),
            self.outlines.as_ref().map(Reader::Outlines),
            self.coco.as_ref().map(Reader::Coco),
            self.tracings.as_ref().map(Reader::Tracings),
            self.frames.as_ref().map(Reader::Frames),
            self.npy_stacks.as_ref().map(Reader::NpyStacks),
            self.npy_dicts.as_ref().map(Reader::NpyDicts),
            self.hdf5.as_ref().map(Reader::Hdf5),
        ];
        let mut present = all.into_iter().flatten();
        match (present.next(), present.next()) {
            (Some(reader), None) => Ok(reader),
            (None, _) => {
                bail!(Error::config(format!("no reader: it needs one of the tables {READERS}")))
            }
            (Some(first), Some(second)) => bail!(Error::config(format!(
                "two readers, [{}] and [{}]: a spec has one; write a spec for each part of the \
                 dataset and merge them",
                first.table(),
                second.table()
            ))),
        }
    }

    fn check(&self) -> Result<()> {
        let refuse = |message: String| -> Result<()> { bail!(Error::config(message)) };
        if self.name.is_empty()
            || self.name.contains(['/', '\\', '\0'])
            || self.name.starts_with('.')
        {
            return refuse(format!("name `{}` cannot be used as a folder name", self.name));
        }
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        for category in &self.categories {
            if category.id == 0 {
                return refuse(format!("category {}: ids start at 1", category.name));
            }
            if !ids.insert(category.id) || !names.insert(&category.name) {
                return refuse(format!(
                    "category {} {}: id or name occurs twice",
                    category.id, category.name
                ));
            }
        }
        if ids.is_empty() {
            return refuse("categories: needs at least one".to_owned());
        }
        self.check_patterns()?;
        for (place, id) in self.category_uses()? {
            if id != 0 && !ids.contains(&id) {
                let known: Vec<String> =
                    self.categories.iter().map(|c| format!("{} {}", c.id, c.name)).collect();
                return refuse(format!(
                    "{place}: no category has the id {id}; `categories` has {}",
                    known.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Checks globs and regexes before any file is read.
    fn check_patterns(&self) -> Result<()> {
        crate::readers::of(self)?;
        for (index, table) in self.tables.iter().enumerate() {
            globs(&format!("tables[{index}].files"), &table.files)?;
            if table.spacing.0.len() > 2 {
                bail!(Error::config(format!(
                    "tables[{index}].spacing names {} columns: expected one, or two for rows and columns",
                    table.spacing.0.len()
                )));
            }
            KeyRule::new(&format!("tables[{index}].key"), &table.key, false)?;
        }
        for (index, inner) in self.unpack.iter().enumerate() {
            globs(&format!("unpack[{index}].files"), &Strings(vec![inner.files.clone()]))?;
        }
        Ok(())
    }

    /// Every id that a rule yields, with its place; contradictory rules are refused.
    fn category_uses(&self) -> Result<Vec<(String, u8)>> {
        let of_rules = |place: &str, rules: &[MaskRule]| {
            if rules.is_empty() {
                bail!(Error::config(format!("{place}: needs at least one")));
            }
            let uses = rules.iter().enumerate();
            let uses = uses.map(|(index, rule)| rule.category_uses(&format!("{place}[{index}]")));
            Ok(uses.collect::<Result<Vec<_>>>()?.concat())
        };
        let of_map = |place: &str, map: &BTreeMap<String, u8>| -> Vec<(String, u8)> {
            map.values().map(|&id| (place.to_owned(), id)).collect()
        };
        match self.reader()? {
            Reader::Rasters(rasters) => {
                rasters.intensity.unwrap_or_default().check().context("rasters.intensity")?;
                of_rules("rasters.masks", &rasters.masks)
            }
            Reader::Volumes(volumes) => {
                volumes.intensity.check().context("volumes.intensity")?;
                of_rules("volumes.masks", &volumes.masks)
            }
            Reader::NpyStacks(stacks) => {
                stacks.intensity.check().context("npy_stacks.intensity")?;
                of_rules("npy_stacks.masks", &stacks.masks)
            }
            Reader::Frames(frames) => {
                let rules: Vec<_> = frames.masks.iter().map(FrameMaskRule::as_mask_rule).collect();
                of_rules("frames.masks", &rules)
            }
            Reader::Hdf5(stacks) => {
                stacks.intensity.check().context("hdf5.intensity")?;
                if stacks.intensity == Intensity::Range {
                    bail!(Error::config(
                        "hdf5.intensity: `range` is not supported for HDF5 files; give a window"
                    ));
                }
                stacks.as_mask_rule().category_uses("hdf5")
            }
            Reader::Coco(coco) => Ok(of_map("coco.categories", &coco.categories)),
            Reader::NpyDicts(dicts) => Ok(of_map("npy_dicts.categories", &dicts.categories)),
            Reader::Tracings(tracings) => Ok(vec![("tracings.category".into(), tracings.category)]),
            Reader::Outlines(outlines) => {
                let mut uses = Vec::new();
                for (index, rule) in outlines.outlines.iter().enumerate() {
                    let place = format!("outlines.outlines[{index}]");
                    if outlines.format == OutlineFormat::Labelme {
                        uses.extend(of_map(&format!("{place}.labels"), &rule.labels));
                    } else {
                        uses.extend(rule.as_mask_rule().category_uses(&place)?);
                    }
                }
                Ok(uses)
            }
        }
    }
}

const READERS: &str = "[rasters], [volumes], [outlines], [coco], [tracings], [frames], [npy_stacks], [npy_dicts], [hdf5]";

impl MaskRule {
    fn category_uses(&self, place: &str) -> Result<Vec<(String, u8)>> {
        // A key that is not a value or colour would otherwise be reported image by image.
        Decoder::new(&self.decode, 1).with_context(|| place.to_owned())?;
        let own = match &self.decode {
            Decode::Values(map)
            | Decode::ValuesElseBackground(map)
            | Decode::Colors(map)
            | Decode::ColorsBgr(map) => {
                Some(map.values().map(|&id| (format!("{place}.decode"), id)).collect::<Vec<_>>())
            }
            Decode::Nonzero | Decode::AtLeast(_) | Decode::Equal(_) => None,
        };
        match (own, self.category, &self.class) {
            (Some(uses), None, None) => Ok(uses),
            (None, Some(id), None) => Ok(vec![(format!("{place}.category"), id)]),
            (None, None, Some(class)) => Ok(class
                .to
                .values()
                .copied()
                .chain(class.other)
                .map(|id| (format!("{place}.class"), id))
                .collect()),
            (Some(_), ..) => bail!(Error::config(format!(
                "{place}: `decode` already yields categories; remove `category` and `class`"
            ))),
            (None, ..) => bail!(Error::config(format!(
                "{place}: `decode` yields foreground; give its `category` or its `class`, but not both"
            ))),
        }
    }
}

/// What may be written for a key that a spec must have.
const CHOICES: &[(&str, &str)] = &[
    (
        "view",
        "view = \"axial\" takes slices along the slowest axis of the file, \"sagittal\" along x, \"coronal\" \
         along y",
    ),
    ("access", "access is \"open\", \"registration\" or \"request\""),
    ("rule", "rule is \"pillow\" or \"opencv\": how they fill a polygon"),
    (
        "decode",
        "decode is \"nonzero\", { at_least = 128 }, { equal = 255 }, { values = { 1 = 1 } }, \
         { values_else_background = { 1 = 1 } }, { colors = { \"255,0,0\" = 1 } } or \
         { colors_bgr = { \"0,0,255\" = 1 } }",
    ),
    ("key", "key is a regex over the path whose groups give the key, for example '([^/]+)\\.png$'"),
    ("categories", "categories = [{ id = 1, name = \"nodule\", supercategory = \"nodule\" }]"),
];

/// A hint with the name most similar to the misspelt one in serde's `message` (``unknown field `x`,
/// expected one of `y` ``).
fn suggestion(message: &str) -> String {
    if let Some(missing) = message.strip_prefix("missing field `") {
        let name = missing.split('`').next().unwrap_or_default();
        let choices = CHOICES.iter().find(|(key, _)| *key == name);
        return choices.map(|(_, choices)| format!("\n{choices}")).unwrap_or_default();
    }
    let Some(rest) = message.strip_prefix("unknown ") else { return String::new() };
    let mut names = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next() else { return String::new() };
    question(unknown, names).map(|question| format!("\n{question}")).unwrap_or_default()
}

/// Overrides `lower` with `upper`: tables are merged key by key, everything else is replaced. A list
/// of tables is replaced as a whole, but a table `{ "0" = … }` in its place changes single entries.
/// `place` is the key of `upper`, for messages.
fn overlay(lower: &mut toml::Table, upper: &toml::Table, place: &str) -> Result<()> {
    for (key, value) in upper {
        let place = format!("{place}.{key}");
        match (lower.get_mut(key), value) {
            // One of several forms: the published one replaces the other.
            _ if key == "decode" => {
                lower.insert(key.clone(), value.clone());
            }
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                overlay(below, above, &place)?;
            }
            (Some(toml::Value::Array(below)), toml::Value::Table(above)) => {
                let entries = below.len();
                for (index, change) in above {
                    let entry = index.parse::<usize>().ok().and_then(|i| below.get_mut(i));
                    match (entry, change) {
                        (Some(toml::Value::Table(entry)), toml::Value::Table(change)) => {
                            overlay(entry, change, &format!("{place}.{index}"))?;
                        }
                        (Some(entry), change) => *entry = change.clone(),
                        (None, _) => bail!(Error::config(format!(
                            "{place}: the list has no entry `{index}`; it has {entries}, counted \
                             from 0"
                        ))),
                    }
                }
            }
            _ => {
                lower.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}
