//! The files of the folder, by their paths with `/`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use sonotune_archive::Tree;
use sonotune_base::{Error, words::counted};
use sonotune_dataset::files::{Found, find_images};

/// What is below a folder. Hidden files and what systems leave behind are not looked at; links are followed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) folder: PathBuf,
    /// Images and DICOM files.
    pub(crate) images: Vec<String>,
    /// Everything else.
    pub(crate) others: Vec<String>,
}

impl Listing {
    /// # Errors
    /// Kind data: the folder is missing, empty or cannot be read, or a name is not Unicode or has control characters.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let Found { images, others } = find_images(folder)?;
        if images.is_empty() && others.is_empty() {
            return Err(Error::data(format!(
                "{}: is empty (hidden files are not looked at); give the folder that holds the images",
                folder.display()
            ))
            .into());
        }
        let names = |paths: Vec<PathBuf>| {
            paths.iter().map(|path| name_of(path, folder)).collect::<Result<Vec<_>>>()
        };
        let (images, others) = (names(images)?, names(others)?);
        Ok(Self { folder: folder.to_owned(), images, others })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn with_ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = &'a str> {
        let others = self.others.iter().map(String::as_str);
        others.filter(move |name| {
            name.rsplit_once('.').is_some_and(|(_, own)| own.eq_ignore_ascii_case(ending))
        })
    }

    /// Same files for the readers of raw datasets.
    pub(crate) fn tree(&self) -> Tree {
        let files = self.images.iter().map(|name| (name.clone(), self.path(name))).collect();
        Tree { files, ..Tree::default() }
    }

    /// `12 .png, 3 .csv`, for messages.
    pub(crate) fn in_words(&self) -> String {
        let mut endings: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.images.iter().chain(&self.others) {
            let file = name.rsplit('/').next().unwrap_or(name);
            let ending =
                file.rsplit_once('.').map_or("without an ending".to_owned(), |(_, ending)| {
                    format!(".{}", ending.to_lowercase())
                });
            *endings.entry(ending).or_default() += 1;
        }
        let mut endings: Vec<_> = endings.into_iter().collect();
        endings.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let shown = endings.iter().take(6).map(|(ending, count)| format!("{count} {ending}"));
        let more = endings.len().saturating_sub(6);
        let more =
            if more > 0 { format!(", {} more", counted(more, "ending")) } else { String::new() };
        shown.collect::<Vec<_>>().join(", ") + &more
    }
}

fn name_of(path: &Path, folder: &Path) -> Result<String> {
    let below = path.strip_prefix(folder).unwrap_or(path);
    let text = below.to_str().filter(|text| !text.chars().any(char::is_control));
    let slashes =
        |text: &str| if cfg!(windows) { text.replace('\\', "/") } else { text.to_owned() };
    text.map(slashes).ok_or_else(|| {
        Error::data(format!(
            "{}: a name must be Unicode without control characters such as tabs; rename it",
            path.as_os_str().as_encoded_bytes().escape_ascii()
        ))
        .into()
    })
}
