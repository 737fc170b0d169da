//! `hf:ORG/NAME`: weights in the cache of the Hugging Face Hub, found by the variables its library reads.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use crate::support::{assert_fails, json};

/// A repository in the cache as `huggingface_hub` lays it out: a snapshot's file is a link to a blob.
fn repository(cache: &Path) {
    let folder = cache.join("models--org--name");
    let snapshot = folder.join("snapshots/abc123");
    for part in [&folder.join("refs"), &folder.join("blobs"), &snapshot] {
        fs::create_dir_all(part).unwrap();
    }
    fs::write(folder.join("blobs/0f"), safetensors()).unwrap();
    symlink("../../blobs/0f", snapshot.join("model.safetensors")).unwrap();
    fs::write(folder.join("refs/main"), "abc123").unwrap();
}

/// A file with one tensor of two numbers.
fn safetensors() -> Vec<u8> {
    let header = r#"{"head.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat()
}

fn inspect(weights: &str, variable: (&str, &Path)) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    command
        .args(["weights", "inspect", weights, "--json"])
        .env(variable.0, variable.1)
        .output()
        .unwrap()
}

#[test]
fn the_short_form_is_found_in_the_cache_that_the_environment_names() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join(".cache/huggingface/hub");
    repository(&cache);
    let home_of_hub = home.path().join(".cache/huggingface");
    for (name, folder, short) in [
        ("HF_HUB_CACHE", cache.as_path(), "hf:org/name@main"),
        ("HF_HOME", &home_of_hub, "hf:org/name@abc123/model.safetensors"),
        ("XDG_CACHE_HOME", &home.path().join(".cache"), "hf:org/name"),
        ("HOME", home.path(), "hf:org/name"),
    ] {
        let inspected = json(&inspect(short, (name, folder)));
        let path = inspected["path"].as_str().unwrap();
        assert!(path.ends_with("snapshots/abc123/model.safetensors"), "{name}, {short}: {path}");
    }
}

#[test]
fn what_is_not_in_the_cache_is_not_downloaded() {
    let cache = tempfile::tempdir().unwrap();
    repository(cache.path());
    for (short, command) in [
        ("hf:other/name", "`hf download other/name`"),
        ("hf:other/name@v1/a.pt", "`hf download other/name a.pt --revision v1`"),
        ("hf:org/name@v2", "`hf download org/name --revision v2`"),
        ("hf:org/name/a.pt", "`hf download org/name a.pt`"),
    ] {
        let output = inspect(short, ("HF_HUB_CACHE", cache.path()));
        assert_fails(&output, 4, &[short, "nothing is downloaded here", command]);
    }
    let output = inspect("hf:org/../../etc", ("HF_HUB_CACHE", cache.path()));
    assert_fails(&output, 4, &["expected hf:ORG/NAME"]);
}
