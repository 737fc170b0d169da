//! The images as one COCO file in memory: what a division and the settings are decided from.

use std::collections::HashSet;

use anyhow::{Context, Result};
use sonotune_base::{Error, stop::StopFlag, words::counted};
use sonotune_coco::{AnnotationRecord, CategoryRecord, CocoFile, ImageRecord, Provenance};
use sonotune_curation::{
    convert::annotate_in_place,
    problem::listed as problems_listed,
    readers::{MaskFile, Unit},
    spec::{Choice, Spec},
};
use sonotune_dataset::Split;

use crate::{
    coding::{self, Coding, Values},
    spacing::Spacings,
    survey::{Files, Item, Survey},
};

/// More masks than this share that cannot be read are an error, as the rule is probably wrong.
const MAX_PROBLEMS: f64 = 0.1;

/// Images with the objects of their masks.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// `file_name` is the path below the folder of images.
    pub(crate) file: CocoFile,
    /// How masks were read, each with whether that is a guess.
    pub(crate) decisions: Vec<(String, bool)>,
    pub(crate) notes: Vec<String>,
}

/// Images whose class is their folder: each has one object of that class, which stands for the image.
pub(crate) fn classes(files: &Files) -> CocoFile {
    let mut file = CocoFile { categories: categories(&files.classes), ..CocoFile::default() };
    for (id, item) in (1..).zip(&files.items) {
        file.images.push(ImageRecord { id, ..image(item) });
        file.annotations.push(AnnotationRecord {
            id,
            image_id: id,
            category_id: item.class.unwrap_or_default() as u64 + 1,
            bbox: [0.0, 0.0, 1.0, 1.0],
            area: 1.0,
            ..AnnotationRecord::default()
        });
    }
    file
}

fn image(item: &Item) -> ImageRecord {
    ImageRecord {
        file_name: item.path.clone(),
        provenance: provenance(item),
        ..ImageRecord::default()
    }
}

fn provenance(item: &Item) -> Provenance {
    Provenance {
        source_file: item.path.clone(),
        patient: item.patient.clone(),
        official_split: item.split.map(|split| Split::name(split).to_owned()),
        ..Provenance::default()
    }
}

fn categories(names: &[String]) -> Vec<CategoryRecord> {
    let record = |(id, name): (u64, &String)| CategoryRecord {
        id,
        name: name.clone(),
        ..CategoryRecord::default()
    };
    (1..).zip(names).map(record).collect()
}

/// Reads the masks of `files` into objects; `category` names those of a folder without classes.
///
/// # Errors
/// Kind data: the masks cannot be understood, or many cannot be read.
pub(crate) fn objects(
    survey: &Survey,
    files: &Files,
    category: Option<&str>,
    done: &(dyn Fn() + Sync),
    stop: &StopFlag,
) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let coding = look(survey, files)?;
    let names = names(files, &coding, category, &mut prepared.decisions);
    let spec = spec(&coding, &names)?;
    describe(&coding, &mut prepared.decisions);
    let spacings = Spacings::find(&survey.listing);
    let units: Vec<Unit> = files.items.iter().map(|item| unit(item, &spacings)).collect();
    let tree = survey.listing.tree();
    let read = annotate_in_place(&spec, &tree, &units, done, stop)?;
    if read.problems.len() as f64 > MAX_PROBLEMS * units.len() as f64 {
        return Err(Error::data(format!(
            "{} of {} images or their masks cannot be read:\n{}describe the folder by a spec (docs/datasets.md) and use \
             `sonotune data convert`",
            read.problems.len(),
            units.len(),
            problems_listed(&read.problems, 3)
        ))
        .into());
    }
    if !read.problems.is_empty() {
        prepared.notes.push(format!(
            "{} left out: {}",
            counted(read.problems.len(), "image"),
            problems_listed(&read.problems, 3).trim_end()
        ));
    }
    if read.file.annotations.is_empty() {
        return Err(Error::data(format!(
            "all masks of {} are empty; look at one, and describe the folder by a spec (docs/datasets.md) if its \
             objects are stored otherwise",
            counted(units.len(), "image")
        ))
        .into());
    }
    let spaced = read.file.images.iter().filter(|image| image.spacing.is_some()).count();
    if let (true, Some(table)) = (spaced > 0, &spacings.table) {
        let what = format!("pixel sizes of {} from {table}", counted(spaced, "image"));
        prepared.decisions.push((what, false));
    }
    prepared.file = plain(read.file);
    Ok(prepared)
}

/// The file without what a conversion says of a dataset.
fn plain(mut file: CocoFile) -> CocoFile {
    file.info = sonotune_coco::Info::default();
    for image in &mut file.images {
        image.dataset = None;
        image.provenance.source_file = String::new();
    }
    for category in &mut file.categories {
        category.supercategory = None;
    }
    file
}

