//! `sonotune config` and `list` as a user calls them.

use std::fs;

use classification as _;
use serde_json::Value;
use sonotune_run::config;

use crate::support::{json, sonotune, stdout};

const SHIPPED: &str = "configs/demo/classification-random.toml";

#[test]
fn config_show_prints_a_config_that_loads() {
    let shown = sonotune(&["config", "show", SHIPPED, "optimizer.lr=0.25"]);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.toml");
    fs::write(&copy, &shown.stdout).unwrap();
    let again = sonotune(&["config", "show", copy.to_str().unwrap()]);
    assert_eq!(stdout(&shown), stdout(&again));
    // Comments do not make it another config.
    let origins = sonotune(&["config", "show", SHIPPED, "optimizer.lr=0.25", "--origins"]);
    assert!(stdout(&origins).contains("# override 1 (`optimizer.lr=0.25`)"));
    fs::write(&copy, &origins.stdout).unwrap();
    let again = sonotune(&["config", "show", copy.to_str().unwrap()]);
    assert_eq!(stdout(&shown), stdout(&again));
}

#[test]
fn config_show_json_holds_values_and_origins() {
    let shown = ["config", "show", SHIPPED, "optimizer.lr=0.25", "--origins", "--json"];
    let json = json(&sonotune(&shown));
    assert_eq!(json["config"]["optimizer"]["lr"], 0.25);
    assert_eq!(json["config"]["backbone"]["type"], "sam_vit");
    assert_eq!(json["origins"]["optimizer.lr"], "override 1 (`optimizer.lr=0.25`)");
    let root = json["origins"]["dataset.root"].as_str().unwrap();
    assert!(root.starts_with("configs/demo/classification-random.toml:"), "{root}");
    assert_eq!(json["origins"]["device"], "default");
    // Given in short form, as one string.
    let train = json["origins"]["dataset.train.annotations"].as_str().unwrap();
    assert!(train.starts_with("configs/base/demo.toml:"), "{train}");
}

#[test]
fn config_validate_reports_each_file_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "run_dir = 'a'\n[optimizer]\nlearning_rate = 1\n").unwrap();
    let bad = bad.to_str().unwrap();
    let output = sonotune(&["config", "validate", SHIPPED, bad, "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["configs"][0]["valid"], true);
    let problem = &json["configs"][1]["problems"][0];
    assert_eq!(problem["key"], "optimizer.learning_rate");
    assert_eq!(problem["line"], 3);
    assert_eq!(problem["file"], bad);
    let good = sonotune(&["config", "validate", SHIPPED, "--set", "seed=3"]);
    let printed = stdout(&good);
    let (first, rest) = printed.split_once('\n').unwrap();
    assert_eq!(first, format!("{SHIPPED}: ok"));
    // `cargo xtask demo` makes its data.
    let is_absent = rest.contains("warning: the data was not checked: it is not on this machine");
    assert!(rest.is_empty() || is_absent, "{printed}");
    let set = sonotune(&["config", "validate", SHIPPED, "--set", "loader.batch_size=0"]);
    assert_eq!(set.status.code(), Some(2));
    let text = String::from_utf8_lossy(&set.stdout);
    assert!(text.contains("override 1 (`loader.batch_size=0`): `loader.batch_size`"), "{text}");
}

#[test]
fn list_and_keys_agree_with_the_library() {
    let listed = json(&sonotune(&["list", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), config::registered().unwrap().len());
    let keys = json(&sonotune(&["config", "keys", "--json"]));
    assert_eq!(keys.as_array().unwrap().len(), config::known_keys().len());
    let text = stdout(&sonotune(&["config", "keys"]));
    assert_eq!(text.lines().count(), config::known_keys().len());
}
