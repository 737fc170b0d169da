//! Classification datasets with one folder per class.
//!
//! ```toml
//! [dataset]
//! type = "image_folder"
//! root = "data/busi"      # data/busi/train/benign/*.png, data/busi/train/malignant/*.png, …
//! train = "train"
//! val = "val"
//! ```

mod classes;
mod masks;

use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_base::words::{counted, did_you_mean};

use self::classes::ClassFolder;
use super::{
    Dataset, DatasetConfig, Record, Split,
    dataset::missing_split,
    files::{by_ending, endings, is_image, relative_text, sub_folders},
};
use crate::findings::{Audit, Code, Findings, Place};
use sonotune_base::Error;
use sonotune_base::{
    Category, ImageId,
    names::{duplicate, quoted},
};

/// `type = "image_folder"`: images for classification, sorted into one folder per class.
///
/// Images of a class may be in subfolders of its folder. A validation or test split may lack the
/// folder of a class, but must not have one that the training split lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFolderConfig {
    /// Folder that the splits are in.
    #[serde(default)]
    pub root: PathBuf,
    /// Folder of the split, below `root`.
    pub train: Option<PathBuf>,
    /// Folder of the validation split, below `root`; it may lack a class, but must not have one that training
    /// lacks.
    pub val: Option<PathBuf>,
    /// Folder of the test split, below `root`.
    pub test: Option<PathBuf>,
    /// Folder names in the order of class indices. If absent, the folders of the training split, sorted.
    pub categories: Option<Vec<String>>,
    /// Patterns of paths below a split's folder whose files are left out: `["*_mask*"]`, or folders, `["*/masks",
    /// "unsorted"]`; `*` matches any run of characters. A class folder of which nothing is left is not a class. A
    /// pattern that matches nothing in any split is an error. `[]` keeps everything, masks included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<String>>,
}

inventory::submit! {
    sonotune_config::Summary::of("dataset", "image_folder", "classification: a folder of images for each class")
        .schema::<ImageFolderConfig>()
}

#[typetag::serde(name = "image_folder")]
impl DatasetConfig for ImageFolderConfig {
    fn splits(&self) -> Vec<Split> {
        Split::ALL.into_iter().filter(|&s| self.split(s).is_some()).collect()
    }

    fn source(&self, split: Split) -> Option<PathBuf> {
        self.split(split).map(|path| self.root.join(path))
    }

    fn open(&self, split: Split) -> Result<Dataset> {
        let Some(folder) = self.split(split) else {
            return Err(missing_split(split, &self.splits()));
        };
        let source = self.root.join(folder);
        let names = self.category_names(&source)?;
        let (folders, beside) = sub_folders(&source)?;
        let mut dataset = Dataset { source, ..Dataset::default() };
        let mut others = beside;
        let mut left_out = vec![0usize; self.patterns().len()];
        for folder in folders {
            let class = ClassFolder::read(&folder, &dataset.source, self.patterns())?;
            let files = class.left_out.iter().map(Vec::len);
            left_out.iter_mut().zip(files).for_each(|(count, files)| *count += files);
            if class.is_left_out(&dataset.source, self.patterns()) {
                continue;
            }
            let label = index_of(&folder_name(&folder), &names, &folder)?;
            if let Some(fault) = class.fault(&dataset.source) {
                return Err(fault.into());
            }
            others.extend(class.others);
            dataset.records.extend(class.images.into_iter().map(|path| self.record(path, label)));
        }
        self.check_patterns(&left_out, split, &mut dataset)?;
        if !others.is_empty() {
            dataset.notes.push(format!(
                "{} passed over, not an image or not in a class: {}",
                counted(others.len(), "file"),
                endings(&others)
            ));
        }
        dataset.categories = numbered(names);
        dataset.ensure_images()?;
        self.check_masks(&mut dataset)?;
        Ok(dataset)
    }

