//! The demo's own folder.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::sonotune::Start;
use crate::workspace;

/// Images that the demo predicts at its end.
const NUM_PREDICTED: usize = 12;
/// A folder without it is not the demo's to empty.
const MARKER: &str = ".sonotune-demo";

/// Paths of everything that the demo makes.
#[derive(Debug)]
pub(super) struct DemoFolder(PathBuf);

impl DemoFolder {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Phantoms to pretrain on.
    pub(super) fn pretraining_data(&self) -> PathBuf {
        self.0.join("data/pretraining")
    }

    /// Phantoms of the other kind.
    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data/fine-tuning")
    }

    pub(super) fn pretrained(&self) -> PathBuf {
        self.0.join("pretrain")
    }

    pub(super) fn fine_tuned(&self, start: Start, seed: u64) -> PathBuf {
        self.0.join(format!("{start}-seed{seed}"))
    }

    pub(super) fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub(super) fn predictions(&self) -> PathBuf {
        self.0.join("predictions")
    }

    pub(super) fn results(&self) -> PathBuf {
        self.0.join("results.json")
    }

    /// # Errors
    /// When the folder is there and was not made by a demo.
    pub(super) fn ensure_ours(&self) -> Result<()> {
        let Ok(mut entries) = fs::read_dir(&self.0) else { return Ok(()) };
        ensure!(
            entries.next().is_none() || self.0.join(MARKER).is_file(),
            "{} is there and was not made by the demo; move it away, or choose another --out",
            self.0.display()
        );
        Ok(())
    }

    /// Empties it, or makes it.
    ///
    /// # Errors
    /// When it is not ours, or cannot be written.
    pub(super) fn prepare(&self) -> Result<()> {
        self.ensure_ours()?;
        if self.0.exists() {
            fs::remove_dir_all(&self.0)
                .with_context(|| format!("cannot empty {}", self.0.display()))?;
        }
        let place = || format!("cannot write {}", self.0.display());
        fs::create_dir_all(&self.0).with_context(place)?;
        fs::write(self.0.join(MARKER), "Made by `cargo xtask demo`, which may replace it.\n")
            .with_context(place)
    }

    /// Copies some images of the test split into a folder of their own, without annotations: what
    /// a user's images look like.
    ///
    /// # Errors
    /// When the test annotations are not COCO, or an image is absent.
    pub(super) fn copy_test_images(&self) -> Result<()> {
        let names = image_names(&self.data().join("annotations/test.json"))?;
        let images = self.images();
        fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
        for name in names.iter().take(NUM_PREDICTED) {
            let source = self.data().join(name);
            let flat = Path::new(name).file_name().context("an image without a name")?;
            fs::copy(&source, images.join(flat))
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
        Ok(())
    }
}

/// `file_name` of every image in a COCO file.
fn image_names(annotations: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(annotations)
        .with_context(|| format!("cannot read {}", annotations.display()))?;
    let coco: serde_json::Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is no JSON", annotations.display()))?;
    coco["images"]
        .as_array()
        .and_then(|images| {
            images.iter().map(|image| Some(image["file_name"].as_str()?.to_owned())).collect()
        })
        .with_context(|| format!("{} lists no images by file_name", annotations.display()))
}

impl fmt::Display for DemoFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: PathBuf| workspace::shown(&path);
        let run = self.fine_tuned(Start::Pretrained, 0);
        writeln!(f, "runs         {}/ (one folder each)", shown(self.0.clone()))?;
        writeln!(f, "one report   {}", shown(run.join("summary.json")))?;
        writeln!(f, "TensorBoard  tensorboard --logdir {}", shown(self.0.clone()))?;
        writeln!(f, "predictions  {}", shown(self.predictions().join("predictions.csv")))?;
        writeln!(f, "pictures     {}", shown(self.predictions().join("pictures")))?;
        write!(f, "figures      {}", shown(self.results()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demo_s_own_folder_is_emptied() {
        let home = tempfile::tempdir().unwrap();
        let folder = DemoFolder::new(home.path().join("demo"));
        folder.prepare().unwrap();
        fs::write(folder.0.join("old"), "").unwrap();
        folder.prepare().unwrap();
        assert!(!folder.0.join("old").exists());
        fs::remove_file(folder.0.join(MARKER)).unwrap();
        fs::write(folder.0.join("thesis.tex"), "").unwrap();
        assert!(folder.prepare().unwrap_err().to_string().contains("not made by the demo"));
        assert!(folder.0.join("thesis.tex").exists());
    }
}
