//! What cannot be exported, or not be checked, is refused with the reason.

use std::{fs, path::PathBuf};

use sonotune_base::error::{ErrorKind, kind};
use sonotune_export::{ExportOptions, export};
use sonotune_testing::assert_contains;

use crate::models::{CLASSIFICATION, options, tiny, trained};

#[test]
fn without_a_python_that_can_check_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = trained(&tiny(folder.path(), CLASSIFICATION));
    let out = folder.path().join("out");
    let with = |python: &str, unchecked| ExportOptions {
        python: Some(PathBuf::from(python)),
        unchecked,
        ..options(&out, None)
    };
    let error = export(&loaded, &with("/nowhere/python", false)).unwrap_err();
    assert_eq!(kind(&error), Some(ErrorKind::Config));
    assert_contains(&format!("{error:#}"), &["/nowhere/python", "--python", "--unchecked"]);
    assert!(!out.exists());
    let record = export(&loaded, &with("/nowhere/python", true)).unwrap();
    assert!(!record.checked && record.words().contains("NOT CHECKED"));
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert_contains(&card, &["**Not checked.**"]);
    let left: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn inputs_of_many_sizes_are_refused_with_the_key_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny(folder.path(), CLASSIFICATION).with("preprocess.eval_pad_to = \"multiple\"");
    let loaded = trained(&tiny);
    let error = export(&loaded, &options(&folder.path().join("out"), None)).unwrap_err();
    assert_contains(&format!("{error:#}"), &["preprocess.eval_pad_to=square"]);
}
