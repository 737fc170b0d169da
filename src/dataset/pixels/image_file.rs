//! An image as a user names it: a file, or a frame of one.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// An image file, or one frame of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageFile {
    pub path: PathBuf,
    /// Counted from 0.
    pub frame: Option<u32>,
}

impl ImageFile {
    #[must_use]
    pub fn new(path: &Path, frame: Option<u32>) -> Self {
        Self { path: path.to_owned(), frame }
    }

    /// The path, and for a frame its number behind a `#`: `clip.mp4#17`. No two images have the same.
    #[must_use]
    pub fn name(&self) -> PathBuf {
        let Some(frame) = self.frame else { return self.path.clone() };
        let mut name = OsString::from(&self.path);
        name.push(format!("#{frame}"));
        name.into()
    }
}

impl fmt::Display for ImageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().display().fmt(f)
    }
}
