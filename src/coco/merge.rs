//! Merges several COCO files into one.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use sonotune_base::{Error, words};

use crate::{CategoryRecord, CocoFile, Extra, Info, layout, output::folder_of};

/// When two categories from different files count as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Categories {
    /// Same name and same supercategory; one name with two supercategories is an error.
    Union,
    /// Same name; the first supercategory stays, differences are printed.
    ByName,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct MergeReport {
    pub sources: Vec<SourceSummary>,
    pub images: usize,
    pub objects: usize,
    pub categories: Vec<String>,
    /// Names whose supercategories differ between the files.
    pub conflicts: Vec<String>,
    /// Pairs of names that are nearly equal, and yet two categories.
    pub similar: Vec<String>,
    /// How file names were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Other top-level keys, e.g. `licenses`, that are not carried over: their meaning is specific
    /// to each file.
    pub left_out: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SourceSummary {
    pub file: PathBuf,
    pub dataset: String,
    /// Prepended to each of its `file_name`s.
    pub prefix: String,
    pub images: usize,
    pub objects: usize,
}

/// Merges `files`, in their order, into one whose `file_name`s are relative to `root`. Categories
/// are numbered from 1 in the order of their first appearance; every image records its dataset and,
/// if known, its application.
///
/// # Errors
/// If a file cannot be read, its images are not below `root`, two images get the same
/// `file_name`, or categories conflict.
pub fn merge(files: &[PathBuf], root: &Path, rule: Categories) -> Result<(CocoFile, MergeReport)> {
    let mut merged = Merged { rule, ..Merged::default() };
    for path in files {
        let file = CocoFile::read(path)?;
        merged.add(path, file, root).with_context(|| Error::data(path.display().to_string()))?;
    }
    Ok(merged.finish())
}

/// `folder` relative to `root`.
///
/// # Errors
/// If it is elsewhere.
fn prefix_below(folder: &Path, root: &Path) -> Result<String> {
    layout::prefix_below(folder, root)?.with_context(|| {
        Error::data(format!(
            "its images are in {}, which is not below {}: pass a folder above all images as --root; the \
             file names of the merged file will be relative to it",
            folder.display(),
            root.display()
        ))
    })
}

/// Where the images of a source are.
struct Folder<'a> {
    images: &'a Path,
    /// Goes before names relative to `images`, to make them relative to `root`.
    prefix: &'a str,
    root: &'a Path,
}

impl Folder<'_> {
    /// The name of an image relative to the root: as its source spells it, unless it leads to `file` only
    /// by another spelling or from the root of the disk.
    fn name(&self, name: &str, file: &Path) -> Result<String> {
        if Path::new(name).is_absolute() {
            let own = file.file_name().unwrap_or_default().to_string_lossy();
            return Ok(prefix_below(folder_of(file), self.root)? + &own);
        }
        let spelled =
            file.strip_prefix(self.images).ok().filter(|_| *file != self.images.join(name));
        let name = spelled.map_or(name.into(), Path::to_string_lossy);
        Ok(format!("{}{name}", self.prefix))
    }
}

struct Merged {
    rule: Categories,
    file: CocoFile,
    report: MergeReport,
    /// Category id and the dataset that brought it, by name.
    categories: HashMap<String, (u64, String)>,
    /// Index of the source, by `file_name`.
    names: HashMap<String, usize>,
    left_out: BTreeSet<String>,
}

impl Default for Merged {
    fn default() -> Self {
        Self {
            rule: Categories::Union,
            file: CocoFile::default(),
            report: MergeReport::default(),
            categories: HashMap::new(),
            names: HashMap::new(),
            left_out: BTreeSet::new(),
        }
    }
}

impl Merged {
    fn add(&mut self, path: &Path, file: CocoFile, root: &Path) -> Result<()> {
        let (images, located) = layout::locate(path, &file)?;
        self.report.notes.extend(located.note.clone());
        let prefix = prefix_below(&images, root)?;
        let folder_name = layout::dataset_name(&images);
        let dataset = file.info.dataset.clone().or(folder_name).unwrap_or_default();
        let source = SourceSummary {
            file: path.to_owned(),
            dataset: dataset.clone(),
            prefix: prefix.clone(),
            images: file.images.len(),
            objects: file.annotations.len(),
        };
        self.report.sources.push(source);
        let ids = self.take_categories(&file.categories, &dataset)?;
        let offset = self.file.images.len() as u64;
        let source = self.report.sources.len() - 1;
        for (i, mut image) in file.images.into_iter().enumerate() {
            image.id = offset + i as u64 + 1;
            if let Some(hint) = located.hint(&located.files[i]) {
                bail!("images[{i}]: {}: {hint}", image.file_name);
            }
            let folder = Folder { images: &images, prefix: &prefix, root };
            image.file_name = folder.name(&image.file_name, &located.files[i])?;
            image.dataset.get_or_insert_with(|| dataset.clone());
            image.application = image.application.or_else(|| file.info.application.clone());
            if let Some(first) = self.names.insert(image.file_name.clone(), source) {
                bail!(
                    "images[{i}]: {} is already in {}",
                    image.file_name,
                    self.report.sources[first].file.display()
                );
            }
            self.file.images.push(image);
        }
        for mut annotation in file.annotations {
            annotation.image_id += offset;
            annotation.category_id = *ids.get(&annotation.category_id).with_context(|| {
                format!("category {} of annotation {}", annotation.category_id, annotation.id)
            })?;
            self.file.annotations.push(annotation);
        }
        self.left_out.extend(file.extra.0.into_iter().map(|(key, _)| String::from(key)));
        Ok(())
    }

