//! Helpers shared by several test modules.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use tempfile::TempDir;

/// Folder with the reference implementation's tensors and a few real images, or `None` with the
/// reason printed, so that a clone without them reports which tests were skipped.
#[allow(dead_code)]
pub(crate) fn shared(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SONOTUNE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is missing (set SONOTUNE_SHARED)", path.display());
    None
}

/// A file that ships with the project under `tests/fixtures`.
#[allow(dead_code)]
pub(crate) fn fixture(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(relative)
}

/// A Python that imports `modules`, or `None` with the reason printed.
#[allow(dead_code)]
pub(crate) fn python(modules: &[&str]) -> Option<PathBuf> {
    let python =
        std::env::var_os("SONOTUNE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let code = format!("import {}", modules.join(", "));
    let works = std::process::Command::new(&python).args(["-c", &code]).output();
    if works.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!(
        "skipped: {} has not all of {} (set SONOTUNE_PYTHON)",
        python.display(),
        modules.join(", ")
    );
    None
}

/// Runs the program.
#[allow(dead_code)]
pub(crate) fn sonotune(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sonotune")).args(args).output().unwrap()
}

#[allow(dead_code)]
#[track_caller]
pub(crate) fn assert_success(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
}

/// Asserts that it ended with `code`, and that its message contains all `parts`.
#[allow(dead_code)]
#[track_caller]
pub(crate) fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
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
    let text = format!(
        r#"
seed = 3
device = "cpu"
run_dir = "{run}"
[dataset]
type = "coco"
root = "{root}"
train = "annotations/train.json"
val = "annotations/val.json"
[preprocess]
image_size = 64
[augment]
flip_probability = 0.5
[loader]
batch_size = 4
num_workers = 2
[backbone]
type = "sam_vit"
embed_dim = 32
depth = 2
num_heads = 2
window_size = 2
global_attn_indexes = [1]
image_size = 64
out_channels = {channels}
[task]
{task}
[optimizer]
lr = 1e-3
[train]
max_steps = 6
[logging]
every_steps = 1
"#,
        run = folder.join("run").display(),
        root = phantoms().join("phantoms").display(),
        channels = if task.contains("classification") { 0 } else { 32 },
    );
    let path = folder.join("config.toml");
    std::fs::write(&path, text).unwrap();
    let config = path.display().to_string();
    sonotune(&[&["train", &config, "--overwrite"], more].concat())
}
