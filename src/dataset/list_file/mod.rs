//! A text file of images and their labels.
//!
//! ```text
//! # path, then the label: a class name or index; several are separated by commas
//! images/case 1.png  benign
//! images/case2.png   malignant,cyst
//! ```
//!
//! Tabs, commas, quotes and the label before the path are understood, as is UTF-16.
//!
//! ```toml
//! [dataset]
//! type = "list_file"
//! root = "data/mmotu"
//! train = "train.txt"
//! val = "val.txt"
//! categories = ["benign", "malignant", "cyst"]
//! ```

mod line;

use std::{
    borrow::Cow,
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_base::words::{counted, did_you_mean};

use self::line::{Line, lines};
use super::{
    Dataset, DatasetConfig, Record, Split,
    dataset::missing_split,
    image_folder::{check_names, numbered},
    sha256,
    text::decode,
};
use crate::{
    coco_dataset::CheckFiles,
    findings::{Audit, AuditedImage, Code, Findings, Place, path_leaves},
};
use sonotune_base::Error;
use sonotune_base::{ImageId, names::quoted};

/// `type = "list_file"`: images for classification, listed line by line as `path label`.
///
/// The path ends with the ending of an image (without one: at the last white space), so paths may
/// contain spaces. The label is a class name, or else a class index; several labels of one image are
/// separated by commas. A label of several words follows a tab or is in quotes, unless `categories`
/// names it. Empty lines and lines that start with `#` are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListFileConfig {
    /// Folder that contains the lists.
    #[serde(default)]
    pub root: PathBuf,
    /// Folder, below `root`, that the paths in the lists are relative to.
    #[serde(default)]
    pub images: PathBuf,
    /// List of the split, below `root`.
    pub train: Option<PathBuf>,
    /// List of the validation split, below `root`.
    pub val: Option<PathBuf>,
    /// List of the test split, below `root`.
    pub test: Option<PathBuf>,
    /// Names in the order of class indices. If absent, the labels of the training list, sorted.
    pub categories: Option<Vec<String>>,
    /// Which image files are checked for existence on opening: `all`, `some` (the first eight; for a slow
    /// network), `none`. A missing file is an error on reading in any case.
    #[serde(default)]
    pub check_files: CheckFiles,
}

inventory::submit! {
    sonotune_config::Summary::of("dataset", "list_file", "classification: text files with a line `path label` for each image")
        .schema::<ListFileConfig>()
}

#[typetag::serde(name = "list_file")]
impl DatasetConfig for ListFileConfig {
    fn splits(&self) -> Vec<Split> {
        Split::ALL.into_iter().filter(|&s| self.split(s).is_some()).collect()
    }

    fn source(&self, split: Split) -> Option<PathBuf> {
        self.split(split).map(|path| self.root.join(path))
    }

    fn open(&self, split: Split) -> Result<Dataset> {
        let Some(list) = self.split(split) else {
            return Err(missing_split(split, &self.splits()));
        };
        let source = self.root.join(list);
        let bytes = read(&source)?;
        let text = text(&bytes, &source)?;
        let images = self.root.join(&self.images);
        let mut notes = Vec::new();
        let lines = parse(&text, &source, &images, &mut notes)?;
        let names = self.category_names(&source, &lines)?;
        let record = |line: &Line<'_>| {
            Ok(Record {
                image_labels: labels(line, &names, &source)?,
                ..Record::new(ImageId::from(&*line.path), images.join(&*line.path))
            })
        };
        let records = lines.iter().map(record).collect::<Result<Vec<_>>>()?;
        let dataset = Dataset {
            categories: numbered(names),
            records,
            source,
            source_sha256: Some(sha256(&bytes)),
            notes,
        };
        dataset.ensure_images()?;
        self.check_files.check(&dataset)?;
        Ok(dataset)
    }

    fn audit(&self, split: Split) -> Audit {
        let Some(list) = self.split(split) else { return Audit::default() };
        let mut audit = Audit { source: self.root.join(list), ..Audit::default() };
        let bytes = read(&audit.source);
        match bytes.and_then(|bytes| Ok(text(&bytes, &audit.source)?.into_owned())) {
            Ok(text) => self.audit_lines(&text, &mut audit),
            Err(error) => {
                // The place says which file it is.
                let prefix = format!("{}: ", audit.source.display());
                let text = format!("{error:#}").replacen(&prefix, "", 1);
                let place = Place::file(&audit.source);
                audit.findings.add(Code::UnreadableAnnotations, place, text);
            }
        }
        audit
    }
}

