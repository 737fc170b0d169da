//! A run that is over within seconds: a ViT of four blocks on phantoms of 128².

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

const CONFIG: &str = r#"
run_dir = "run"
device = "cpu"
[dataset]
type = "coco"
root = "phantoms"
train = "annotations/train.json"
val = "annotations/val.json"
[preprocess]
image_size = 128
[loader]
batch_size = 4
[backbone]
type = "sam_vit"
embed_dim = 64
depth = 4
num_heads = 2
window_size = 7
global_attn_indexes = [1, 3]
image_size = 128
out_channels = 0
[task]
type = "classification"
[train]
max_steps = 1
"#;

/// Writes its config, `tiny.toml`, and its phantoms into `home`.
pub(crate) fn make(home: &Path) -> Result<()> {
    fs::write(home.join("tiny.toml"), CONFIG).context("writing the config")?;
    let mut phantoms = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    phantoms.args(["data", "phantom", "phantoms", "--num-images=24", "--image-size=128"]);
    let made = phantoms.current_dir(home).output().context("starting sonotune")?;
    ensure!(made.status.success(), "`sonotune data phantom` failed");
    Ok(())
}