fn look(survey: &Survey, files: &Files) -> Result<Coding> {
    let options = sonotune_base::image_io::DecodeOptions { exif: true, max_pixels: 1 << 28 };
    let step = files.items.len().div_ceil(40).max(1);
    let sample = files.items.iter().filter(|item| !item.masks.is_empty()).step_by(step);
    let masks: Vec<_> = sample
        .filter_map(|item| {
            let size =
                sonotune_base::image_io::read_size(&survey.listing.path(&item.path), options);
            Some((survey.listing.path(item.masks.first()?), size.ok()))
        })
        .collect();
    let coding = coding::look(&masks);
    if coding.unreadable.len() == coding.opened {
        let first = coding.unreadable.first().cloned().unwrap_or_default();
        return Err(
            Error::data(format!("none of {} masks can be read: {first}", coding.opened)).into()
        );
    }
    if let Values::Colours(colours) = &coding.values {
        return Err(Error::data(format!(
            "the masks have several colours, about {}, and which class each is cannot be guessed: write a spec with \
             `decode = {{ colors = {{ … }} }}` (docs/datasets.md) and use `sonotune data convert`, then `sonotune init` \
             on its output",
            colours.join(" and ")
        ))
        .into());
    }
    Ok(coding)
}

/// Names of the categories of objects.
fn names(
    files: &Files,
    coding: &Coding,
    category: Option<&str>,
    decisions: &mut Vec<(String, bool)>,
) -> Vec<String> {
    if let Values::Labels(labels) = &coding.values {
        decisions.push((format!("the values {labels:?} of the masks are classes"), true));
        return labels.iter().map(|label| format!("class_{label}")).collect();
    }
    if files.classes.len() > 1 {
        return files.classes.clone();
    }
    let name = category.unwrap_or("object");
    if category.is_none() {
        decisions
            .push(("the objects are called `object`; --category NAME names them".to_owned(), true));
    }
    vec![name.to_owned()]
}

fn describe(coding: &Coding, decisions: &mut Vec<(String, bool)>) {
    if coding.values == Values::Bright {
        decisions.push((
            "pixels of masks of at least 128 are the object, all others are not".to_owned(),
            true,
        ));
    }
    if coding.fill {
        decisions.push(("the masks are outlines, which are filled".to_owned(), true));
    }
    if coding.resize {
        decisions
            .push(("masks of another size than their image are scaled to it".to_owned(), true));
    }
}

fn unit(item: &Item, spacings: &Spacings) -> Unit {
    let masks = item.masks.iter().map(|path| MaskFile {
        path: path.clone(),
        rule: 0,
        category: item.class.map_or(1, |class| u8::try_from(class + 1).unwrap_or(u8::MAX)),
    });
    Unit {
        key: item.path.clone(),
        provenance: provenance(item),
        masks: masks.collect(),
        spacing: spacings.of(&item.path),
        ..Unit::default()
    }
}

/// A spec with one rule; which files are whose is already known, so its patterns fit everything.
fn spec(coding: &Coding, names: &[String]) -> Result<Spec> {
    let any = || [("files", "**".into()), ("key", "(.*)".into())];
    let mut rule = table(any());
    rule.insert("several".into(), true.into());
    let decode = match &coding.values {
        Values::Labels(labels) => {
            let values = (1_i64..).zip(labels).map(|(id, label)| (label.to_string(), id.into()));
            table([("values", toml::Value::Table(values.collect()))]).into()
        }
        Values::Bright => table([("at_least", 128.into())]).into(),
        Values::Nonzero | Values::Colours(_) => "nonzero".into(),
    };
    rule.insert("decode".into(), decode);
    if !matches!(coding.values, Values::Labels(_)) {
        rule.insert("category".into(), 1.into());
    }
    if coding.fill {
        rule.insert("clean".into(), vec![toml::Value::from("fill_holes")].into());
    }
    if coding.resize {
        rule.insert("resize".into(), "nearest".into());
    }
    let rasters = [
        ("unpaired", "keep_images".into()),
        ("images", table(any()).into()),
        ("masks", vec![toml::Value::Table(rule)].into()),
    ];
    let category = |(id, name): (i64, &String)| {
        table([
            ("id", id.into()),
            ("name", name.as_str().into()),
            ("supercategory", "object".into()),
        ])
    };
    let categories: Vec<toml::Table> = (1..).zip(names).map(category).collect();
    let texts = ["name", "title", "application", "url", "licence"];
    let mut spec: toml::Table = texts.iter().map(|&key| (key.to_owned(), "data".into())).collect();
    spec.insert("access".into(), "open".into());
    spec.insert("source".into(), toml::Value::Array(Vec::new()));
    spec.insert("empty".into(), "keep".into());
    spec.insert("categories".into(), categories.into());
    spec.insert("rasters".into(), table(rasters).into());
    let text = toml::to_string(&spec).context("writing a spec")?;
    Spec::parse(&text, "of these masks", &Choice::AsIntended)
}

fn table<const N: usize>(pairs: [(&str, toml::Value); N]) -> toml::Table {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Leaves out the images named by `paths`, and their objects.
pub(crate) fn without(file: &mut CocoFile, paths: &[String]) {
    let drop: HashSet<&str> = paths.iter().map(String::as_str).collect();
    file.images.retain(|image| !drop.contains(&*image.file_name));
    let ids: HashSet<u64> = file.images.iter().map(|image| image.id).collect();
    file.annotations.retain(|object| ids.contains(&object.image_id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coding_gives_a_spec_that_holds() {
        for values in [Values::Nonzero, Values::Bright, Values::Labels(vec![1, 3])] {
            for (fill, resize) in [(false, false), (true, true)] {
                let coding = Coding {
                    values: values.clone(),
                    fill,
                    resize,
                    opened: 1,
                    unreadable: Vec::new(),
                };
                let names = ["a \"b\"".to_owned(), "c".to_owned()];
                sonotune_curation::readers::of(&spec(&coding, &names).unwrap()).unwrap();
            }
        }
    }
}