impl ListFileConfig {
    fn split(&self, split: Split) -> Option<&Path> {
        match split {
            Split::Train => self.train.as_deref(),
            Split::Val => self.val.as_deref(),
            Split::Test => self.test.as_deref(),
        }
    }

    /// From the config, else from the train list, else from the list itself.
    fn category_names(&self, source: &Path, lines: &[Line<'_>]) -> Result<Vec<String>> {
        if let Some(names) = &self.categories {
            check_names(names)?;
            return Ok(names.clone());
        }
        match self.train.as_ref().map(|train| self.root.join(train)) {
            Some(train) if train != source => {
                let bytes = read(&train)?;
                let images = self.root.join(&self.images);
                let text = text(&bytes, &train)?;
                names_of(&parse(&text, &train, &images, &mut Vec::new())?, &train)
            }
            _ => names_of(lines, source),
        }
    }

    /// Reads the list line by line, skipping faulty lines.
    fn audit_lines(&self, text: &str, audit: &mut Audit) {
        let images = self.root.join(&self.images);
        let root = if self.root.as_os_str().is_empty() { &images } else { &self.root };
        audit.root = Some(root.clone());
        let source = audit.source.clone();
        let place = |number: usize| Place::entry(&source, format!("line {number}"));
        let mut findings = Findings::default();
        let read = readable(text, &images, place, &mut findings);
        let names = self.category_names(&source, &read).unwrap_or_else(|error| {
            let place = Place::file(&source);
            findings.add(Code::CategoriesDiffer, place, format!("{error:#}"));
            Vec::new()
        });
        for line in read {
            let path = images.join(&*line.path);
            let place = Place { image: Some(path.clone()), ..place(line.number) };
            let image_labels = class_indices(&line, &names).unwrap_or_else(|label| {
                let got = unknown_label(&line, label, &names);
                // Without names, unknown labels are expected.
                if !names.is_empty() {
                    findings.add(Code::UnknownCategory, place.clone(), got);
                }
                Vec::new()
            });
            if path_leaves(&path, root) {
                let expected = format!("a path below {}", root.display());
                findings.add_expected(Code::PathOutsideRoot, place, expected, &*line.path);
            }
            audit.images.push(AuditedImage {
                image_id: ImageId::from(&*line.path),
                path,
                frame: None,
                entry: Some(format!("line {}", line.number)),
                size: None,
                spacing: None,
                image_labels,
                objects: Vec::new(),
                without_objects: false,
                patient: None,
                clip: None,
                parts: Vec::new(),
            });
        }
        audit.categories = numbered(names);
        audit.findings = findings;
    }
}

/// The lines that can be read, each image once.
fn readable<'a>(
    text: &'a str,
    images: &Path,
    place: impl Fn(usize) -> Place,
    findings: &mut Findings,
) -> Vec<Line<'a>> {
    let mut read: Vec<Line<'a>> = Vec::new();
    let mut first_line = HashMap::new();
    for line in lines(text) {
        match line.map(|line| slashed(line, images).0) {
            Ok(line) => match first_line.insert(line.path.clone(), (line.number, line.labels)) {
                Some(first) => {
                    let image = Some(images.join(&*line.path));
                    let place = Place { image, ..place(line.number) };
                    findings.add(Code::DuplicateFile, place, repeated(&line, first));
                }
                None => read.push(line),
            },
            Err((number, got)) => {
                findings.add_expected(Code::MalformedEntry, place(number), "`path label`", got);
            }
        }
    }
    read
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .with_context(|| Error::data(format!("cannot read the list {}", path.display())))
}

fn text<'a>(bytes: &'a [u8], source: &Path) -> Result<Cow<'a, str>> {
    decode(bytes).map_err(|what| Error::data(format!("{}: {what}", source.display())).into())
}

