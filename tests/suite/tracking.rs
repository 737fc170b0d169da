//! `integrations/track.py`: what a tracker has afterwards is what the run wrote.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{
    CLASSIFICATION, assert_fails, assert_success, json, python, read_json, tiny_run,
};

/// Prints metrics (`name`, then `step: value`), tags and files of the only run of an experiment.
const READ_BACK: &str = r#"
import json, mlflow, sys
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("sonotune").experiment_id
runs = client.search_runs([experiment])
assert len(runs) == 1, runs
run = runs[0]
# JSON has no NaN.
history = {name: {m.step: m.value if m.value == m.value else None for m in client.get_metric_history(run.info.run_id, name)} for name in run.data.metrics}
points = sum(len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics)
files = [file.path for file in client.list_artifacts(run.info.run_id)]
print(json.dumps({"metrics": history, "points": points, "params": run.data.params, "status": run.info.status, "files": files}))
"#;

fn track(python: &Path, store: &Path, args: &[&str]) -> Output {
    let script = sonotune_testing::root().join("integrations/track.py");
    command(python, store).arg(script).args(args).output().unwrap()
}

fn command(python: &Path, store: &Path) -> Command {
    let mut command = Command::new(python);
    let uri = format!("sqlite:///{}", store.join("mlflow.db").display());
    command.env("MLFLOW_TRACKING_URI", uri).current_dir(store);
    command
}

/// Values of `metrics.jsonl`: by `split/name`, then by step.
fn written(run: &Path) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut all: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for line in fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
        let values: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        let split = values["split"].as_str().unwrap();
        for (name, value) in
            values.iter().filter(|(name, _)| !["step", "split"].contains(&name.as_str()))
        {
            let values_of = all.entry(format!("{split}/{name}")).or_default();
            values_of.insert(values["step"].to_string(), value.as_f64().unwrap_or(f64::NAN));
        }
    }
    all
}

#[test]
fn mlflow_has_every_value_of_the_run_once() {
    let Some(python) = python(&["mlflow", "tomllib"]) else { return };
    let (folder, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_success(&tiny_run(folder.path(), CLASSIFICATION, &[]));
    let run = folder.path().join("run");
    let shown = run.display().to_string();
    // A second call adds nothing: its lines are there.
    for _ in 0..2 {
        assert_success(&track(&python, store.path(), &["mlflow", &shown, "--follow"]));
    }
    let stored = json(&command(&python, store.path()).args(["-c", READ_BACK]).output().unwrap());
    let written = written(&run);
    assert!(written.len() > 5 && written.contains_key("train/loss"), "{written:?}");
    for (name, values) in &written {
        for (step, value) in values {
            let found = stored["metrics"][name][step].as_f64().unwrap_or(f64::NAN);
            assert!(
                found == *value || found.is_nan() && value.is_nan(),
                "{name} at {step}: {found}, not {value}"
            );
        }
    }
    let points: usize = written.values().map(BTreeMap::len).sum();
    assert_eq!(stored["points"], points);
    assert_eq!(stored["params"]["task.type"], "classification");
    assert_eq!(stored["status"], "FINISHED");
    assert_eq!(read_json(&run.join("summary.json"))["status"], "finished");
    let files: Vec<_> =
        stored["files"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(files.contains(&"report.html") && files.contains(&"config.toml"), "{files:?}");
}

#[test]
fn a_folder_of_no_run_is_refused() {
    let Some(python) = python(&["tomllib"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = track(&python, folder.path(), &["mlflow", &folder.path().display().to_string()]);
    assert_fails(&output, 1, &["is not a run folder"]);
}