    /// New ids by the file's own.
    fn take_categories(
        &mut self,
        categories: &[CategoryRecord],
        dataset: &str,
    ) -> Result<HashMap<u64, u64>> {
        let mut ids = HashMap::new();
        let mut seen = BTreeSet::new();
        for category in categories {
            ensure!(
                seen.insert(&category.name),
                "two of its categories are named \"{}\"",
                category.name
            );
            let next = self.file.categories.len() as u64 + 1;
            let known = self.categories.get(&category.name);
            let id = known.map_or(next, |(id, _)| *id);
            if let Some((id, first)) = known {
                self.compare(category, dataset, &self.file.categories[*id as usize - 1], first)
                    .map(|conflict| self.report.conflicts.extend(conflict))?;
            } else {
                self.categories.insert(category.name.clone(), (id, dataset.to_owned()));
                self.file.categories.push(CategoryRecord { id, ..category.clone() });
            }
            ids.insert(category.id, id);
        }
        Ok(ids)
    }

    /// Describes how a category's supercategory differs from the one recorded.
    fn compare(
        &self,
        category: &CategoryRecord,
        dataset: &str,
        known: &CategoryRecord,
        first: &str,
    ) -> Result<Option<String>> {
        if category.supercategory == known.supercategory {
            return Ok(None);
        }
        let name = |c: &CategoryRecord| match &c.supercategory {
            Some(name) => format!("supercategory \"{name}\""),
            None => "no supercategory".to_owned(),
        };
        let conflict = format!(
            "category \"{}\" has {} in {first}, {} in {dataset}",
            category.name,
            name(known),
            name(category)
        );
        match self.rule {
            Categories::ByName => Ok(Some(conflict)),
            Categories::Union => bail!(
                "{conflict}. If they are the same, pass --categories by-name to keep the first; \
                 otherwise rename one"
            ),
        }
    }

    fn similar(&self) -> Vec<String> {
        let names = &self.report.categories;
        let shown = |name: &String| {
            let of = self.categories.get(name).map(|(_, dataset)| format!(" of {dataset}"));
            format!("\"{name}\"{}", of.unwrap_or_default())
        };
        let pairs = (1..names.len()).flat_map(|j| (0..j).map(move |i| (&names[i], &names[j])));
        let similar = pairs.filter_map(|(a, b)| {
            Some(format!("{} and {} {}", shown(a), shown(b), words::likeness(a, b)?))
        });
        similar.collect()
    }

    fn finish(mut self) -> (CocoFile, MergeReport) {
        let mut datasets: Vec<&str> = Vec::new();
        for source in &self.report.sources {
            if !datasets.contains(&&*source.dataset) {
                datasets.push(&source.dataset);
            }
        }
        self.file.info = Info {
            description: Some(datasets.join(", ")),
            dataset: (datasets.len() == 1).then(|| datasets[0].to_owned()),
            extra: Extra::default(),
            ..Info::default()
        };
        self.report.images = self.file.images.len();
        self.report.objects = self.file.annotations.len();
        self.report.categories = self.file.categories.iter().map(|c| c.name.clone()).collect();
        self.report.similar = self.similar();
        self.report.left_out = self.left_out.into_iter().collect();
        (self.file, self.report)
    }
}

