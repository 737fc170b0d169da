//! Helpers shared by several test modules.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use serde_json::Value;
use sonotune_testing::Tiny;
#[allow(unused_imports)]
pub(crate) use sonotune_testing::{assert_fails, assert_success, fixture, python, shared};
use tempfile::TempDir;

/// Runs the program.
#[allow(dead_code)]
pub(crate) fn sonotune(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sonotune")).args(args).output().unwrap()
}

/// Folder with the dataset `phantoms`, 30 images of 64², that several modules share.
#[allow(dead_code)]
pub(crate) fn phantoms() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("phantoms").display().to_string();
            let args = ["data", "phantom", &out, "--num-images", "30", "--image-size", "64"];
            assert_success(&sonotune(&args));
            folder
        })
        .path()
}

/// A copy of [`phantoms`] to change.
pub(crate) struct Copied(pub(crate) PathBuf);

impl Copied {
    pub(crate) fn to(root: &Path) -> Self {
        let from = phantoms().join("phantoms");
        for part in ["annotations", "images"] {
            fs::create_dir_all(root.join(part)).unwrap();
            for entry in fs::read_dir(from.join(part)).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, root.join(part).join(path.file_name().unwrap())).unwrap();
            }
        }
        Self(root.to_owned())
    }

    /// The override that makes a run use it.
    pub(crate) fn root(&self) -> String {
        format!("dataset.root={}", self.0.display())
    }

    pub(crate) fn file(&self, split: &str) -> PathBuf {
        self.0.join(format!("annotations/{split}.json"))
    }

    pub(crate) fn annotations(&self, split: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(split)).unwrap()).unwrap()
    }

    /// The file of an image of a split.
    pub(crate) fn image(&self, split: &str, index: usize) -> PathBuf {
        let annotations = self.annotations(split);
        let name = annotations["images"][index]["file_name"].as_str().unwrap();
        let places = [self.0.join("images").join(name), self.0.join(name)];
        places.into_iter().find(|path| path.exists()).unwrap()
    }

    /// Changes the annotation file of a split.
    pub(crate) fn edit(&self, split: &str, change: impl FnOnce(&mut Value)) {
        let mut annotations = self.annotations(split);
        change(&mut annotations);
        fs::write(self.file(split), annotations.to_string()).unwrap();
    }

    /// Changes every object of a split.
    pub(crate) fn edit_objects(&self, split: &str, change: impl Fn(&mut Value)) {
        self.edit(split, |file| {
            file["annotations"].as_array_mut().unwrap().iter_mut().for_each(change);
        });
    }
}

/// The promptable task, small, for [`tiny_run`].
#[allow(dead_code)]
pub(crate) const PROMPTS: &str = "type = \"sam_prompt\"\nconvention = \"ultrasam\"\n\
                       decoder = { num_heads = 2, mlp_dim = 32 }";

/// The rest of a config besides its dataset, for commands that do not build a model.
#[allow(dead_code)]
pub(crate) const TINY_MODEL: &str = r#"
[preprocess]
image_size = 64
[backbone]
type = "sam_vit"
embed_dim = 32
depth = 2
num_heads = 2
window_size = 2
global_attn_indexes = [1]
image_size = 64
out_channels = 0
[task]
type = "classification"
[optimizer]
lr = 1e-3
[train]
max_steps = 6
"#;

/// Other tasks, small.
#[allow(dead_code)]
pub(crate) const CLASSIFICATION: &str = "type = \"classification\"";
#[allow(dead_code)]
pub(crate) const MASK2FORMER: &str = "type = \"mask2former\"\nnum_queries = 4\nfeat_channels = 32\nnum_heads = 4\n\
    neck = \"simple_feature_pyramid\"\n\
                       pixel_decoder = { num_layers = 1, feedforward_channels = 32 }\n\
                       transformer_decoder = { num_layers = 1, feedforward_channels = 32 }\n\
                       training = { num_points = 32 }";

/// Six steps of a tiny model on [`phantoms`]; `task` is the `[task]` table.
#[allow(dead_code)]
pub(crate) fn tiny_run(folder: &Path, task: &str, more: &[&str]) -> Output {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(task);
    let config = tiny.write().display().to_string();
    sonotune(&[&["train", &config, "--overwrite"], more].concat())
}
