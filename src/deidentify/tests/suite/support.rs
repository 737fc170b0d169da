//! A run in a folder of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dicom_object::{DefaultDicomObject, Tag, open_file};
use sonotune_base::stop::StopFlag;
use sonotune_deidentify::{Options, Report, deidentify};
use sonotune_testing::fixture;
use tempfile::TempDir;

pub(crate) const SALT: &str = "a salt of more than sixteen bytes";

/// A folder with originals, a salt, and what was written.
pub(crate) struct Folder {
    pub(crate) path: TempDir,
}

impl Folder {
    /// With copies of fixtures in `in`.
    pub(crate) fn with(names: &[&str]) -> Self {
        let path = tempfile::tempdir().unwrap();
        fs::create_dir(path.path().join("in")).unwrap();
        for name in names {
            let from = fixture("deidentify").join(name);
            fs::copy(from, path.path().join("in").join(name)).unwrap();
        }
        fs::write(path.path().join("salt"), SALT).unwrap();
        Self { path }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.path().join(name)
    }

    pub(crate) fn options(&self) -> Options {
        Options { salt: Some(self.at("salt")), ..Options::default() }
    }

    /// From `in` to `out`.
    pub(crate) fn run(&self, options: &Options) -> Report {
        self.try_run("out", options).unwrap()
    }

    pub(crate) fn try_run(&self, out: &str, options: &Options) -> anyhow::Result<Report> {
        deidentify(&self.at("in"), &self.at(out), options, &|_, _| (), &StopFlag::default())
    }
}

/// The written file of an original.
pub(crate) fn written(report: &Report, out: &Path, original: &str) -> PathBuf {
    let place = report.originals.iter().position(|path| path.ends_with(original)).unwrap();
    out.join(&report.files[place].file)
}

pub(crate) fn open(path: &Path) -> DefaultDicomObject {
    open_file(path).unwrap()
}

pub(crate) fn text(object: &dicom_object::InMemDicomObject, group: u16, element: u16) -> String {
    let element = object.get(Tag(group, element));
    element.map(|e| e.to_str().unwrap().trim().to_owned()).unwrap_or_default()
}

/// Every file below `folder`.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