/// Default folder that the file names of a merged file are relative to: the one that it is
/// written to.
#[must_use]
pub fn default_root(out: &Path) -> &Path {
    folder_of(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ROOT/NAME/{annotations/all.json,images}` with one image and one object of `category`.
    fn dataset(root: &Path, name: &str, category: (&str, &str)) -> PathBuf {
        let folder = root.join(name);
        std::fs::create_dir_all(folder.join("images")).unwrap();
        std::fs::create_dir_all(folder.join("annotations")).unwrap();
        let path = folder.join("annotations/all.json");
        let json = serde_json::json!({
            "info": { "application": format!("use of {name}") },
            "licenses": [],
            "images": [{ "id": 70, "file_name": "a.png", "height": 2, "width": 2 }],
            "annotations": [{ "image_id": 70, "category_id": 9, "bbox": [0, 0, 1, 1], "area": 1 }],
            "categories": [{ "id": 4, "name": "liver", "supercategory": "organ" },
                           { "id": 9, "name": category.0, "supercategory": category.1 }],
        });
        std::fs::write(&path, json.to_string()).unwrap();
        path
    }

    #[test]
    fn ids_run_on_and_categories_of_one_name_are_one() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            dataset(root.path(), "A", ("cyst", "nodule")),
            dataset(root.path(), "B", ("artery", "vessel")),
            dataset(root.path(), "C", ("cyst", "nodule")),
        ];
        let (file, report) = merge(&files, root.path(), Categories::Union).unwrap();
        let images: Vec<_> = file
            .images
            .iter()
            .map(|i| (i.id, &*i.file_name, i.dataset.as_deref(), i.application.as_deref()))
            .collect();
        assert_eq!(
            images,
            [
                (1, "A/images/a.png", Some("A"), Some("use of A")),
                (2, "B/images/a.png", Some("B"), Some("use of B")),
                (3, "C/images/a.png", Some("C"), Some("use of C"))
            ]
        );
        let objects: Vec<_> =
            file.annotations.iter().map(|a| (a.image_id, a.category_id)).collect();
        assert_eq!(objects, [(1, 2), (2, 3), (3, 2)]);
        assert_eq!(report.categories, ["liver", "cyst", "artery"]);
        assert_eq!(report.left_out, ["licenses"]);
        assert_eq!(file.info.description.as_deref(), Some("A, B, C"));
    }

    #[test]
    fn names_of_another_system_are_those_of_the_disk_or_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = dataset(root.path(), "A", ("cyst", "nodule"));
        let image = root.path().join("A/images/a.png");
        std::fs::write(&image, "").unwrap();
        let original = std::fs::read_to_string(&file).unwrap();
        let merged = |name: &str| {
            let name = serde_json::to_string(name).unwrap();
            std::fs::write(&file, original.replace("\"a.png\"", &name)).unwrap();
            merge(std::slice::from_ref(&file), root.path(), Categories::Union)
        };
        for name in [r".\a.png", "%61.png", "A.PNG", image.to_str().unwrap()] {
            let (file, report) = merged(name).unwrap();
            assert_eq!(file.images[0].file_name, "A/images/a.png");
            assert_eq!(report.notes.len(), usize::from(!name.starts_with('/')), "{name}");
        }
        for (name, remedy) in [
            (r"D:\scans\a.png", "a.png exists: remove \"D:"),
            ("/data/local-files/?d=x/a.png", "remove \"/data/local-files/?d=x/\" from"),
            ("/elsewhere/a.png", "remove \"/elsewhere/\" from `file_name`"),
        ] {
            let error = format!("{:#}", merged(name).unwrap_err());
            assert!(error.contains("images[0]: ") && error.contains(remedy), "{error}");
        }
        assert_eq!(merged("absent.png").unwrap().0.images[0].file_name, "A/images/absent.png");
        let error = format!("{:#}", merged("/elsewhere/absent.png").unwrap_err());
        assert!(error.contains("its images are in /elsewhere"), "{error}");
    }

    #[test]
    fn conflicts_are_named() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            dataset(root.path(), "FASS", ("artery", "artery")),
            dataset(root.path(), "UBPD", ("artery", "vessel")),
        ];
        let error = format!("{:#}", merge(&files, root.path(), Categories::Union).unwrap_err());
        let conflict = "category \"artery\" has supercategory \"artery\" in FASS, supercategory \
                        \"vessel\" in UBPD";
        assert!(error.contains(conflict) && error.contains("--categories by-name"), "{error}");
        let (file, report) = merge(&files, root.path(), Categories::ByName).unwrap();
        assert_eq!(report.conflicts, [conflict]);
        assert_eq!(file.categories[1].supercategory.as_deref(), Some("artery"));
    }

    #[test]
    fn names_that_are_nearly_equal_are_reported() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            dataset(root.path(), "A", ("benign", "nodule")),
            dataset(root.path(), "B", ("Benign ", "nodule")),
            dataset(root.path(), "C", ("cyst 1", "nodule")),
            dataset(root.path(), "D", ("cyst 2", "nodule")),
        ];
        let (file, report) = merge(&files, root.path(), Categories::Union).unwrap();
        assert_eq!(file.categories.len(), 5);
        let how = "differ only in letter case, white space or punctuation";
        assert_eq!(report.similar, [format!("\"benign\" of A and \"Benign \" of B {how}")]);
    }

    #[test]
    fn an_image_twice_and_images_elsewhere_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = dataset(root.path(), "A", ("cyst", "nodule"));
        let twice = merge(&[file.clone(), file.clone()], root.path(), Categories::Union);
        let error = format!("{:#}", twice.unwrap_err());
        assert!(error.contains("images[0]: A/images/a.png is already in"), "{error}");
        let elsewhere = root.path().join("other");
        let error = merge(std::slice::from_ref(&file), &elsewhere, Categories::Union).unwrap_err();
        assert!(format!("{error:#}").contains("--root"), "{error:#}");
        std::fs::remove_dir(root.path().join("A/images")).unwrap();
        let error = merge(&[file], root.path(), Categories::Union).unwrap_err();
        assert!(format!("{error:#}").contains("A/images, and there is no such"), "{error:#}");
    }
}
