//! Problems for Python packages: sent as JSON, answered as JSON.

use std::process::Command;

use serde_json::Value;
use sonotune_testing::{assert_success, python};

/// What the script prints for the problem, in `problem`; `None`, with the reason printed, if a package
/// is absent.
pub(crate) fn answer(modules: &[&str], script: &str, problem: &Value) -> Option<Value> {
    let python = python(modules)?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("problem.json");
    std::fs::write(&path, problem.to_string()).unwrap();
    let script = format!(
        "import json, sys, warnings\nimport numpy as np\nwarnings.simplefilter('ignore')\n\
         problem = json.load(open(sys.argv[1]))\n{script}\n"
    );
    let output = Command::new(python).arg("-c").arg(script).arg(&path).output().unwrap();
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// A list of numbers.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap_or_else(|| panic!("{value} is not a list"));
    list.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

/// Asserts equality to 1e-9, relative above 1, or that both are undefined.
#[track_caller]
pub(crate) fn assert_close(what: &str, ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (place, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let close = (a - b).abs() <= 1e-9 * b.abs().max(1.0) || (a.is_nan() && b.is_nan());
        assert!(close, "{what} {place}: {a} here, {b} in the reference");
    }
}
