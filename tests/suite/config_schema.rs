//! `sonotune config schema`: what editors check configs by accepts what the program accepts.

use std::{fs, path::PathBuf};

use classification as _;
use jsonschema::Validator;
use mask2former as _;
use sam_prompt as _;
use serde_json::{Value, json};
use sonotune_config::{described_keys, disagreements};
use sonotune_run::config::RunConfig;
use sonotune_study::StudyConfig;
use sonotune_testing::root;

use crate::support::{sonotune, stdout};

fn schema(arguments: &[&str]) -> Validator {
    let printed = sonotune(&[&["config", "schema"], arguments].concat());
    let schema: Value = serde_json::from_str(&stdout(&printed)).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn read(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

/// The shipped files that are configs of runs, and those of studies. Descriptions of datasets are neither.
fn shipped() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut folders = vec![root().join("configs")];
    let (mut runs, mut studies) = (Vec::new(), Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some("toml".as_ref()) {
                let table = read(&fs::read_to_string(&path).unwrap());
                match (table.get("study_dir"), table.get("source")) {
                    (Some(_), _) => studies.push(path),
                    (None, None) => runs.push(path),
                    (None, Some(_)) => {}
                }
            }
        }
    }
    (runs, studies)
}

#[test]
fn every_shipped_config_fits_the_schema() {
    let (runs, studies) = shipped();
    assert!(runs.len() > 60 && studies.len() > 3, "{} and {}", runs.len(), studies.len());
    for (files, validator) in [(runs, schema(&[])), (studies, schema(&["--study"]))] {
        for file in files {
            let table = read(&fs::read_to_string(&file).unwrap());
            let faults: Vec<String> = validator
                .iter_errors(&table)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(faults.is_empty(), "{}: {}", file.display(), faults.join("; "));
        }
    }
}

/// Calls `each` with a copy of `config` for every table in it, to which `change` was applied.
fn in_each_table(config: &Value, change: &dyn Fn(&mut Value), each: &mut dyn FnMut(&str, Value)) {
    let mut paths = vec![String::new()];
    while let Some(path) = paths.pop() {
        let Some(table) = config.pointer(&path).and_then(Value::as_object) else { continue };
        let mut copy = config.clone();
        change(copy.pointer_mut(&path).unwrap());
        each(&path, copy);
        paths.extend(table.keys().map(|key| format!("{path}/{key}")));
    }
}

#[test]
fn a_misspelt_key_and_a_wrong_type_are_noticed_in_every_table() {
    let validator = schema(&[]);
    for file in ["demo/classification-random.toml", "demo/prompt.toml"] {
        let shown = sonotune(&["config", "show", &format!("configs/{file}")]);
        let config = read(&stdout(&shown));
        assert!(validator.is_valid(&config), "{file}");
        let misspell = |table: &mut Value| table["surely_no_key"] = json!(1);
        in_each_table(&config, &misspell, &mut |path, wrong| {
            // Any category may have a weight.
            let open = path.ends_with("class_weights");
            assert!(
                open || !validator.is_valid(&wrong),
                "{file}: a wrong key in {path}/ is accepted"
            );
        });
        let retype = |table: &mut Value| {
            for (_, value) in table.as_object_mut().unwrap() {
                if value.is_number() || value.is_boolean() {
                    *value = json!({ "not": "a number" });
                    return;
                }
            }
            // Without numbers: what no table is.
            *table = json!(7.5);
        };
        in_each_table(&config, &retype, &mut |path, wrong| {
            assert!(!validator.is_valid(&wrong), "{file}: a wrong value in {path}/ is accepted");
        });
    }
}

#[test]
fn values_are_checked_as_far_as_types_say() {
    let validator = schema(&[]);
    for good in [
        "extends = 'a.toml'\nunset = ['weights']",
        "device = 'cuda:1'",
        "[backbone]\nfreeze = 'all'",
        "[backbone]\ntype = 'vit'\nfreeze = ['pos_embed']\npixel_statistics = 'clip'",
        "[dataset]\ntype = 'coco'\ntrain = 'a.json'\nval = { annotations = 'b.json' }",
        "[optimizer]\nlr = 1\ngroups = [{ name = 'a', pattern = '*' }]",
    ] {
        let faults: Vec<String> =
            validator.iter_errors(&read(good)).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{good}: {}", faults.join("; "));
    }
    for wrong in [
        "extends = 3",
        "seed = -1",
        "device = 'gpu'",
        "[backbone]\ntype = 'resnext'",
        "[backbone]\ntype = 'resnet'\narch = 'base'",
        "[backbone]\nfreeze = 'some'",
        "[backbone]\nno_key_of_any_type = 1",
        "[dataset]\ntype = 'coco'\nval = { annotation = 'b.json' }",
        "[optimizer]\ngroups = [{ name = 'a' }]",
        "[schedule]\ntype = 'cosine'\npower = 1",
    ] {
        assert!(!validator.is_valid(&read(wrong)), "{wrong} is accepted");
    }
    // The fault names the key, which a choice among forms would not.
    let config = read("[backbone]\ntype = 'resnet'\narch = 'base'");
    let faults: Vec<String> = validator.iter_errors(&config).map(|e| e.to_string()).collect();
    assert!(faults.iter().any(|fault| fault.contains("'arch'")), "{faults:?}");
}

#[test]
fn the_schema_is_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.json");
    sonotune(&["config", "schema", "--out", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(file).unwrap(), stdout(&sonotune(&["config", "schema"])));
}

#[test]
fn schema_and_types_know_the_same_keys_and_each_has_a_meaning() {
    let unlike = [disagreements::<RunConfig>(), disagreements::<StudyConfig>()].concat();
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
    let keys = [described_keys::<RunConfig>(), described_keys::<StudyConfig>()].concat();
    // Fewer would mean that the list is broken.
    assert!(keys.len() > 300, "{}", keys.len());
    let silent: Vec<_> = keys.iter().filter(|key| key.description.is_empty()).collect();
    let silent: Vec<_> = silent.iter().map(|key| key.key.path.as_str()).collect();
    assert!(silent.is_empty(), "no doc comment: {}", silent.join(", "));
}