    /// Reports folders of unknown classes and reads the others.
    fn audit(&self, split: Split) -> Audit {
        let Some(folder) = self.split(split) else { return Audit::default() };
        let source = self.root.join(folder);
        let opened = self.category_names(&source).and_then(|n| Ok((n, sub_folders(&source)?)));
        let (names, (folders, beside)) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let mut audit = Audit { source: source.clone(), ..Audit::default() };
                let place = Place::file(&source);
                audit.findings.add(Code::UnreadableAnnotations, place, format!("{error:#}"));
                return audit;
            }
        };
        let mut dataset =
            Dataset { source, categories: numbered(names.clone()), ..Dataset::default() };
        let mut findings = Findings::default();
        let mut left_out = Vec::new();
        for folder in folders {
            match self.audited(&folder, &names, &dataset.source) {
                Ok((class, label)) => {
                    left_out.extend(class.left_out.into_iter().flatten());
                    pass_over(&class.others, &folder, &mut findings);
                    let images = class.images.into_iter();
                    dataset.records.extend(images.map(|path| self.record(path, label)));
                }
                Err((code, error)) => {
                    // The place says which folder it is.
                    let prefix = format!("{}: ", folder.display());
                    let text = format!("{error:#}").replacen(&prefix, "", 1);
                    findings.add(code, Place::file(&folder), text);
                }
            }
        }
        let beside: Vec<PathBuf> = beside.into_iter().filter(|file| is_image(file)).collect();
        pass_over(&beside, &dataset.source, &mut findings);
        if self.exclude.is_none() {
            report_masks(&dataset, &mut findings);
        }
        Audit { findings, left_out, ..Audit::from(dataset) }
    }
}

/// Reports files that are not read, by their ending.
fn pass_over(files: &[PathBuf], folder: &Path, findings: &mut Findings) {
    for (ending, files) in by_ending(files) {
        let ending = ending.map_or("without an ending".to_owned(), |e| format!("ending in {e}"));
        let why = if is_image(files[0]) { "in no class folder" } else { "not read as images" };
        let (count, example) = (counted(files.len(), "file"), relative_text(files[0], folder));
        let got = format!("{count} {ending}, {why}, such as {example}");
        findings.add(Code::PassedOver, Place::file(folder), got);
    }
}

fn report_masks(dataset: &Dataset, findings: &mut Findings) {
    let (images, masks) = stray_masks(dataset);
    let patterns = masks::patterns(&masks, &images, &dataset.source);
    for mask in &masks {
        let record = &dataset.records[mask.index];
        let place = Place {
            image: Some(record.path.clone()),
            image_id: Some(record.image_id.clone()),
            ..Place::file(&dataset.source)
        };
        let of = images[mask.of].display();
        let got = format!("seems to be a mask of {of}: dataset.exclude = [{}]", quoted(&patterns));
        findings.add(Code::MaskAmongImages, place, got);
    }
}

fn stray_masks(dataset: &Dataset) -> (Vec<PathBuf>, Vec<masks::StrayMask>) {
    let images: Vec<PathBuf> = dataset.records.iter().map(|r| r.path.clone()).collect();
    let masks = masks::among(&images, &dataset.source);
    (images, masks)
}

impl ImageFolderConfig {
    fn record(&self, path: PathBuf, label: u32) -> Record {
        let image_id = ImageId::Text(relative_text(&path, &self.root).into());
        Record { image_labels: vec![label], ..Record::new(image_id, path) }
    }

    fn patterns(&self) -> &[String] {
        self.exclude.as_deref().unwrap_or_default()
    }

    /// What `audit` gets from a class folder, or what is wrong with it.
    fn audited(
        &self,
        folder: &Path,
        names: &[String],
        source: &Path,
    ) -> Result<(ClassFolder, u32), (Code, anyhow::Error)> {
        let class = ClassFolder::read(folder, source, self.patterns())
            .map_err(|error| (Code::UnreadableAnnotations, error))?;
        if class.is_left_out(source, self.patterns()) {
            return Ok((class, 0));
        }
        let label = index_of(&folder_name(folder), names, folder)
            .map_err(|error| (Code::UnknownCategory, error))?;
        match class.fault(source) {
            Some(fault) => Err((Code::ClassWithoutImages, fault.into())),
            None => Ok((class, label)),
        }
    }

