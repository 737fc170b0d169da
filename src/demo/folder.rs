//! The demo's own folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::{Error, fs::atomic_write};
use sonotune_study::StudyFiles;

/// The demo empties only folders with this file.
const MARKER: &str = ".sonotune-demo";

/// Paths of everything that the demo makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoFolder(PathBuf);

/// What is predicted at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predicted {
    /// Lesions that were clicked on.
    Clicks,
    /// Lesions in boxes.
    Boxes,
    Classes,
    Instances,
}

impl Predicted {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Boxes => "boxes",
            Self::Classes => "classes",
            Self::Instances => "instances",
        }
    }

    /// Whether the model is asked about images of the organ that it was pretrained on.
    pub(crate) fn is_prompted(self) -> bool {
        matches!(self, Self::Clicks | Self::Boxes)
    }
}

impl DemoFolder {
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> PathBuf {
        self.0.join("demo.html")
    }

    /// Every figure of the page.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.0.join("results.json")
    }

    /// What a command printed.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn pictures(&self) -> PathBuf {
        self.0.join("pictures")
    }

    /// Folder of both sets of phantoms.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(crate) fn pretraining_data(&self) -> PathBuf {
        self.data().join("pretraining")
    }

    pub(crate) fn fine_tuning_data(&self) -> PathBuf {
        self.data().join("fine-tuning")
    }

    /// A shipped config, by its path in the repository.
    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The run of a promptable model.
    pub(crate) fn pretrained(&self, seed: u64) -> PathBuf {
        self.0.join("pretrained").join(format!("seed{seed}"))
    }

    /// The file of the comparison with all seeds.
    pub(crate) fn study(&self) -> PathBuf {
        self.0.join("study.toml")
    }

    /// The file of the comparison that starts from the backbone of one seed.
    pub(crate) fn study_of(&self, seed: u64) -> PathBuf {
        self.0.join(format!("study-seed{seed}.toml"))
    }

    pub(crate) fn comparison(&self) -> StudyFiles {
        StudyFiles::of(&self.0.join("comparison"))
    }

    /// Test images, copied into a folder like a user's.
    pub(crate) fn images(&self, predicted: Predicted) -> PathBuf {
        let name = if predicted.is_prompted() { "prompted" } else { "unseen" };
        self.0.join("images").join(name)
    }

    pub(crate) fn prompts(&self, predicted: Predicted) -> PathBuf {
        self.0.join("prompts").join(format!("{}.json", predicted.name()))
    }

    pub(crate) fn predictions(&self, predicted: Predicted) -> PathBuf {
        self.0.join("predictions").join(predicted.name())
    }

    /// Checks that the folder can be emptied, without doing so.
    ///
    /// # Errors
    /// Of kind config, if it exists and was not created by a demo.
    pub fn ensure_ours(&self) -> Result<()> {
        let shown = self.0.display();
        let refused = |found: &str| -> anyhow::Error {
            Error::config(format!(
                "{shown} {found}; nothing there was touched: choose another --out, or move it away"
            ))
            .into()
        };
        match fs::read_dir(&self.0) {
            Ok(mut entries) => {
                let ours = self.0.join(MARKER).is_file();
                if entries.next().is_some() && !ours {
                    return Err(refused("exists and was not made by the demo"));
                }
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                Err(refused("is not a folder"))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
        }
    }

    /// Empties or creates it.
    ///
    /// # Errors
    /// Same errors as [`ensure_ours`](Self::ensure_ours), and those of the file system.
    pub fn prepare(&self) -> Result<()> {
        self.ensure_ours()?;
        let shown = self.0.display();
        fs::create_dir_all(&self.0).with_context(|| format!("cannot create {shown}"))?;
        // The marker first and the folder itself kept: an interruption leaves a folder that is still ours.
        let marker = "Made by `sonotune demo`, which may replace everything in this folder.\n";
        atomic_write(&self.0.join(MARKER), marker.as_bytes())?;
        let entries = fs::read_dir(&self.0).with_context(|| format!("cannot read {shown}"))?;
        for entry in entries {
            let path = entry?.path();
            if path.ends_with(MARKER) {
                continue;
            }
            let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
            let removed =
                if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demo_s_own_folder_is_emptied() {
        let home = tempfile::tempdir().unwrap();
        let folder = DemoFolder::new(&home.path().join("a/demo"));
        folder.prepare().unwrap();
        let old = folder.config("old/deep");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("file"), "").unwrap();
        folder.prepare().unwrap();
        assert!(!folder.config("old").exists());
        fs::remove_file(folder.config(MARKER)).unwrap();
        fs::write(folder.config("thesis.tex"), "").unwrap();
        let error = folder.prepare().unwrap_err().to_string();
        assert!(error.contains("not made by the demo"), "{error}");
        assert!(folder.config("thesis.tex").exists());
        let file = DemoFolder::new(&folder.config("thesis.tex"));
        let error = file.prepare().unwrap_err().to_string();
        assert!(error.contains("is not a folder"), "{error}");
    }

    #[test]
    fn a_link_in_the_folder_is_removed_and_what_it_names_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let folder = DemoFolder::new(&home.path().join("demo"));
        folder.prepare().unwrap();
        let other = home.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&other, folder.config("link")).unwrap();
        folder.prepare().unwrap();
        assert!(other.join("kept").exists() && !folder.config("link").exists());
    }
}
