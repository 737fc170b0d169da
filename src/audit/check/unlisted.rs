//! Files next to those of the dataset.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use sonotune_dataset::findings::{Audit, Code, Findings, Place};
use sonotune_dataset::{
    Split,
    files::{is_clutter, is_image},
    findings::{path_leaves, tidy},
};

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
            .filter(|path| is_image(path) && !is_clutter(path) && !listed.contains(path))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        for path in files {
            let place = Place { image: Some(path), ..Place::default() };
            across.add(Code::UnlistedImage, place, "no split lists it");
        }
    }
}
