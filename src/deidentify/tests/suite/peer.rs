//! pydicom reads what was written.

use std::process::Command;

use sonotune_deidentify::Options;
use sonotune_testing::{assert_success, python, root};

use crate::support::Folder;

#[test]
fn pydicom_reads_every_file_and_finds_nothing_of_the_profile() {
    let Some(python) = python(&["pydicom", "numpy"]) else { return };
    let folder = Folder::with(&["everything.dcm", "follow_up.dcm", "no_region.dcm"]);
    let report = folder.run(&Options { allow_unblacked: true, ..folder.options() });
    assert_eq!(report.files.len(), 3);
    let output = Command::new(python)
        .arg(root().join("tests/fixtures/deidentify/check.py"))
        .arg(folder.at("out"))
        .output()
        .unwrap();
    assert_success(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 files"), "{output:?}");
}
