//! A text file of images and their labels.
//!
//! ```text
//! # path, then the label: a class name or index; several are separated by commas
//! images/case 1.png  benign
//! images/case2.png   malignant,cyst
//! ```
//!
//! ```toml
//! [dataset]
//! type = "list_file"
//! root = "data/mmotu"
//! train = "train.txt"
//! val = "val.txt"
//! categories = ["benign", "malignant", "cyst"]
//! ```

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sonotune_base::words::did_you_mean;

use super::{
    Dataset, DatasetConfig, Record, Split,
    dataset::missing_split,
    image_folder::{check_names, numbered},
    sha256,
};
use crate::{
    coco_dataset::CheckFiles,
    findings::{Audit, AuditedImage, Code, Findings, Place, path_leaves},
};
use sonotune_base::Error;
use sonotune_base::{ImageId, names::quoted};

/// `type = "list_file"`: images for classification, listed line by line as `path label`.
///
/// The label is what follows the last white space, so paths may contain spaces. It is a class
/// name, or else a class index; several labels of one image are separated by commas. Empty lines
/// and lines that start with `#` are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListFileConfig {
    /// Folder that contains the lists.
    #[serde(default)]
    pub root: PathBuf,
    /// Folder that the paths in the lists are relative to, below `root`.
    #[serde(default)]
    pub images: PathBuf,
    /// List of a split, below `root`.
    pub train: Option<PathBuf>,
    pub val: Option<PathBuf>,
    pub test: Option<PathBuf>,
    /// Names in the order of class indices. Default: the labels of the train list, sorted; if all of
    /// them are numbers, they are the indices, from 0 to the highest.
    pub categories: Option<Vec<String>>,
    /// Which image files must exist for a split to open.
    #[serde(default)]
    pub check_files: CheckFiles,
}

inventory::submit! {
    sonotune_config::Summary::of("dataset", "list_file", "classification: text files with a line `path label` for each image")
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
        let text = read(&source)?;
        let lines = parse(&text, &source)?;
        let names = self.category_names(&source, &lines)?;
        let images = self.root.join(&self.images);
        let record = |line: &Line<'_>| {
            Ok(Record {
                image_labels: labels(line, &names, &source)?,
                ..Record::new(ImageId::from(line.path), images.join(line.path))
            })
        };
        let records = lines.iter().map(record).collect::<Result<Vec<_>>>()?;
        let dataset = Dataset {
            categories: numbered(names),
            records,
            source,
            source_sha256: Some(sha256(text.as_bytes())),
            notes: Vec::new(),
        };
        dataset.ensure_images()?;
        self.check_files.check(&dataset)?;
        Ok(dataset)
    }

    fn audit(&self, split: Split) -> Audit {
        let Some(list) = self.split(split) else { return Audit::default() };
        let mut audit = Audit { source: self.root.join(list), ..Audit::default() };
        match read(&audit.source) {
            Ok(text) => self.audit_lines(&text, &mut audit),
            Err(error) => {
                let place = Place::file(&audit.source);
                audit.findings.add(Code::UnreadableAnnotations, place, format!("{error:#}"));
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
            Some(train) if train != source => names_of(&parse(&read(&train)?, &train)?, &train),
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
        let mut lines: Vec<Line<'_>> = Vec::new();
        let mut first_line = HashMap::new();
        for line in split_lines(text) {
            match line {
                Ok(line) => match first_line.insert(line.path, line.number) {
                    Some(first) => {
                        let got = format!("{} is already in line {first}", line.path);
                        let image = Some(images.join(line.path));
                        let place = Place { image, ..place(line.number) };
                        findings.add(Code::DuplicateFile, place, got);
                    }
                    None => lines.push(line),
                },
                Err((number, line)) => {
                    let (expected, got) = ("`path label`", format!("`{line}`"));
                    findings.add_expected(Code::MalformedEntry, place(number), expected, got);
                }
            }
        }
        let names = self.category_names(&source, &lines).unwrap_or_else(|error| {
            let place = Place::file(&source);
            findings.add(Code::CategoriesDiffer, place, format!("{error:#}"));
            Vec::new()
        });
        for line in lines {
            let path = images.join(line.path);
            let place = Place { image: Some(path.clone()), ..place(line.number) };
            let image_labels = class_indices(&line, &names).unwrap_or_else(|label| {
                let got = unknown_label(label, &names);
                // Without names, unknown labels are expected.
                if !names.is_empty() {
                    findings.add(Code::UnknownCategory, place.clone(), got);
                }
                Vec::new()
            });
            if path_leaves(&path, root) {
                let expected = format!("a path below {}", root.display());
                findings.add_expected(Code::PathOutsideRoot, place, expected, line.path);
            }
            audit.images.push(AuditedImage {
                image_id: ImageId::from(line.path),
                path,
                entry: Some(format!("line {}", line.number)),
                size: None,
                image_labels,
                objects: Vec::new(),
                without_objects: false,
                patient: None,
                clip: None,
            });
        }
        audit.categories = numbered(names);
        audit.findings = findings;
    }
}

/// One image of a list.
#[derive(Debug)]
struct Line<'a> {
    /// Counted from 1.
    number: usize,
    path: &'a str,
    labels: &'a str,
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| Error::data(format!("cannot read the list {}", path.display())))
}

fn parse<'a>(text: &'a str, source: &Path) -> Result<Vec<Line<'a>>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut first_line = HashMap::new();
    let fault =
        |number: usize, what: String| Error::data(format!("{}:{number}: {what}", source.display()));
    for line in split_lines(text) {
        let line = line.map_err(|(number, line)| {
            fault(number, format!("expected `path label`, got `{line}`"))
        })?;
        if let Some(first) = first_line.insert(line.path, line.number) {
            let what = format!("{} is already in line {first}", line.path);
            return Err(fault(line.number, what).into());
        }
        lines.push(line);
    }
    Ok(lines)
}

/// The lines that are not empty; for one that is not `path label`, its number and text.
fn split_lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, (usize, &str)>> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).zip(1..);
    let filled = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    filled.map(|(line, number)| {
        let (path, labels) = line.rsplit_once(char::is_whitespace).ok_or((number, line))?;
        Ok(Line { number, path: path.trim_end(), labels })
    })
}

/// Class names if the config gives none.
fn names_of(lines: &[Line<'_>], source: &Path) -> Result<Vec<String>> {
    let mut names: Vec<&str> = lines.iter().flat_map(|line| line.labels.split(',')).collect();
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
        let what = unknown_label(label, names);
        Error::data(format!("{}:{}: {what}", source.display(), line.number)).into()
    })
}

/// Same as [`labels`], or the first label that is not a class.
fn class_indices<'a>(line: &Line<'a>, names: &[String]) -> Result<Vec<u32>, &'a str> {
    let index_of = |label: &str| {
        let by_name = names.iter().position(|name| name == label);
        by_name.or_else(|| label.parse().ok().filter(|&index: &usize| index < names.len()))
    };
    // A name may itself contain a comma.
    if let Some(index) = index_of(line.labels) {
        return Ok(vec![index as u32]);
    }
    let index = |label| index_of(label).map(|index| index as u32).ok_or(label);
    let mut indices = line.labels.split(',').map(index).collect::<Result<Vec<_>, _>>()?;
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

fn unknown_label(label: &str, names: &[String]) -> String {
    format!(
        "label \"{label}\" is not a class{}; the classes are {}, or their indices 0 to {}",
        did_you_mean(label, names.iter().map(String::as_str)),
        quoted(names),
        names.len().saturating_sub(1)
    )
}
