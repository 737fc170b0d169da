//! The config of a tiny model, with what a test changes.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// A ViT of two blocks on images of 64², six steps on the CPU.
const BASE: &str = r#"
seed = 3
device = "cpu"
[dataset]
type = "coco"
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
out_channels = 32
[optimizer]
lr = 1e-3
[train]
max_steps = 6
[logging]
every_steps = 1
"#;

/// The `[task]` table of a small Mask2Former on a ViT, for [`Tiny::task`].
pub const MASK2FORMER: &str = r#"type = "mask2former"
num_queries = 8
feat_channels = 32
num_heads = 4
neck = "simple_feature_pyramid"
pixel_decoder = { num_layers = 1, feedforward_channels = 32 }
transformer_decoder = { num_layers = 2, feedforward_channels = 32 }
training = { num_points = 64 }"#;

/// Builds a config file. Later calls win over earlier ones.
#[derive(Debug, Clone)]
pub struct Tiny {
    folder: PathBuf,
    config: Table,
}

impl Tiny {
    /// A run into `folder/run`, with the config at `folder/config.toml`.
    #[must_use]
    pub fn run(folder: &Path) -> Self {
        let run = folder.join("run").display().to_string();
        let mut config: Table = BASE.parse().expect("a table");
        config.insert("run_dir".to_owned(), Value::String(run));
        Self { folder: folder.to_owned(), config }
    }

    /// Where the dataset's `annotations` and images are.
    #[must_use]
    pub fn data(self, root: &Path) -> Self {
        self.with(&format!("[dataset]\nroot = {:?}", root.display().to_string()))
    }

    /// The `[task]` table. Classification reads the backbone's tokens, the others its neck.
    #[must_use]
    pub fn task(mut self, table: &str) -> Self {
        let task: Table = table.parse().expect("a table");
        let channels = if table.contains("classification") { 0 } else { 32 };
        self.config.insert("task".to_owned(), Value::Table(task));
        self.with(&format!("backbone.out_channels = {channels}"))
    }

    #[must_use]
    pub fn steps(self, steps: u64) -> Self {
        self.with(&format!("train.max_steps = {steps}"))
    }

    /// Changes a key: `optimizer.lr=1e-2`.
    #[must_use]
    pub fn set(self, key_and_value: &str) -> Self {
        self.with(key_and_value)
    }

    /// Lays TOML over what is there, table by table.
    #[must_use]
    pub fn with(mut self, text: &str) -> Self {
        let over = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        merge(&mut self.config, over);
        self
    }

    /// Leaves out a table of the top level.
    #[must_use]
    pub fn without(mut self, table: &str) -> Self {
        assert!(self.config.remove(table).is_some(), "no [{table}]");
        self
    }

    /// The config as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.config.to_string()
    }

    /// Writes the config; returns where.
    #[must_use]
    pub fn write(&self) -> PathBuf {
        self.write_to(&self.folder.join("config.toml"))
    }

    /// Writes the config to `path`.
    #[must_use]
    pub fn write_to(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.text()).unwrap();
        path.to_owned()
    }
}

fn merge(into: &mut Table, over: Table) {
    for (key, value) in over {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_settings_win_and_leave_the_rest() {
        let folder = Path::new("/nowhere");
        let tiny = Tiny::run(folder).task("type = \"classification\"").steps(12);
        let text = tiny.set("optimizer.lr=1e-2").set("seed=7").without("augment").text();
        let config: Table = text.parse().unwrap();
        assert_eq!(config["optimizer"]["lr"].as_float(), Some(0.01));
        assert_eq!(config["train"]["max_steps"].as_integer(), Some(12));
        assert_eq!(config["seed"].as_integer(), Some(7));
        assert_eq!(config["backbone"]["out_channels"].as_integer(), Some(0));
        assert_eq!(config["backbone"]["embed_dim"].as_integer(), Some(32));
        assert_eq!(config["run_dir"].as_str(), Some("/nowhere/run"));
        assert!(!config.contains_key("augment"));
    }
}
