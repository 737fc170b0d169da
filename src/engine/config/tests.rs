//! What a user reads when a config is wrong; each text is compared whole.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;
use crate::{
    backbone::{Backbone, BackboneConfig},
    data::{Category, Dataset, DatasetConfig, Split},
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

/// Stands in for backbones and tasks, which cannot be relied upon to keep their keys.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {}

#[typetag::serde(name = "pond")]
impl DatasetConfig for Pond {
    fn splits(&self) -> Vec<Split> {
        unreachable!("configs are only read here")
    }
    fn open(&self, _: Split) -> Result<Dataset> {
        unreachable!("configs are only read here")
    }
}

#[typetag::serde(name = "river")]
impl DatasetConfig for River {
    fn splits(&self) -> Vec<Split> {
        unreachable!("configs are only read here")
    }
    fn open(&self, _: Split) -> Result<Dataset> {
        unreachable!("configs are only read here")
    }
}

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

/// A folder with files; messages have its name taken out.
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
        assert_eq!(crate::error::exit_code(&error), 2);
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
fn unknown_keys_name_their_line_and_a_near_one() {
    assert_eq!(
        error_of("[optimizer]\nlr = 1e-3\nweight_decy = 0.1\n"),
        "a.toml:17: unknown key `optimizer.weight_decy`; did you mean `weight_decay`?\n    \
         keys of [optimizer]: type, lr, weight_decay, betas, eps, momentum, nesterov, groups"
    );
    let top = Folder::new(&[("a.toml", &format!("sed = 1\n{MINIMAL}"))]).error("a.toml", &[]);
    assert!(top.starts_with("a.toml:1: unknown key `sed`; did you mean `seed`?\n"), "{top}");
}

#[test]
fn unknown_keys_inside_tagged_tables_name_their_line() {
    assert_eq!(
        error_of("[dataset.shore]\nlenght = 1\n"),
        "a.toml:16: unknown key `dataset.shore.lenght`; did you mean `length`?\n    \
         keys of [dataset.shore]: length, ends"
    );
    assert_eq!(
        Folder::new(&[("a.toml", &MINIMAL.replace("depth = 3", "depth = 3\ndeep = 4"))])
            .error("a.toml", &[]),
        "a.toml:6: unknown key `dataset.deep`; did you mean `depth`?\n    \
         keys of [dataset] with type = \"pond\": type, depth, shore, fish"
    );
    assert_eq!(
        error_of("[schedule]\ntype = \"multistep\"\nmilestones = [50]\nwarmup = { stesp = 5 }\n"),
        "a.toml:18: unknown key `schedule.warmup.stesp`; did you mean `steps`?\n    \
         keys of [schedule.warmup]: steps, start_factor"
    );
    assert_eq!(
        error_of("[schedule]\ntype = \"multistep\"\nmilestone = [50]\n"),
        "2 problems in the config\n\
         a.toml:17: unknown key `schedule.milestone`; did you mean `milestones`?\n    \
         keys of [schedule] with type = \"multistep\": type, milestones, gamma, warmup\n\
         a.toml:15: missing key `milestones` in [schedule]"
    );
}

#[test]
fn a_key_of_another_table_says_where_it_belongs() {
    assert_eq!(
        error_of("seed = 3\n").lines().nth(1).unwrap().trim(),
        "`seed` is a top-level key: it must stand above the first [table]"
    );
    assert_eq!(
        error_of("batch_size = 3\n").lines().nth(1).unwrap().trim(),
        "there is `loader.batch_size`, `evaluation.batch_size`"
    );
}

#[test]
fn all_unknown_and_mistyped_keys_are_named_at_once() {
    assert_eq!(
        error_of("[optimizer]\nlr = \"high\"\n[loader]\nbatchsize = 1\nnum_workers = -1\n"),
        "3 problems in the config\n\
         a.toml:16: `optimizer.lr`: expected a number, got the string \"high\"\n\
         a.toml:18: unknown key `loader.batchsize`; did you mean `batch_size`?\n    \
         keys of [loader]: batch_size, num_workers, prefetch_batches, shuffle\n\
         a.toml:19: `loader.num_workers`: expected a whole number of at least 0, got the whole \
         number -1"
    );
}

#[test]
fn wrong_types_name_key_expected_and_got() {
    let of = |addition| error_of(addition);
    assert_eq!(
        of("[optimizer]\nbetas = [0.9]\n"),
        "a.toml:16: `optimizer.betas`: expected an array of 2, got an array of 1"
    );
    assert_eq!(
        of("[optimizer]\nbetas = [0.9, 0.99, 0.999]\n"),
        "a.toml:16: `optimizer.betas`: expected an array of 2, got an array of 3"
    );
    assert_eq!(
        of("[optimizer]\nbetas = [0.9, true]\n"),
        "a.toml:16: `optimizer.betas.1`: expected a number, got true"
    );
    assert_eq!(
        of("[loader]\nbatch_size = 2.5\n"),
        "a.toml:16: `loader.batch_size`: expected a whole number of at least 0, got the number 2.5"
    );
    assert_eq!(
        of("[evaluation]\nbest_is = \"high\"\n"),
        "a.toml:16: `evaluation.best_is`: expected \"highest\" or \"lowest\", got \"high\"; did you \
         mean \"highest\"?"
    );
    assert_eq!(
        of("[evaluation]\nbest_is = 3\n"),
        "a.toml:16: `evaluation.best_is`: expected \"highest\" or \"lowest\", got the whole number 3"
    );
    assert_eq!(
        of("[[optimizer]]\nlr = 1\n"),
        "a.toml:15: `optimizer`: expected a table, got an array of 1"
    );
    assert_eq!(
        of("[logging]\nnum_images = 2026-01-01\n"),
        "a.toml:16: `logging.num_images`: expected a whole number of at least 0, got the date \
         2026-01-01"
    );
}

#[test]
fn wrong_types_inside_buffered_tables_name_their_line() {
    assert_eq!(
        error_of(
            "[schedule]\ntype = \"multistep\"\nmilestones = [\n  50,\n  \"x\",\n]\ngamma = 0.1\n"
        ),
        "a.toml:19: `schedule.milestones.1`: expected a whole number of at least 0, got the string \
         \"x\""
    );
    // Both are the string "x", and only the second is wrong for its key.
    assert_eq!(
        error_of(
            "[dataset.shore]\nlength = 1\n[schedule]\ntype = \"cosine\"\nend_factor = \"x\"\n"
        ),
        "a.toml:19: `schedule.end_factor`: expected a number, got the string \"x\""
    );
    assert_eq!(
        error_of(
            "[schedule]\ntype = \"poly\"\npower = 1\nwarmup = { steps = 1, start_factor = [] }"
        ),
        "a.toml:18: `schedule.warmup.start_factor`: expected a number, got an array of 0"
    );
}

#[test]
fn missing_keys_name_their_table_and_its_line() {
    let without =
        |line: &str| Folder::new(&[("a.toml", &MINIMAL.replace(line, ""))]).error("a.toml", &[]);
    assert_eq!(without("run_dir = \"runs/a\"\n"), "a.toml:1: missing key `run_dir`");
    assert_eq!(without("depth = 3\n"), "a.toml:3: missing key `depth` in [dataset]");
    assert_eq!(without("max_steps = 100\n"), "a.toml:13: missing key `max_steps` in [train]");
    assert_eq!(without("[train]\nmax_steps = 100\n"), "a.toml:1: missing table `[train]`");
    assert_eq!(without("[task]\ntype = \"plain\"\n"), "a.toml:1: missing table `[task]`");
    assert_eq!(
        error_of("[schedule]\ntpye = \"cosine\"\n"),
        "a.toml:15: missing key `type` in [schedule]\n    \
         `type` is one of: constant, multistep, cosine, poly\n    \
         `tpye` is there; was `type` meant?"
    );
}

#[test]
fn unknown_types_list_what_is_linked_in() {
    let error = error_with("dataset.type=pnd");
    let (first, rest) = error.split_once('\n').unwrap();
    assert_eq!(
        first,
        "override 1 (`dataset.type=pnd`): [dataset]: unknown type \"pnd\"; did you mean \"pond\"?"
    );
    assert!(rest.trim().starts_with("linked in: "), "{rest}");
    assert!(rest.contains("pond") && rest.contains("river"), "{rest}");
    assert_eq!(
        error_of("[schedule]\ntype = \"cosin\"\n"),
        "a.toml:16: [schedule]: unknown type \"cosin\"; did you mean \"cosine\"?\n    \
         linked in: constant, multistep, cosine, poly"
    );
}

#[test]
fn bad_toml_names_its_line() {
    let error = error_of("[loader]\nbatch_size = = 1\n");
    assert!(error.starts_with("a.toml:16: not valid TOML: "), "{error}");
    assert!(error.ends_with("the line reads `batch_size = = 1`"), "{error}");
    let error = error_of("[loader]\nbatch_size = 1\nbatch_size = 2\n");
    assert!(error.starts_with("a.toml:17: not valid TOML: duplicate key"), "{error}");
    let error = error_of("[train]\n");
    assert!(error.starts_with("a.toml:15: not valid TOML: duplicate key"), "{error}");
    assert_eq!(
        error_of("[loader]\nbatch_size = 99999999999999999999\n"),
        "a.toml:16: 99999999999999999999 is beyond the range of 64-bit numbers"
    );
}

#[test]
fn files_that_are_no_configs_are_refused() {
    let folder =
        Folder::new(&[("sub/x.toml", ""), ("deep.toml", &format!("{}1", "a.".repeat(9999)))]);
    assert!(folder.error("none.toml", &[]).starts_with("none.toml: cannot be read: "));
    assert_eq!(folder.error("sub", &[]), "sub: is a folder, expected a TOML file");
    fs::write(folder.0.path().join("bytes.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    assert_eq!(folder.error("bytes.toml", &[]), "bytes.toml:2: not UTF-8 text");
    assert!(folder.error("deep.toml", &[]).contains("not valid TOML"));
    for opening in ["[", "{a=", "a=[", "a={b="] {
        fs::write(folder.0.path().join("deep.toml"), format!("a = {}", opening.repeat(9999)))
            .unwrap();
        assert!(folder.error("deep.toml", &[]).contains("not valid TOML"));
    }
}

#[test]
fn the_nearest_file_wins_and_tables_merge() {
    let folder = Folder::new(&[
        ("base/far.toml", "seed = 1\n[optimizer]\nlr = 1.0\neps = 0.5\nbetas = [0.1, 0.2]\n"),
        ("base/near.toml", "extends = \"far.toml\"\n[optimizer]\nlr = 2.0\n"),
        ("base/late.toml", "[optimizer]\nbetas = [0.3, 0.4]\n"),
        ("a.toml", &format!("extends = [\"base/near.toml\", \"base/late.toml\"]\n{MINIMAL}")),
    ]);
    let loaded = folder.load("a.toml", &["seed=7"]).unwrap();
    assert_eq!(loaded.config.seed, 7);
    assert_eq!(loaded.config.optimizer.lr, 2.0);
    assert_eq!(loaded.config.optimizer.eps, 0.5);
    assert_eq!(loaded.config.optimizer.betas, (0.3, 0.4));
    let origin = |key: &str| folder.short(&loaded.locate(key));
    assert_eq!(origin("optimizer.lr"), "base/near.toml:3: `optimizer.lr`");
    assert_eq!(origin("optimizer.eps"), "base/far.toml:4: `optimizer.eps`");
    assert_eq!(origin("seed"), "override 1 (`seed=7`): `seed`");
    assert_eq!(origin("device"), "a.toml: `device` (default)");
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_error_in_a_parent_names_the_parent() {
    let folder = Folder::new(&[
        ("base.toml", "\n[loader]\nbatchsize = 3\n"),
        ("a.toml", &format!("extends = \"base.toml\"\n{MINIMAL}")),
    ]);
    assert!(folder.error("a.toml", &[]).starts_with("base.toml:3: unknown key `loader.batchsize`"));
}

#[test]
fn another_type_drops_the_inherited_keys_and_says_so() {
    let child = "extends = \"a.toml\"\n[dataset]\ntype = \"river\"\nflow = 2\n";
    let folder = Folder::new(&[("a.toml", MINIMAL), ("b.toml", child)]);
    let loaded = folder.load("b.toml", &[]).unwrap();
    assert!(loaded.resolved.contains("type = \"river\"\nflow = 2.0\n"), "{}", loaded.resolved);
    assert_eq!(
        folder.short(&loaded.warnings[0].to_string()),
        "b.toml:3: `dataset.type` is another than inherited, so the inherited depth is dropped"
    );
    // The order of the arguments does not matter.
    for order in
        [["dataset.flow=4", "dataset.type=river"], ["dataset.type=river", "dataset.flow=4"]]
    {
        let loaded = folder.load("a.toml", &order).unwrap();
        assert!(loaded.resolved.contains("type = \"river\"\nflow = 4.0\n"), "{}", loaded.resolved);
    }
    let same = folder.load("a.toml", &["dataset.type=pond"]).unwrap();
    assert!(same.resolved.contains("depth = 3"));
}

#[test]
fn circles_and_absent_parents_are_refused() {
    let folder = Folder::new(&[
        ("a.toml", "extends = \"sub/b.toml\"\n"),
        ("sub/b.toml", "\nextends = [\"../a.toml\"]\n"),
        ("self.toml", "extends = \"self.toml\"\n"),
        ("lost.toml", "extends = \"nowhere.toml\"\n"),
        ("typed.toml", "extends = [\"a.toml\", 3]\n"),
    ]);
    assert_eq!(
        folder.error("a.toml", &[]),
        "sub/b.toml:2: `extends` goes in a circle: a.toml → sub/b.toml → a.toml"
    );
    assert_eq!(
        folder.error("self.toml", &[]),
        "self.toml:1: `extends` goes in a circle: self.toml → self.toml"
    );
    assert_eq!(
        folder.error("lost.toml", &[]),
        "lost.toml:1: `extends` names nowhere.toml, which is no file\n    \
         the path is relative to the folder of the file that says `extends`"
    );
    assert_eq!(
        folder.error("typed.toml", &[]),
        "typed.toml:1: `extends`: expected a string or an array of strings, got the whole number 3"
    );
}

#[test]
fn unset_takes_inherited_keys_away() {
    let parent = format!("{MINIMAL}clip_grad_norm = 0.1\n[weights]\npath = \"w.pth\"\n");
    let folder = Folder::new(&[
        ("a.toml", &parent),
        ("b.toml", "extends = \"a.toml\"\nunset = [\"weights\", \"train.clip_grad_norm\"]\n"),
        ("c.toml", "extends = \"a.toml\"\nunset = \"wieghts\"\n"),
    ]);
    let kept = folder.load("a.toml", &[]).unwrap().config;
    assert!(kept.weights.is_some() && kept.train.clip_grad_norm.is_some());
    let config = folder.load("b.toml", &[]).unwrap().config;
    assert!(config.weights.is_none() && config.train.clip_grad_norm.is_none());
    assert!(folder.load("a.toml", &["~weights"]).unwrap().config.weights.is_none());
    assert_eq!(
        folder.error("c.toml", &[]),
        "c.toml:2: `wieghts` cannot be unset: it is not set\n    did you mean `weights`?"
    );
}

#[test]
fn overrides_are_toml_or_bare_words() {
    let groups = "[[optimizer.groups]]\nname = \"a\"\npattern = \"a.*\"\n";
    let folder = Folder::new(&[("a.toml", &format!("{MINIMAL}{groups}"))]);
    let set = [
        "run_dir=runs/some thing",
        "optimizer.lr=1e-3",
        "optimizer.groups.0.lr_multiplier=0.1",
        "device=cpu",
        "loader.shuffle=false",
        "dataset.fish=[\"cod\", 'eel']",
        "logging={every_steps = 3}",
        "dataset.shore.ends=[1, 2]",
    ];
    let loaded = folder.load("a.toml", &set).unwrap();
    let config = &loaded.config;
    assert_eq!(config.run_dir, Path::new("runs/some thing"));
    assert_eq!(config.optimizer.lr, 1e-3);
    assert_eq!(config.optimizer.groups[0].lr_multiplier, 0.1);
    assert_eq!(config.device, DeviceChoice::Cpu);
    assert!(!config.loader.shuffle);
    assert_eq!((config.logging.every_steps, config.logging.num_images), (3, 8));
    assert!(loaded.resolved.contains("fish = [\"cod\", \"eel\"]"), "{}", loaded.resolved);
    // A date is no value of any config; as a folder's name it is a word.
    let dated = folder.load("a.toml", &["run_dir=2026-01-01"]).unwrap();
    assert_eq!(dated.config.run_dir, Path::new("2026-01-01"));
}

#[test]
fn bad_overrides_name_their_argument() {
    assert_eq!(
        error_with("optimizer.lr=hgih"),
        "override 1 (`optimizer.lr=hgih`): `optimizer.lr`: expected a number, got the string \"hgih\""
    );
    assert!(error_with("optimizer.lrr=1").starts_with(
        "override 1 (`optimizer.lrr=1`): unknown key `optimizer.lrr`; did you mean `lr`?"
    ));
    assert!(
        error_with("optimizer.lr").starts_with("override 1 (`optimizer.lr`): expected key=value")
    );
    assert!(error_with("=3").starts_with("override 1 (`=3`): \"\" is no key of a config"));
    assert!(error_with("a b=3").starts_with("override 1 (`a b=3`): \"a b\" is no key"));
    assert!(error_with("dataset.fish=[cod]").contains("\"[cod]\" is not a valid TOML value"));
    assert_eq!(
        error_with("optimizer.groups.0.freeze=true"),
        "override 1 (`optimizer.groups.0.freeze=true`): `optimizer.groups`: expected an array, got \
         a table"
    );
    assert_eq!(
        error_with("run_dir.x=1"),
        "override 1 (`run_dir.x=1`): `run_dir.x` cannot be set: `run_dir` is the string \"runs/a\", \
         not a table\n    `run_dir` is set at a.toml:1"
    );
    assert_eq!(
        error_with("run_dir=5"),
        "override 1 (`run_dir=5`): `run_dir`: expected a path (a string), got the whole number 5\n    \
         quote it to make it a string: key='\"…\"'"
    );
    assert_eq!(
        error_with("~optimizer.lr"),
        "override 1 (`~optimizer.lr`): `optimizer.lr` cannot be unset: it is not set"
    );
    let folder = Folder::new(&[(
        "a.toml",
        &format!("{MINIMAL}[schedule]\ntype = \"multistep\"\nmilestones = [5, 6]"),
    )]);
    assert_eq!(
        folder.error("a.toml", &["schedule.milestones.2=7"]),
        "override 1 (`schedule.milestones.2=7`): `schedule.milestones` is an array; \"2\" is no \
         index: its elements are 0 to 1"
    );
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
    assert_eq!(find("device", None), "\"auto\", \"cpu\" or \"cuda\"");
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
    let has = |kind, name: &str| all.iter().any(|r| r.kind == kind && r.name == name);
    assert!(has(Kind::Dataset, "pond") && has(Kind::Dataset, "river"));
    assert!(has(Kind::Backbone, "plain") && has(Kind::Task, "plain"));
}
