//! What a user reads when a config is wrong; each text is compared in full.

mod layers;
mod mistakes;

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;
use sonotune_base::Category;
use sonotune_dataset::{Dataset, DatasetConfig, Split};
use sonotune_engine::{
    backbone::{Backbone, BackboneConfig},
    task::{Task, TaskConfig},
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pond {
    depth: u32,
    #[serde(default)]
    shore: Shore,
    #[serde(default)]
    fish: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Shore {
    length: f64,
    ends: Option<(i64, i64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct River {
    #[serde(default)]
    flow: f64,
}

/// Replaces real backbones and tasks, whose keys may change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {}

/// Its author forgot `deny_unknown_fields`.
#[derive(Debug, Serialize, Deserialize)]
struct Lenient {
    #[serde(default)]
    depth: u32,
}

macro_rules! dataset {
    ($name:literal, $type:ty) => {
        #[typetag::serde(name = $name)]
        impl DatasetConfig for $type {
            fn splits(&self) -> Vec<Split> {
                unreachable!("configs are only read here")
            }
            fn open(&self, _: Split) -> Result<Dataset> {
                unreachable!("configs are only read here")
            }
        }
    };
}
dataset!("lenient", Lenient);
dataset!("pond", Pond);
dataset!("river", River);

#[typetag::serde(name = "plain")]
impl BackboneConfig for Plain {
    fn build(&self, _: &tch::nn::Path<'_>) -> Result<Box<dyn Backbone>> {
        unreachable!("configs are only read here")
    }
}

#[typetag::serde(name = "plain")]
impl TaskConfig for Plain {
    fn build(
        &self,
        _: &tch::nn::Path<'_>,
        _: Box<dyn Backbone>,
        _: &[Category],
    ) -> Result<Box<dyn Task>> {
        unreachable!("configs are only read here")
    }
}

const MINIMAL: &str = r#"run_dir = "runs/a"

[dataset]
type = "pond"
depth = 3

[backbone]
type = "plain"

[task]
type = "plain"

[train]
max_steps = 100
"#;

/// A folder with files; its name is removed from messages.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn load(&self, name: &str, overrides: &[&str]) -> Result<Loaded> {
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
        load(&self.0.path().join(name), &overrides)
    }

    fn error(&self, name: &str, overrides: &[&str]) -> String {
        let error = self.load(name, overrides).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 2);
        self.short(&error.to_string())
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// Error of the minimal config with an addition at its end.
fn error_of(addition: &str) -> String {
    Folder::new(&[("a.toml", &format!("{MINIMAL}{addition}"))]).error("a.toml", &[])
}

/// Error of the minimal config with an override.
fn error_with(argument: &str) -> String {
    Folder::new(&[("a.toml", MINIMAL)]).error("a.toml", &[argument])
}

#[test]
fn a_range_of_scales_is_checked_against_itself_and_the_cache() {
    assert_eq!(
        error_of("[augment]\nscale_range = [2.0, 0.1]\n"),
        "a.toml:16: `augment.scale_range`: expected the smallest and the largest scale, above 0, at \
         most 8, in ascending order, got [2.0, 0.1]"
    );
    let error = error_of("[augment]\nscale_range = [0.1, 2.0]\n[embedding_cache]\ndir = \"c\"\n");
    assert!(
        error.contains("`augment.scale_range`") && error.contains("`embedding_cache`"),
        "{error}"
    );
    assert!(error_of("[augment]\nscale_range = [0.1]\n").contains("scale_range"));
}

#[test]
fn ranges_are_checked_at_their_line() {
    assert_eq!(
        error_of(
            "[loader]\nbatch_size = 0\n[augment]\nflip_probability = 1.5\n[optimizer]\nlr = nan\n"
        ),
        "3 problems in the config\n\
         a.toml:18: `augment.flip_probability`: expected a probability from 0 to 1, got 1.5\n\
         a.toml:16: `loader.batch_size`: expected at least 1, got 0\n\
         a.toml:20: `optimizer.lr`: expected a number above 0, got NaN"
    );
    let late = "[schedule]\ntype = \"multistep\"\nmilestones = [50, 100]\n";
    let folder = Folder::new(&[("a.toml", &format!("{MINIMAL}{late}"))]);
    let loaded = folder.load("a.toml", &[]).unwrap();
    assert_eq!(
        folder.short(&loaded.warnings[0].to_string()),
        "a.toml:17: `schedule.milestones`: 100 is never reached: the run ends at step 100"
    );
}

#[test]
fn the_resolved_config_loads_to_itself() {
    let addition = "[schedule]\ntype = \"poly\"\nwarmup = { steps = 5 }\n\
                    [[optimizer.groups]]\nname = \"a\"\npattern = \"a.*\"\n\
                    [[optimizer.groups]]\nname = \"b\"\npattern = \"b\"\nfreeze = true\n\
                    [dataset.shore]\nends = [1, 2]\n";
    let folder = Folder::new(&[("a.toml", &format!("seed = 9\n{MINIMAL}{addition}"))]);
    let first = folder.load("a.toml", &["optimizer.lr=1.2345678901234567e-7"]).unwrap();
    fs::write(folder.0.path().join("b.toml"), &first.resolved).unwrap();
    let second = folder.load("b.toml", &[]).unwrap();
    assert_eq!(first.resolved, second.resolved);
    assert_eq!(second.config.optimizer, first.config.optimizer);
    assert_eq!(second.config.schedule, first.config.schedule);
}

#[test]
fn origins_stand_behind_their_values() {
    let folder = Folder::new(&[("a.toml", MINIMAL)]);
    let loaded = folder.load("a.toml", &["loader.batch_size=2"]).unwrap();
    let text = folder.short(&loaded.with_origins());
    let line = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start)).unwrap();
        line.split_once("  # ").unwrap().1.to_owned()
    };
    assert_eq!(line("depth ="), "a.toml:5");
    assert_eq!(line("batch_size ="), "override 1 (`loader.batch_size=2`)");
    assert_eq!(line("seed ="), "default");
    let origins = loaded.origins();
    assert_eq!(origins.len(), text.lines().filter(|line| line.contains("  # ")).count());
    assert!(origins.contains(&("optimizer.lr".into(), "default".into())));
}

