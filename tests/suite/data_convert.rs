//! `data convert` as a user sees it: its output, its exit codes, and the files that it leaves.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use sonotune_archive::pack::{Format, pack};
use tempfile::TempDir;

use crate::{
    raw_support::{PAIRS, SIDE, mask, pairs, picture, png, snapshot, write_pairs},
    support::{assert_contains, assert_fails, assert_success, json, read_json, sonotune, stdout},
};

/// A folder with the source `raw`, the spec `pairs.toml`, and later `out`.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(count: u32) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        write_pairs(&place.path("raw"), count);
        fs::write(place.path("pairs.toml"), PAIRS).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn convert_to(&self, source: &str, out: &str, more: &[&str]) -> Output {
        let [spec, source, out] =
            ["pairs.toml", source, out].map(|name| self.path(name).display().to_string());
        sonotune(&[&["data", "convert", &spec, &source, &out], more].concat())
    }

    fn convert(&self, more: &[&str]) -> Output {
        self.convert_to("raw", "out", more)
    }

    fn json(&self, more: &[&str]) -> Value {
        json(&self.convert(&[&["--json"], more].concat()))
    }

    /// Runs `command` and asserts that nothing changed except in `out`.
    #[track_caller]
    fn changes_only_out(&self, command: impl FnOnce() -> Output) -> Output {
        let others = |folder: &Path| {
            let mut found = snapshot(folder);
            found.retain(|path, _| !path.starts_with("out"));
            found
        };
        let before = others(self.folder.path());
        let output = command();
        assert!(before == others(self.folder.path()), "something outside out changed");
        output
    }
}

#[test]
fn a_conversion_tells_what_came_of_it_and_the_second_that_it_was_done() {
    let place = Place::new(4);
    fs::write(place.path("raw/seg/3.png"), png(&vec![0; SIDE * SIDE])).unwrap();
    let first = place.changes_only_out(|| place.convert(&[]));
    let said =
        ["Pairs: 4 images, 3 objects", "all.json", "3 lesion in 3 images", "1 images without"];
    assert_contains(&stdout(&first), &said);
    let before = snapshot(&place.path("out"));
    assert_contains(&stdout(&place.convert(&[])), &["was complete; nothing done"]);
    assert!(before == snapshot(&place.path("out")));

    let report = place.json(&[]);
    assert_eq!(report["images"], 4);
    assert_eq!(report["images_without_object"], 1);
    assert_eq!(report["categories"][0]["objects"], 3);
    assert_eq!(report["already_complete"], true, "{report:#}");
    let mut written = read_json(&place.path("out/conversion.json"));
    written["already_complete"] = true.into();
    assert_eq!(written, report);
}

#[test]
fn a_dry_run_of_a_folder_writes_nothing() {
    let place = Place::new(3);
    fs::remove_file(place.path("raw/seg/2.png")).unwrap();
    let before = snapshot(place.folder.path());
    let said =
        ["3 rasters.images", "2 rasters.masks[0]", "2 complete units", "1 problems", "img/2.png"];
    assert_contains(&stdout(&place.convert(&["--dry-run"])), &said);
    let report = place.json(&["--dry-run"]);
    assert_eq!(report["units"], 2);
    assert_eq!(report["problems"][0]["kind"], "missing_partner");
    assert!(before == snapshot(place.folder.path()));
}

/// The conversion uses the files that it unpacked, and removes them.
#[test]
fn a_dry_run_of_an_archive_leaves_what_it_unpacked_to_the_conversion() {
    let place = Place::new(0);
    pack(Format::Zip, &pairs(5), &place.path("raw.zip")).unwrap();
    let convert = |more: &[&str]| {
        stdout(&place.changes_only_out(|| place.convert_to("raw.zip", "out", more)))
    };
    assert_contains(&convert(&["--dry-run"]), &["no problems"]);
    let left: Vec<PathBuf> = snapshot(&place.path("out")).into_keys().collect();
    assert!(!left.is_empty() && left.iter().all(|path| path.starts_with(".source")), "{left:?}");
    convert(&[]);
    assert!(!place.path("out/.source").exists());
    assert_eq!(fs::read_dir(place.path("out/images")).unwrap().count(), 5);
}

/// A user who fixes the spec after an error does not have to clean up first.
#[test]
fn a_conversion_that_failed_at_pairing_can_be_repeated_with_a_better_spec() {
    for source in ["raw", "raw.zip"] {
        let place = Place::new(3);
        pack(Format::Zip, &pairs(3), &place.path("raw.zip")).unwrap();
        fs::write(place.path("pairs.toml"), PAIRS.replace("seg/*", "sge/*")).unwrap();
        let failed = place.convert_to(source, "out", &[]);
        assert_fails(&failed, 3, &["sge/*.png", "img/0.png"]);
        fs::write(place.path("pairs.toml"), PAIRS).unwrap();
        assert_success(&place.convert_to(source, "out", &[]));
    }
}

