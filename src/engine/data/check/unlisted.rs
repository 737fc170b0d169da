//! Files next to those of the dataset.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Component, Path, PathBuf},
};

use super::{
    audit::Audit,
    code::Code,
    finding::{Findings, Place},
};
use crate::data::{Split, files::is_image};

/// Reports images in the folders of listed ones that no split lists. Folders without any listed
/// image are not searched: they may hold other datasets.
pub(super) fn check(audits: &[(Split, Audit)], across: &mut Findings) {
    let mut listed = HashSet::new();
    let mut folders = BTreeSet::new();
    for (_, audit) in audits {
        let paths = audit.images.iter().map(|image| &image.path).chain(&audit.left_out);
        for path in paths {
            listed.insert(tidy(path));
            let outside = audit.root.as_ref().is_some_and(|root| path_leaves(path, root));
            if let Some(folder) = path.parent().filter(|_| !outside) {
                folders.insert(tidy(folder));
            }
        }
    }
    for folder in folders {
        let listed_as = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        // The images of a missing folder are reported as missing.
        let Ok(entries) = std::fs::read_dir(listed_as) else { continue };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| folder.join(entry.file_name())))
            .filter(|path| is_image(path) && !is_hidden(path) && !listed.contains(path))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        for path in files {
            let place = Place { image: Some(path), ..Place::default() };
            across.add(Code::UnlistedImage, place, "no split lists it");
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a path leads out of a folder, judged by its text alone (links are not followed).
pub(in crate::data) fn path_leaves(path: &Path, folder: &Path) -> bool {
    let (path, folder) = (tidy(path), tidy(folder));
    let leads_up = folder.as_os_str().is_empty()
        && matches!(path.components().next(), Some(Component::ParentDir | Component::RootDir));
    leads_up || !path.starts_with(&folder)
}

/// A path without `.` and with `..` resolved.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(tidy.components().next_back(), Some(Component::Normal(_))) =>
            {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_are_told_from_those_that_turn_round() {
        let leaves = |path: &str, folder: &str| path_leaves(Path::new(path), Path::new(folder));
        assert!(!leaves("data/set/images/1.png", "data/set"));
        assert!(!leaves("data/set/images/../masks/1.png", "data/set/"));
        assert!(leaves("data/set/../1.png", "data/set"));
        assert!(leaves("/data/1.png", "data/set"));
        assert!(leaves("data/setting/1.png", "data/set"));
        assert!(!leaves("./images/1.png", "") && !leaves("images/1.png", "."));
        assert!(leaves("../1.png", "") && leaves("/1.png", ""));
        assert!(!leaves("../other/1.png", "../other"));
        assert!(leaves("../../1.png", "../other"));
    }
}