#[test]
fn keys_are_listed_from_the_types() {
    let keys = known_keys();
    let find = |path: &str, only: Option<&str>| {
        let found = keys.iter().find(|k| k.path == path && k.only_for_type.as_deref() == only);
        found.unwrap_or_else(|| panic!("{path} is not listed")).value.clone()
    };
    assert_eq!(find("optimizer.lr", None), "a number");
    assert_eq!(find("device", None), "\"auto\", \"cpu\", \"cuda\" or a device such as \"cuda:1\"");
    assert_eq!(find("optimizer.groups.*.freeze", None), "true or false");
    assert_eq!(find("optimizer.betas", None), "an array of 2");
    assert_eq!(find("dataset.shore.length", Some("pond")), "a number");
    assert_eq!(find("dataset.fish", Some("pond")), "an array, each a string");
    assert_eq!(find("dataset.flow", Some("river")), "a number");
    assert_eq!(
        find("schedule.milestones", Some("multistep")),
        "an array, each a whole number of at least 0"
    );
    assert_eq!(find("schedule.warmup.steps", Some("poly")), "a whole number of at least 0");
    assert_eq!(find("weights.path", None), "a path (a string)");
}

#[test]
fn linked_in_types_are_listed() {
    let all = registered().unwrap();
    let has = |table: &str, name: &str| all.iter().any(|r| r.table == table && r.name == name);
    assert!(has("dataset", "pond") && has("dataset", "river"));
    assert!(has("backbone", "plain") && has("task", "plain"));
}
