//! Helpers shared by several test modules.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use serde_json::Value;
use sonotune_testing::Tiny;
pub(crate) use sonotune_testing::{
    MASK2FORMER, assert_contains, assert_fails, assert_success, fixture, python, shared,
};
use tempfile::TempDir;

/// Runs the program.
pub(crate) fn sonotune(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sonotune")).args(args).output().unwrap()
}

/// Standard output of a command that succeeded.
#[track_caller]
pub(crate) fn stdout(output: &Output) -> String {
    assert_success(output);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same as JSON.
#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Trains into the folder `run`.
pub(crate) fn train(config: &Path, run: &Path, more: &[&str]) -> Output {
    let (config, run) = (config.display().to_string(), format!("run_dir={}", run.display()));
    sonotune(&[&["train", &config, &run], more].concat())
}

pub(crate) fn resume(run: &Path, more: &[&str]) -> Output {
    sonotune(&[&["train", "--resume", &run.display().to_string()], more].concat())
}

/// The record of an evaluation of a run.
#[track_caller]
pub(crate) fn eval(run: &Path, split: &str) -> Value {
    let run = run.display().to_string();
    json(&sonotune(&["eval", "--run", &run, "--split", split, "--json"]))
}

/// The bytes of a run's last checkpoint.
pub(crate) fn last(run: &Path) -> Vec<u8> {
    fs::read(run.join("checkpoints/last.safetensors")).unwrap()
}

/// Each line of `metrics.jsonl`, without times and memory.
pub(crate) fn metrics(run: &Path) -> Vec<BTreeMap<String, Value>> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut values: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        values.retain(|name, _| !name.starts_with("time/") && !name.starts_with("memory/"));
        values
    };
    text.lines().map(line).collect()
}

/// Folder with the dataset `phantoms`, 30 images of 64², that several modules share.
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

/// Copies the images and annotations of the phantoms in `from`.
pub(crate) fn copy_phantoms(from: &Path, to: &Path) {
    for part in ["annotations", "images"] {
        fs::create_dir_all(to.join(part)).unwrap();
        for entry in fs::read_dir(from.join(part)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
        }
    }
}

/// A copy of [`phantoms`] to change.
pub(crate) struct Copied(pub(crate) PathBuf);

impl Copied {
    pub(crate) fn to(root: &Path) -> Self {
        copy_phantoms(&phantoms().join("phantoms"), root);
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
        read_json(&self.file(split))
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
pub(crate) const PROMPTS: &str = "type = \"sam_prompt\"\nconvention = \"ultrasam\"\n\
                       decoder = { num_heads = 2, mlp_dim = 32 }";

/// A config of the phantoms in `root`, for commands that do not build a model.
pub(crate) fn write_config(folder: &Path, root: &Path) -> PathBuf {
    let tiny = Tiny::run(folder).without("augment").data(root);
    tiny.task("type = \"classification\"").write()
}

/// Classification with its defaults, for [`tiny_run`].
pub(crate) const CLASSIFICATION: &str = "type = \"classification\"";

/// Six steps of a tiny model on [`phantoms`]; `task` is the `[task]` table.
pub(crate) fn tiny_run(folder: &Path, task: &str, more: &[&str]) -> Output {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(task);
    let config = tiny.write().display().to_string();
    sonotune(&[&["train", &config, "--overwrite"], more].concat())
}