/// The lines of the list `source`; `images` is the folder of the images.
fn parse<'a>(
    text: &'a str,
    source: &Path,
    images: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Line<'a>>> {
    let mut read: Vec<Line<'a>> = Vec::new();
    let mut first_line = HashMap::new();
    let mut num_slashed = 0;
    let fault =
        |number: usize, what: String| Error::data(format!("{}:{number}: {what}", source.display()));
    for line in lines(text) {
        let line = line
            .map_err(|(number, got)| fault(number, format!("expected `path label`, got {got}")))?;
        let (line, is_slashed) = slashed(line, images);
        num_slashed += usize::from(is_slashed);
        if let Some(first) = first_line.insert(line.path.clone(), (line.number, line.labels)) {
            return Err(fault(line.number, repeated(&line, first)).into());
        }
        read.push(line);
    }
    if num_slashed > 0 {
        let paths = counted(num_slashed, "path");
        notes.push(format!("{paths} with backslashes, as Windows writes them, read with slashes"));
    }
    Ok(read)
}

/// What is wrong with a line whose path another one, given by number and labels, also has.
fn repeated(line: &Line<'_>, (number, labels): (usize, &str)) -> String {
    let path = &line.path;
    if labels == line.labels {
        return format!("{path} is already in line {number}");
    }
    let here = line.labels;
    format!("{path} is already in line {number}, labelled \"{labels}\" there and \"{here}\" here")
}

/// A line with the path of Windows as a path of any system, unless there is a file of that very name.
fn slashed<'a>(line: Line<'a>, images: &Path) -> (Line<'a>, bool) {
    if !line.path.contains('\\') || images.join(&*line.path).exists() {
        return (line, false);
    }
    let path = line.path.replace('\\', "/").into();
    (Line { path, ..line }, true)
}

/// Class names if the config gives none.
fn names_of(lines: &[Line<'_>], source: &Path) -> Result<Vec<String>> {
    for line in lines {
        if let Some(label) = line.unclear() {
            let what = unclear_label(label);
            return Err(Error::data(format!("{}:{}: {what}", source.display(), line.number)).into());
        }
    }
    let mut names: Vec<&str> = lines.iter().flat_map(Line::each).collect();
    names.sort_unstable();
    names.dedup();
    let numbers: Option<Vec<u32>> = names.iter().map(|n| n.parse().ok()).collect();
    let Some(highest) = numbers.and_then(|n| n.into_iter().max()) else {
        return Ok(names.into_iter().map(str::to_owned).collect());
    };
    // A label such as 20240131 is not a class index, and would create that many classes.
    if highest as usize > 10 * names.len() + 100 {
        return Err(Error::data(format!(
            "{}: {} numbers up to {highest} are too few to be class indices; name the classes in \
             dataset.categories",
            source.display(),
            names.len()
        ))
        .into());
    }
    Ok((0..=highest).map(|i| i.to_string()).collect())
}

/// Class indices of a line, ascending: each label a name, or else an index.
fn labels(line: &Line<'_>, names: &[String], source: &Path) -> Result<Vec<u32>> {
    class_indices(line, names).map_err(|label| {
        let what = unknown_label(line, label, names);
        Error::data(format!("{}:{}: {what}", source.display(), line.number)).into()
    })
}

/// Same as [`labels`], or the first label that is not a class.
fn class_indices<'a>(line: &'a Line<'_>, names: &[String]) -> Result<Vec<u32>, &'a str> {
    let index_of = |label: &str| {
        let by_name = names.iter().position(|name| name == label);
        by_name.or_else(|| label.parse().ok().filter(|&index: &usize| index < names.len()))
    };
    // A name may itself contain a comma.
    if let Some(index) = index_of(line.labels) {
        return Ok(vec![index as u32]);
    }
    let index = |label| index_of(label).map(|index| index as u32).ok_or(label);
    let mut indices = line.each().map(index).collect::<Result<Vec<_>, _>>()?;
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

/// Without the names of the classes, a label and a further column cannot be told from two words.
fn unclear_label(label: &str) -> String {
    format!(
        "the label \"{label}\" contains a blank. If it is one label, put a tab between path and label \
         or quotes around the label, or name the classes in dataset.categories"
    )
}

fn unknown_label(line: &Line<'_>, label: &str, names: &[String]) -> String {
    let blank = match line.unclear() {
        Some(unclear) if unclear == label => "; it contains a blank: is it one label?",
        _ => "",
    };
    format!(
        "label \"{label}\" is not a class{}{blank}; the classes are {}, or their indices 0 to {}",
        did_you_mean(label, names.iter().map(String::as_str)),
        quoted(names),
        names.len().saturating_sub(1)
    )
}
