//! The demo's own folder.

use std::{
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::sonotune::{Start, Task};
use crate::workspace;

/// Images that the demo predicts at its end.
const NUM_PREDICTED: usize = 12;
/// The demo empties only folders with this file.
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

    pub(super) fn prompted(&self, seed: u64) -> PathBuf {
        self.0.join(format!("prompt-seed{seed}"))
    }

    pub(super) fn fine_tuned(&self, task: Task, start: Start, seed: u64) -> PathBuf {
        self.0.join(format!("{task}-{start}-seed{seed}"))
    }

    pub(super) fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub(super) fn predictions(&self, task: Task) -> PathBuf {
        self.0.join(format!("{task}-predictions"))
    }

    pub(super) fn prompted_images(&self) -> PathBuf {
        self.0.join("prompted-images")
    }

    /// Boxes around the lesions of [`prompted_images`](Self::prompted_images).
    pub(super) fn prompts(&self) -> PathBuf {
        self.0.join("prompts.csv")
    }

    pub(super) fn mask_predictions(&self) -> PathBuf {
        self.0.join("prompted-predictions")
    }

    pub(super) fn results(&self) -> PathBuf {
        self.0.join("results.json")
    }

    /// # Errors
    /// If the folder exists and was not created by a demo.
    pub(super) fn ensure_ours(&self) -> Result<()> {
        let Ok(mut entries) = fs::read_dir(&self.0) else { return Ok(()) };
        ensure!(
            entries.next().is_none() || self.0.join(MARKER).is_file(),
            "{} exists and was not created by the demo; move it away, or choose another --out",
            self.0.display()
        );
        Ok(())
    }

    /// Empties or creates it.
    ///
    /// # Errors
    /// If it is not ours, or cannot be written.
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

    /// Copies some images of both test splits into separate folders, like a user's images: without
    /// annotations, and with boxes in a prompt file.
    ///
    /// # Errors
    /// If the test annotations are not COCO, or an image is missing.
    pub(super) fn copy_test_images(&self) -> Result<()> {
        copy_images(&self.data(), &TestSet::read(&self.data())?, &self.images())?;
        let prompted = TestSet::read(&self.pretraining_data())?;
        copy_images(&self.pretraining_data(), &prompted, &self.prompted_images())?;
        let mut text = "image,name,x0,y0,x1,y1\n".to_owned();
        for (name, boxes) in prompted.0.iter().take(NUM_PREDICTED) {
            for (i, [x, y, width, height]) in boxes.iter().enumerate() {
                let (x1, y1) = (x + width, y + height);
                let _ = writeln!(text, "{},lesion {},{x},{y},{x1},{y1}", flat(name)?, i + 1);
            }
        }
        let prompts = self.prompts();
        fs::write(&prompts, text).with_context(|| format!("cannot write {}", prompts.display()))
    }
}

/// Copies the first images of a test split.
fn copy_images(data: &Path, test: &TestSet, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for (name, _) in test.0.iter().take(NUM_PREDICTED) {
        let source = data.join(name);
        fs::copy(&source, to.join(flat(name)?))
            .with_context(|| format!("cannot copy {}", source.display()))?;
    }
    Ok(())
}

fn flat(name: &str) -> Result<&str> {
    name.rsplit('/').next().context("an image without a name")
}

/// `file_name` of every image of a test split, with its boxes (XYWH).
struct TestSet(Vec<(String, Vec<[f64; 4]>)>);

impl TestSet {
    fn read(data: &Path) -> Result<Self> {
        let path = data.join("annotations/test.json");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let coco: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is not JSON", path.display()))?;
        Self::of(&coco).with_context(|| format!("{} is not a COCO file", path.display()))
    }

    fn of(coco: &serde_json::Value) -> Option<Self> {
        let annotations = coco["annotations"].as_array()?;
        let image = |image: &serde_json::Value| {
            let of_image = annotations.iter().filter(|a| a["image_id"] == image["id"]);
            let boxes = of_image.map(|a| {
                let side = |i: usize| a["bbox"].get(i)?.as_f64();
                Some([side(0)?, side(1)?, side(2)?, side(3)?])
            });
            Some((image["file_name"].as_str()?.to_owned(), boxes.collect::<Option<_>>()?))
        };
        coco["images"].as_array()?.iter().map(image).collect::<Option<_>>().map(Self)
    }
}

impl fmt::Display for DemoFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: PathBuf| workspace::shown(&path);
        let run = self.prompted(0);
        writeln!(f, "runs         {}/ (one folder each)", shown(self.0.clone()))?;
        writeln!(f, "one report   {}", shown(run.join("summary.json")))?;
        writeln!(f, "TensorBoard  tensorboard --logdir {}", shown(self.0.clone()))?;
        let classes = self.predictions(Task::Classification);
        writeln!(f, "predictions  {}", shown(classes.join("predictions.csv")))?;
        writeln!(
            f,
            "objects      {}",
            shown(self.predictions(Task::Mask2Former).join("pictures"))
        )?;
        writeln!(f, "masks        {}", shown(self.mask_predictions().join("pictures")))?;
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
        assert!(folder.prepare().unwrap_err().to_string().contains("not created by the demo"));
        assert!(folder.0.join("thesis.tex").exists());
    }
}
