//! Helpers shared by several test modules.

use std::{
    path::Path,
    process::{Command, Output},
    sync::OnceLock,
};

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

/// Six steps of a tiny model on [`phantoms`]; `task` is the `[task]` table.
#[allow(dead_code)]
pub(crate) fn tiny_run(folder: &Path, task: &str, more: &[&str]) -> Output {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(task);
    let config = tiny.write().display().to_string();
    sonotune(&[&["train", &config, "--overwrite"], more].concat())
}
