//! Checkpoints that upstream's Python packages write, and models of their sizes.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::{Value, json};
use sonotune_testing::python;
use sonotune_weights::WeightsConfig;

/// Writes upstream's checkpoints once for all tests, if the Python packages are there.
pub fn upstream() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let packages =
            ["torch", "torchvision", "segment_anything", "transformers", "mmengine", "safetensors"];
        let python = python(&packages)?;
        let folder = tempfile::tempdir().unwrap();
        let script = sonotune_testing::root().join("scripts/upstream_checkpoints.py");
        let mut command = Command::new(python);
        command.arg(script).arg(folder.path());
        if !published_sizes() {
            command.arg("--tiny");
        }
        run(&mut command);
        Some(folder)
    });
    folder.as_ref().map(tempfile::TempDir::path)
}

/// Whether to use ViT-B at 1024 and ResNet-50 (gigabytes, a minute) instead of tiny models:
/// `SONOTUNE_PUBLISHED_SIZES=1 cargo test --release -p sonotune-engine --test suite weights_upstream::parity`.
pub fn published_sizes() -> bool {
    std::env::var_os("SONOTUNE_PUBLISHED_SIZES").is_some()
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn config(path: PathBuf, allow_missing: &[&str]) -> WeightsConfig {
    WeightsConfig {
        path,
        state_dict: None,
        convention: None,
        overlay: None,
        ignore: Vec::new(),
        allow_missing: allow_missing.iter().map(|pattern| (*pattern).to_owned()).collect(),
        allow_unexpected: Vec::new(),
        allow_misshapen: Vec::new(),
        parts: Vec::new(),
    }
}

pub fn vit(extra: Value) -> Value {
    let mut config = if published_sizes() {
        json!({ "type": "sam_vit", "arch": "base" })
    } else {
        json!({
            "type": "sam_vit", "embed_dim": 64, "depth": 4, "num_heads": 2, "image_size": 128,
            "window_size": 7, "global_attn_indexes": [1, 3],
        })
    };
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    config
}
