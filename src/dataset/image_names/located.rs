//! The files of all images that an annotation file lists, for tools without a config.

use std::path::{Path, PathBuf};

use super::{Elsewhere, Places, resolve};

/// The files that names mean.
#[derive(Debug)]
pub struct Located {
    /// In the order of the names; one that is missing is the folder and the name.
    pub files: Vec<PathBuf>,
    /// That names are spelled differently on this disk, if some are.
    pub note: Option<String>,
    elsewhere: Option<Elsewhere>,
}

impl Located {
    /// `names`, relative to `folder`, are those of the annotation file `source`.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>, folder: &Path, source: &Path) -> Self {
        let mut files: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        let note = resolve(&mut files.iter_mut().collect::<Vec<_>>(), folder);
        let note = note.map(|note| format!("{}: {note}", source.display()));
        let (images, root) = (folder.to_owned(), folder.to_owned());
        let places = Places { images, root, source: source.to_owned(), key: None };
        let elsewhere = Elsewhere::find(files.iter().map(PathBuf::as_path), &places);
        Self { files, note, elsewhere }
    }

    /// Why the file at `path`, which is one of `files`, is missing, and what to change in the annotation file;
    /// `None` if it is there or nothing like it is.
    #[must_use]
    pub fn hint(&self, path: &Path) -> Option<String> {
        let hint = self.elsewhere.as_ref().filter(|_| !path.is_file())?.hint(path)?;
        Some(format!("there is no such file, but {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_or_the_change_that_helps_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a 1.png", "é.png"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let located =
            |names: &[&str]| Located::of(names.iter().copied(), dir.path(), Path::new("set.json"));
        let read = located(&["a%201.png", "e\u{301}.png"]);
        assert_eq!(read.files, ["a 1.png", "é.png"].map(|name| dir.path().join(name)));
        assert!(read.note.unwrap().starts_with("set.json: file names of 2 images are spelled"));
        assert_eq!(located(&["a 1.png"]).note, None);
        for (name, remedy) in [
            (r"D:\scans\a 1.png", r#"remove "D:\\scans\\" from `file_name`"#),
            ("/data/local-files/?d=scans/a%201.png", "write \"a 1.png\" as its `file_name`"),
            ("/home/other/é.png", "remove \"/home/other/\" from `file_name`"),
            ("images/é.png", "remove \"images/\" from `file_name`"),
        ] {
            let foreign = located(&[name]);
            let hint = foreign.hint(&foreign.files[0]).unwrap();
            assert!(hint.ends_with(remedy) && !hint.contains("set "), "{hint}");
        }
        let absent = located(&["b.png"]);
        assert_eq!(absent.hint(&absent.files[0]), None);
    }
}