#[test]
fn specs_and_arguments_that_make_no_sense_end_with_2() {
    let place = Place::new(2);
    let spec = |text: String| fs::write(place.path("pairs.toml"), text).unwrap();
    spec(PAIRS.replace("categories", "categorys"));
    assert_fails(&place.convert(&[]), 2, &["pairs.toml", "categorys", "categories"]);
    spec(PAIRS.replace("name = \"Pairs\"", "name = \"../../Pairs\""));
    assert_fails(&place.changes_only_out(|| place.convert(&[])), 2, &["name", "../../Pairs"]);
    spec(PAIRS.replace("'([^/]+)\\.png$'", "'([^/]+\\.png$'"));
    assert_fails(&place.convert(&[]), 2, &["key", "([^/]+"]);
    spec(PAIRS.to_owned());
    assert_fails(&place.convert(&["--defect", "nosuch"]), 2, &["nosuch"]);
    assert_fails(&place.convert(&["--threads", "x"]), 2, &["--threads"]);
    assert_fails(&place.convert(&["--threads", "0"]), 2, &["--threads"]);
    let raw = place.path("raw").display().to_string();
    let out = place.path("out").display().to_string();
    assert_fails(&sonotune(&["data", "convert", "bussi", &raw, &out]), 2, &["bussi", "`busi`"]);
    assert!(!place.path("out").exists());
}

#[test]
fn a_source_that_is_not_there_ends_with_3() {
    let place = Place::new(2);
    assert_fails(&place.convert_to("none", "out", &[]), 3, &["none"]);
    fs::create_dir(place.path("empty")).unwrap();
    assert_fails(&place.convert_to("empty", "out", &[]), 3, &["img/*.png"]);
    fs::write(place.path("text.zip"), "<html>log in</html>").unwrap();
    assert_fails(&place.convert_to("text.zip", "out", &[]), 3, &["text.zip"]);
}

#[test]
fn folders_that_hold_something_else_are_left_alone() {
    let place = Place::new(2);
    for (name, content) in [("out/thesis.tex", "precious"), ("out/images/mine.png", "precious")] {
        let file = place.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let before = snapshot(place.folder.path());
        for more in [&[][..], &["--overwrite"]] {
            assert_fails(&place.convert(more), 2, &["out", "choose another folder"]);
            assert!(before == snapshot(place.folder.path()));
        }
        fs::remove_file(&file).unwrap();
    }
    fs::remove_dir_all(place.path("out")).unwrap();
    fs::write(place.path("out"), "a file").unwrap();
    assert_fails(&place.convert(&[]), 2, &["out"]);
}

#[test]
fn other_choices_need_overwrite_which_spares_foreign_files() {
    let place = Place::new(3);
    assert_success(&place.convert(&[]));
    fs::write(place.path("out/notes.txt"), "mine").unwrap();
    fs::write(place.path("pairs.toml"), PAIRS.replace("\"lesion\"", "\"mass\"")).unwrap();
    assert_fails(&place.convert(&[]), 2, &["a different spec", "--overwrite"]);
    assert_success(&place.convert(&["--overwrite"]));
    let text = fs::read_to_string(place.path("out/annotations/all.json")).unwrap();
    assert!(text.contains("mass") && !text.contains("lesion"));
    assert_eq!(fs::read_to_string(place.path("out/notes.txt")).unwrap(), "mine");
}

#[test]
fn source_and_output_may_not_lie_in_each_other() {
    let place = Place::new(2);
    fs::create_dir(place.path("raw/empty")).unwrap();
    symlink(place.path("raw"), place.path("link")).unwrap();
    let before = snapshot(place.folder.path());
    for out in ["raw", "raw/out", "raw/empty", "raw/img/a/b", "link/out", "raw/../raw/out"] {
        for more in [&[][..], &["--dry-run"]] {
            assert_fails(&place.convert_to("raw", out, more), 2, &["is inside the source"]);
        }
    }
    assert_fails(&place.convert_to("raw/img", "raw", &[]), 2, &["is inside the output folder"]);
    assert!(before == snapshot(place.folder.path()));
    // Beside it is a folder whose name has the same beginning.
    assert_success(&place.convert_to("raw", "raw-coco", &[]));
}

/// Links of the source are followed, except in circles; what is converted are files, not links.
#[test]
fn links_in_the_source_are_followed() {
    let place = Place::new(2);
    fs::create_dir(place.path("disk")).unwrap();
    fs::write(place.path("disk/3.png"), png(&picture(9))).unwrap();
    symlink("0.png", place.path("raw/img/2.png")).unwrap();
    symlink("0.png", place.path("raw/seg/2.png")).unwrap();
    symlink("../../disk/3.png", place.path("raw/img/3.png")).unwrap();
    symlink("0.png", place.path("raw/seg/3.png")).unwrap();
    symlink("..", place.path("raw/img/up")).unwrap();
    let output = place.changes_only_out(|| place.convert(&[]));
    assert_contains(&stdout(&output), &["4 images"]);
    let out = snapshot(&place.path("out"));
    let pictures: Vec<_> =
        out.keys().filter(|path| path.extension().is_some_and(|e| e == "png")).collect();
    assert_eq!(pictures.len(), 4, "{pictures:?}");
    assert!(!out.values().any(|bytes| bytes == b"a link"));
    symlink("nowhere.png", place.path("raw/img/4.png")).unwrap();
    symlink("0.png", place.path("raw/seg/4.png")).unwrap();
    let output = place.convert_to("raw", "again", &[]);
    assert_fails(&output, 3, &["img/4.png: is a link to nowhere.png, which does not exist"]);
}

