//! The same salt gives the same pseudonyms, UIDs and shifts.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use dicom_object::Tag;
use sonotune_deidentify::Options;

use crate::support::{Folder, files, open, text, written};

#[test]
fn files_of_a_patient_and_their_references_agree() {
    let folder = Folder::with(&["everything.dcm", "follow_up.dcm", "no_region.dcm"]);
    let report = folder.run(&Options { allow_unblacked: true, ..folder.options() });
    let object = |name| open(&written(&report, &folder.at("out"), name));
    let (first, second, other) =
        (object("everything.dcm"), object("follow_up.dcm"), object("no_region.dcm"));
    assert_eq!(report.summary.patients, 2);
    assert_eq!(text(&first, 0x0010, 0x0020), text(&second, 0x0010, 0x0020));
    assert_ne!(text(&first, 0x0010, 0x0020), text(&other, 0x0010, 0x0020));
    let reference = &second.get(Tag(0x0008, 0x1140)).unwrap().items().unwrap()[0];
    assert_eq!(text(reference, 0x0008, 0x1155), text(&first, 0x0008, 0x0018));
    assert_eq!(text(reference, 0x0008, 0x1150), "1.2.840.10008.5.1.4.1.1.3.1");
    assert_eq!(
        first.meta().media_storage_sop_instance_uid().trim_end_matches('\0'),
        text(&first, 0x0008, 0x0018)
    );
}

/// Days since an arbitrary day.
fn day(date: &str) -> i64 {
    let date = from_march(date);
    date.0 * 365 + date.0 / 4 - date.0 / 100 + date.0 / 400 + (date.1 * 306 + 5) / 10 + date.2
}

/// Year, month and day with the year starting in March.
fn from_march(date: &str) -> (i64, i64, i64) {
    let number = |range: std::ops::Range<usize>| date[range].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(4..6), number(6..8));
    if month > 2 { (year, month - 3, day) } else { (year - 1, month + 9, day) }
}

#[test]
fn dates_keep_their_intervals_and_times() {
    let folder = Folder::with(&["everything.dcm", "follow_up.dcm"]);
    let report = folder.run(&folder.options());
    let object = |name| open(&written(&report, &folder.at("out"), name));
    let (first, second) = (object("everything.dcm"), object("follow_up.dcm"));
    let (from, to) = (text(&first, 0x0008, 0x0020), text(&second, 0x0008, 0x0020));
    assert_eq!(day(&to) - day(&from), 20);
    let moved = day("19680514") - day(&from);
    assert!((1..=3653).contains(&moved), "{moved}");
    assert_eq!(text(&second, 0x0008, 0x0030), "080910");
    // Date and time, without its time zone.
    assert_eq!(text(&first, 0x0008, 0x002a), format!("{from}111213.5"));
}

#[test]
fn another_run_with_the_same_salt_writes_the_same_bytes() {
    let folder = Folder::with(&["everything.dcm", "follow_up.dcm"]);
    folder.run(&folder.options());
    folder.try_run("again", &folder.options()).unwrap();
    fs::write(folder.at("salt2"), "another salt of more than sixteen bytes").unwrap();
    folder
        .try_run("other", &Options { salt: Some(folder.at("salt2")), ..folder.options() })
        .unwrap();
    let content = |out: &str| -> Vec<(String, Vec<u8>)> {
        let root = folder.at(out);
        let name = |path: &std::path::PathBuf| {
            path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()
        };
        files(&root).iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
    };
    assert_eq!(content("out"), content("again"));
    let names = |out| content(out).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    let (one, other) = (names("out"), names("other"));
    assert_eq!(one.intersection(&other).collect::<Vec<_>>(), ["report.json"]);
}

#[test]
fn a_new_salt_and_a_mapping_are_private_and_outside() {
    let folder = Folder::with(&["follow_up.dcm"]);
    let options = Options { salt: None, mapping: Some(folder.at("map.csv")), ..folder.options() };
    let report = folder.run(&options);
    for file in ["out.salt", "map.csv", "out.check.html"] {
        let mode = fs::metadata(folder.at(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let map = fs::read_to_string(folder.at("map.csv")).unwrap();
    assert!(map.contains("SECRET-4711") && map.contains(&report.files[0].patient), "{map}");
    assert_eq!(report.beside.salt, Some(folder.at("out.salt")));
    // A later run does not make another salt in silence.
    let error = folder
        .try_run("out", &Options { overwrite: true, ..options.clone() })
        .unwrap_err()
        .to_string();
    assert!(error.contains("--salt"), "{error}");
    let again = Options { salt: Some(folder.at("out.salt")), overwrite: true, ..options };
    assert_eq!(folder.run(&again).files[0].file, report.files[0].file);
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = Folder::with(&["everything.dcm", "report.dcm"]);
    let options = Options {
        salt: None,
        dry_run: true,
        mapping: Some(folder.at("map.csv")),
        ..folder.options()
    };
    let report = folder.run(&options);
    assert_eq!((report.summary.written, report.summary.refused), (1, 1));
    assert_eq!(files(folder.path.path()).len(), 3, "two originals and the salt");
}