    /// Notes how many files each pattern left out.
    ///
    /// # Errors
    /// If a pattern matches nothing in the training split and in no other.
    fn check_patterns(&self, counts: &[usize], split: Split, dataset: &mut Dataset) -> Result<()> {
        for (i, (pattern, &count)) in self.patterns().iter().zip(counts).enumerate() {
            if count > 0 {
                let files = counted(count, "file");
                dataset.notes.push(format!("{files} left out: dataset.exclude \"{pattern}\""));
            } else if split == Split::Train && !self.matches_elsewhere(i)? {
                let like = dataset.records.first().map(|r| relative_text(&r.path, &dataset.source));
                return Err(Error::config(format!(
                    "dataset.exclude: \"{pattern}\" matches no file of {}; their names look like \
                     \"{}\"",
                    dataset.source.display(),
                    like.unwrap_or_default(),
                ))
                .into());
            }
        }
        Ok(())
    }

    /// Whether the pattern at `index` leaves out a file or folder of any split.
    fn matches_elsewhere(&self, index: usize) -> Result<bool> {
        let pattern = &self.patterns()[index..=index];
        for folder in Split::ALL.into_iter().filter_map(|split| self.split(split)) {
            let source = self.root.join(folder);
            for folder in sub_folders(&source)?.0 {
                let class = ClassFolder::read(&folder, &source, pattern)?;
                if !class.left_out[0].is_empty() || class.is_left_out(&source, pattern) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// # Errors
    /// If masks are among the images, and the config does not say what to do with them.
    fn check_masks(&self, dataset: &mut Dataset) -> Result<()> {
        let (images, masks) = stray_masks(dataset);
        let Some(first) = masks.first() else { return Ok(()) };
        let (count, of) = (masks.len(), images.len());
        let [mask, image] = [first.index, first.of].map(|i| images[i].display());
        let what = format!("{count} of {of} images seem to be masks, such as {mask} of {image}");
        match &self.exclude {
            None => {
                let patterns = quoted(&masks::patterns(&masks, &images, &dataset.source));
                return Err(Error::data(format!(
                    "{}: {what}. Leave them out with dataset.exclude = [{patterns}], or keep them \
                     as images with dataset.exclude = []",
                    dataset.source.display()
                ))
                .into());
            }
            Some(patterns) if patterns.is_empty() => {}
            Some(_) => dataset.notes.push(what),
        }
        Ok(())
    }

    fn split(&self, split: Split) -> Option<&Path> {
        match split {
            Split::Train => self.train.as_deref(),
            Split::Val => self.val.as_deref(),
            Split::Test => self.test.as_deref(),
        }
    }

    /// From the config, else from the train split, else from the split itself.
    fn category_names(&self, source: &Path) -> Result<Vec<String>> {
        if let Some(names) = &self.categories {
            check_names(names)?;
            return Ok(names.clone());
        }
        let train = self.train.as_ref().map(|train| self.root.join(train));
        let folder = train.as_deref().unwrap_or(source);
        let mut folders = sub_folders(folder)?.0;
        if !self.patterns().is_empty() {
            let mut kept = Vec::new();
            for path in folders {
                let class = ClassFolder::read(&path, folder, self.patterns())?;
                if !class.is_left_out(folder, self.patterns()) {
                    kept.push(path);
                }
            }
            folders = kept;
        }
        let names: Vec<String> = folders.iter().map(|f| folder_name(f)).collect();
        if names.is_empty() {
            return Err(Error::data(format!(
                "{}: no folders: expected one folder of images per class",
                folder.display()
            ))
            .into());
        }
        Ok(names)
    }
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn index_of(name: &str, names: &[String], folder: &Path) -> Result<u32> {
    let found = names.iter().position(|n| n == name).map(|i| i as u32);
    found.ok_or_else(|| {
        let hint = did_you_mean(name, names.iter().map(String::as_str));
        Error::data(format!(
            "{}: \"{name}\" is not a class{hint}; the classes are {}. If it is none, leave the \
             folder out (dataset.exclude)",
            folder.display(),
            quoted(names)
        ))
        .into()
    })
}

/// Rejects an empty list of names and duplicate names.
pub(super) fn check_names(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::config(
            "dataset.categories is empty: name at least one, or leave the key out",
        )
        .into());
    }
    if let Some(name) = duplicate(names) {
        return Err(Error::config(format!("dataset.categories lists \"{name}\" twice")).into());
    }
    Ok(())
}

/// Categories whose ids are their class indices.
pub(super) fn numbered(names: Vec<String>) -> Vec<Category> {
    names.into_iter().enumerate().map(|(i, name)| Category { id: i as i64, name }).collect()
}
