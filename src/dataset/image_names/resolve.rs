//! Names as another system spells them, read if they have one meaning.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::folders::Folders;

/// Files whose presence tells whether the names are those of this disk.
const SAMPLE: usize = 8;

/// Replaces the path of an image that has no file by that of the only file that its name can mean: with `/`
/// for `\`, without percent-encoding, in another case or Unicode form. Names are relative to `folder`. Returns a
/// note if there are any.
///
/// A path that another image has, or that two names mean, is not taken. Only names that look foreign are looked
/// up, unless it helps one of the first few: on a network disk each takes time.
pub fn resolve(paths: &mut [&mut PathBuf], folder: &Path) -> Option<String> {
    let mut folders = Folders::default();
    let mut meant = |path: &Path| {
        let name = path.strip_prefix(folder).unwrap_or(path).to_str()?;
        if path.is_file() { None } else { meant(&mut folders, folder, name) }
    };
    let all = paths.iter().take(SAMPLE).any(|path| meant(path).is_some());
    let mut found: HashMap<PathBuf, Vec<usize>> = HashMap::new();
    for (i, path) in paths.iter().enumerate().filter(|(_, path)| all || is_foreign(path, folder)) {
        if let Some(file) = meant(path) {
            found.entry(file).or_default().push(i);
        }
    }
    if found.is_empty() {
        return None;
    }
    let listed: HashSet<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    found.retain(|file, names| names.len() == 1 && !listed.contains(file));
    let count = found.len();
    let first = found.iter().min_by_key(|(_, names)| names[0])?;
    let example = format!("{} is read as {}", paths[first.1[0]].display(), first.0.display());
    for (file, names) in found {
        *paths[names[0]] = file;
    }
    Some(format!("file names of {count} images are spelled differently on this disk: {example}"))
}

fn is_foreign(path: &Path, folder: &Path) -> bool {
    let name = path.strip_prefix(folder).unwrap_or(path).as_os_str().as_encoded_bytes();
    !name.is_ascii() || name.contains(&b'\\') || name.contains(&b'%')
}

/// The only file that `name` can mean below `folder`.
fn meant(folders: &mut Folders, folder: &Path, name: &str) -> Option<PathBuf> {
    let mut spellings = vec![name.to_owned()];
    spellings.extend(percent_decoded(name));
    if !has_drive(name) {
        let slashes: Vec<String> = spellings.iter().map(|name| name.replace('\\', "/")).collect();
        spellings.extend(slashes);
    }
    spellings.sort_unstable();
    spellings.dedup();
    let mut files: Vec<PathBuf> = spellings
        .iter()
        .filter(|name| !name.starts_with('/'))
        .filter_map(|name| folders.find(folder, name))
        .collect();
    files.sort_unstable();
    files.dedup();
    files.pop().filter(|_| files.is_empty())
}

/// Whether it begins with a drive (`D:`) or a server (`\\`) of Windows.
fn has_drive(name: &str) -> bool {
    name.starts_with("\\\\") || name.as_bytes().get(1) == Some(&b':')
}

/// With `%20` as a blank; `None` if there is nothing to decode.
pub(super) fn percent_decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok().filter(|decoded| decoded != name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths that `names` lead to in a folder that has `files`, relative to it.
    fn read(files: &[&str], names: &[&str]) -> (Vec<String>, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let mut paths: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
        let note = resolve(&mut paths.iter_mut().collect::<Vec<_>>(), dir.path());
        let relative = |path: &PathBuf| {
            path.strip_prefix(dir.path()).unwrap_or(path).to_str().unwrap().to_owned()
        };
        (paths.iter().map(relative).collect(), note)
    }

    #[test]
    fn a_name_of_another_system_is_read() {
        for (file, name) in [
            ("images/000.png", r"images\000.png"),
            ("images/000.png", r".\images\000.png"),
            ("images/a 0.png", "images/a%200.png"),
            ("images/a 0.png", r"images\a%200.png"),
            ("images/ü.png", "images/%C3%BC.png"),
            ("000.png", "000.PNG"),
            ("Images/Scan.png", "images/scan.png"),
            // Composed and decomposed.
            ("\u{e9}.png", "e\u{301}.png"),
            ("e\u{301}/1.png", "\u{c9}/1.png"),
            // Literally of that name.
            (r"images\000.png", r"images\000.png"),
            ("a%20.png", "a%20.png"),
        ] {
            let (paths, note) = read(&[file], &[name]);
            assert_eq!(paths, [file], "{name}");
            assert_eq!(note.is_some(), file != name);
        }
        let (_, note) = read(&["a b.png", "c d.png"], &["a%20b.png", "c%20d.png"]);
        let note = note.unwrap();
        assert!(note.starts_with("file names of 2 images are spelled differently on this disk: "));
        assert!(note.contains("a%20b.png is read as ") && note.ends_with("a b.png"), "{note}");
    }

    #[test]
    fn a_name_of_two_meanings_is_not() {
        for (files, names) in [
            // Two files.
            (&["a.png", "A.png"][..], &["a.PNG"][..]),
            (&["a b.png", "A%20b.png"], &["a%20b.png"]),
            // A file that has its own entry, or two names.
            (&["a.png"], &["a.png", "A.png"]),
            (&["a.png"], &["A.png", "a.PNG"]),
            // Not below the folder.
            (&["scans/a.png"], &[r"D:\scans\a.png"]),
            (&["scans/a.png"], &[r"\\server\scans\a.png"]),
            (&["scans/a.png"], &["/scans/a.png"]),
        ] {
            let (paths, note) = read(files, names);
            assert_eq!((paths.as_slice(), note), (names.map_owned().as_slice(), None));
        }
    }

    trait Owned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl Owned for [&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn only_whole_codes_are_decoded() {
        assert_eq!(percent_decoded("a%20b%2Fc").as_deref(), Some("a b/c"));
        for name in ["50%", "a%2", "a%zz", "%e9.png", "plain", "a%é"] {
            assert_eq!(percent_decoded(name), None, "{name}");
        }
        assert_eq!(percent_decoded("100%%20").as_deref(), Some("100% "));
    }
}
