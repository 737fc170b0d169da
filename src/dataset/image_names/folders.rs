//! Folders whose names are compared as other systems compare them.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

use unicode_normalization::UnicodeNormalization;

/// Folders that were listed, each once.
#[derive(Debug, Default)]
pub(super) struct Folders(HashMap<PathBuf, HashMap<String, Vec<OsString>>>);

impl Folders {
    /// The file that `name` means below `folder`, on a system that tells neither upper from lower case nor
    /// a composed from a decomposed letter. `None` if there is none, or several.
    pub(super) fn find(&mut self, folder: &Path, name: &str) -> Option<PathBuf> {
        let mut found = vec![folder.to_owned()];
        for part in Path::new(name).components() {
            found = match part {
                Component::CurDir => found,
                Component::Normal(part) => {
                    let part = part.to_string_lossy();
                    found.iter().flat_map(|folder| self.named(folder, &part)).collect()
                }
                _ => found.into_iter().map(|folder| folder.join(part)).collect(),
            };
        }
        found.retain(|path| path.is_file());
        found.pop().filter(|_| found.is_empty())
    }

    /// The entry of that exact name, else those that are equal but for case and Unicode form.
    fn named(&mut self, folder: &Path, name: &str) -> Vec<PathBuf> {
        let exact = folder.join(name);
        if exact.exists() {
            return vec![exact];
        }
        let entries = self.0.entry(folder.to_owned()).or_insert_with(|| listed(folder));
        let alike = entries.get(&folded(name)).into_iter().flatten();
        alike.map(|entry| folder.join(entry)).collect()
    }
}

fn listed(folder: &Path) -> HashMap<String, Vec<OsString>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut names: HashMap<String, Vec<OsString>> = HashMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        names.entry(folded(&name.to_string_lossy())).or_default().push(name);
    }
    names
}

/// Lower case, composed.
pub(super) fn folded(name: &str) -> String {
    name.nfc().flat_map(char::to_lowercase).collect()
}