/// A link in place of an output folder would lead the images elsewhere.
#[test]
fn links_in_the_output_are_refused() {
    let place = Place::new(2);
    fs::create_dir(place.path("elsewhere")).unwrap();
    fs::create_dir(place.path("out")).unwrap();
    symlink(place.path("elsewhere"), place.path("out/images")).unwrap();
    let output = place.changes_only_out(|| place.convert(&[]));
    assert_fails(&output, 2, &["out"]);
}

/// Damaged files are named and counted; the user sets the limit.
#[test]
fn damaged_files_fail_or_are_left_out_up_to_a_cap() {
    let place = Place::new(6);
    let good = fs::read(place.path("raw/img/1.png")).unwrap();
    fs::write(place.path("raw/img/0.png"), b"").unwrap();
    fs::write(place.path("raw/img/1.png"), &good[..good.len() / 2]).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0xff;
    fs::write(place.path("raw/img/2.png"), flipped).unwrap();
    fs::write(place.path("raw/seg/3.png"), b"<html>").unwrap();

    let failed = place.changes_only_out(|| place.convert(&[]));
    let said = ["problems in the source", "that cannot be read", "--on-problem skip"];
    assert_fails(&failed, 3, &said);
    assert!(!place.path("out/annotations/all.json").exists());
    // Good images are written, bad ones are not written at all.
    let images = || fs::read_dir(place.path("out/images")).unwrap().count();
    assert!(images() <= 2);

    let skip = ["--overwrite", "--on-problem", "skip", "--max-problems"];
    let few = place.convert(&[&skip[..], &["3"]].concat());
    assert_fails(&few, 3, &["4 problems", "more than the 3", "--max-problems"]);
    let enough = stdout(&place.convert(&[&skip[..], &["4"]].concat()));
    assert_contains(&enough, &["2 images", "4 that cannot be read", "img/0.png"]);
    assert_eq!(images(), 2);
    let report = place.json(&["--on-problem", "skip", "--max-problems", "4"]);
    let left_out = report["left_out"]["problems"].as_array().unwrap();
    let messages: Vec<&str> = left_out.iter().filter_map(|p| p["message"].as_str()).collect();
    for name in ["img/0.png", "img/1.png", "img/2.png", "seg/3.png"] {
        assert!(messages.iter().any(|m| m.contains(name)), "{name} in {messages:?}");
    }
    assert_eq!(report["left_out"]["max_problems"], 4);
}

/// After a failure the source is fixed and the same command repeated.
#[test]
fn a_mended_source_is_converted_after_a_failure() {
    let place = Place::new(4);
    let good = fs::read(place.path("raw/img/1.png")).unwrap();
    fs::write(place.path("raw/img/1.png"), &good[..good.len() / 2]).unwrap();
    assert_fails(&place.convert(&[]), 3, &["img/1.png"]);
    fs::write(place.path("raw/img/1.png"), good).unwrap();
    let mended = place.convert(&[]);
    assert_fails(&mended, 2, &["choices or source", "--overwrite"]);
    assert_success(&place.convert(&["--overwrite"]));
    assert_eq!(fs::read_dir(place.path("out/images")).unwrap().count(), 4);
}

#[test]
fn archives_that_lead_out_of_the_folder_write_nothing() {
    for name in
        ["../../evil.png", "/tmp/sonotune-evil.png", "img/../../../evil.png", "..\\evil.png"]
    {
        let place = Place::new(0);
        for (format, file) in [(Format::Zip, "raw.zip"), (Format::SevenZ, "raw.7z")] {
            let mut entries = pairs(2);
            entries.push((name.to_owned(), png(&picture(7))));
            pack(format, &entries, &place.path(file)).unwrap();
            let output = place.changes_only_out(|| place.convert_to(file, "out", &[]));
            assert_fails(&output, 3, &[file, "evil.png"]);
            assert!(!Path::new("/tmp/sonotune-evil.png").exists());
            let out = snapshot(&place.path("out"));
            assert!(!out.keys().any(|path| path.to_string_lossy().contains("evil")), "{name}");
        }
    }
}

/// Names of files become names of images; none of them may leave the folder or hide.
#[test]
fn odd_names_stay_within_the_folder() {
    let place = Place::new(1);
    for name in ["..", "a b\nc", "ünï", "-rf", "x;rm $HOME `id`"] {
        fs::write(place.path("raw/img").join(format!("{name}.png")), png(&picture(5))).unwrap();
        fs::write(place.path("raw/seg").join(format!("{name}.png")), png(&mask(5))).unwrap();
    }
    let output = place.changes_only_out(|| place.convert(&[]));
    assert_success(&output);
    for path in snapshot(&place.path("out/images")).into_keys() {
        let name = path.to_string_lossy().into_owned();
        assert!(name.starts_with("Pairs__") && !name.contains(['\n', '`', '$', ';']), "{name}");
    }
}
