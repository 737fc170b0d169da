//! Checks that `docs/datasets.md` matches the specs.

use serde::de::DeserializeOwned;

use super::*;
use sonotune_formats::{Intensity, polygon::PolygonRule, volume::View};

const DOCUMENT: &str = include_str!("../../../docs/datasets.md");

/// The part of the document below this heading, up to the next one.
#[track_caller]
fn section(heading: &str) -> &'static str {
    let (_, rest) = DOCUMENT
        .split_once(&format!("\n### {heading}\n"))
        .unwrap_or_else(|| panic!("docs/datasets.md has no heading `{heading}`"));
    rest.split("\n#").next().unwrap_or(rest)
}

/// Keys that `T` accepts: serde lists them in its error for an unknown one.
fn keys<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("no_such_key = 1").err().unwrap();
    quoted(error.message())
}

/// Words that `T` accepts.
fn words<T: DeserializeOwned>() -> Vec<String> {
    let error = T::deserialize(toml::Value::String("no_such_word".into())).err().unwrap();
    quoted(error.message())
}

fn quoted(message: &str) -> Vec<String> {
    assert!(message.starts_with("unknown "), "{message}");
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[track_caller]
fn are_rows(heading: &str, keys: Vec<String>) {
    assert!(!keys.is_empty(), "no keys for {heading}");
    let section = section(heading);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<&str> = rows.collect();
    for key in &keys {
        assert!(rows.contains(&key.as_str()), "`{heading}` has no row for `{key}`");
    }
    for row in rows {
        assert!(keys.iter().any(|key| key == row), "`{heading}`: no such key `{row}`");
    }
}

#[track_caller]
fn are_named(heading: &str, words: Vec<String>) {
    // Words within backquotes.
    let code = section(heading).split('`').skip(1).step_by(2);
    let told: Vec<&str> = code
        .flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    for word in words {
        assert!(told.contains(&word.as_str()), "`{heading}` lacks `{word}`");
    }
}

#[test]
fn every_key_has_its_row_and_every_row_its_key() {
    are_rows("The dataset", keys::<Spec>());
    are_rows("Files and keys", keys::<Files>());
    are_rows("Masks", keys::<MaskRule>());
    are_rows("`[[tables]]`", keys::<Table>());
    are_rows("`[rasters]`", keys::<Rasters>());
    are_rows("`[volumes]`", keys::<Volumes>());
    are_rows("`[outlines]`", [keys::<Outlines>(), keys::<OutlineRule>()].concat());
    are_rows("`[coco]`", [keys::<Coco>(), keys::<CocoAnnotations>()].concat());
    are_rows("`[tracings]`", keys::<Tracings>());
    are_rows("`[frames]`", [keys::<Frames>(), keys::<FrameMaskRule>()].concat());
    are_rows("`[npy_stacks]`", keys::<NpyStacks>());
    are_rows("`[npy_dicts]`", keys::<NpyDicts>());
    are_rows("`[hdf5]`", keys::<Hdf5Stacks>());
}

#[test]
fn every_word_is_named() {
    are_named("The dataset", [words::<Access>(), words::<Empty>(), words::<FullFrame>()].concat());
    are_named("The dataset", [keys::<Category>(), keys::<sonotune_archive::Inner>()].concat());
    are_named("Files and keys", [words::<Duplicates>(), words::<Unpaired>()].concat());
    are_named("Masks", [words::<Decode>(), words::<Clean>(), words::<Resize>()].concat());
    are_named("Masks", [keys::<Class>(), keys::<Opening>(), words::<Compare>()].concat());
    are_named("`[[tables]]`", words::<TableFormat>());
    are_named("`[volumes]`", [words::<View>(), words::<Intensity>()].concat());
    are_named("`[volumes]`", [words::<Flip>(), words::<Clear>()].concat());
    are_named("`[volumes]`", words::<GeometryRule>());
    are_named("`[outlines]`", [words::<OutlineFormat>(), words::<PolygonRule>()].concat());
    are_named("`[outlines]`", words::<Sizes>());
    are_named("`[tracings]`", words::<TracingPoints>());
    are_named("Defects", keys::<Defect>());
}

/// Converts with the document's complete example, on the source tree that the document shows.
#[test]
fn the_example_converts() {
    let (_, rest) = DOCUMENT.split_once("```toml\n# mine.toml\n").unwrap();
    let spec = rest.split("```").next().unwrap();
    let spec = Spec::parse(spec, "mine.toml", &Choice::AsIntended).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("scans");
    for name in ["P01_left", "P01_right", "P02_left"] {
        for (folder, value) in [("images", 70), ("masks", 255)] {
            let mut data = vec![0; 64];
            data[9..12].fill(value);
            let pixels = crate::Pixels { height: 8, width: 8, channels: 1, data };
            std::fs::create_dir_all(source.join(folder)).unwrap();
            let path = source.join(folder).join(format!("{name}.png"));
            std::fs::write(path, crate::png::encode(&pixels).unwrap()).unwrap();
        }
    }
    let out = folder.path().join("mine");
    let options = crate::convert::Options::default();
    let stop = sonotune_base::stop::StopFlag::default();
    crate::convert::convert(&spec, &source, &out, &options, &|_| {}, &stop).unwrap();
    let file = sonotune_coco::CocoFile::read(&out.join("annotations/all.json")).unwrap();
    assert_eq!((file.images.len(), file.annotations.len()), (3, 3));
    assert_eq!(file.images[0].file_name, "MINE__P01_left.png");
    assert_eq!(file.images[0].provenance.patient.as_deref(), Some("P01"));
}

/// The table of US-43d matches the specs.
#[test]
fn the_table_of_shipped_datasets_is_theirs() {
    let (_, rest) = DOCUMENT.split_once("<!-- shipped datasets -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- end -->").unwrap();
    let mut expected =
        "| spec | output | application | access | licence | defects |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for shipped in crate::us43d::shipped() {
        let spec = shipped.spec(&Choice::AsIntended).unwrap();
        let access = format!("{:?}", spec.access).to_lowercase();
        let defects: Vec<String> = spec.defects.keys().map(|name| format!("`{name}`")).collect();
        expected.push_str(&format!(
            "| [`{}`]({}) | {} | {} | {access} | {} | {} |\n",
            shipped.slug,
            spec.url,
            spec.name,
            spec.application,
            spec.licence,
            defects.join(", "),
        ));
    }
    assert!(
        table == expected,
        "docs/datasets.md is out of date; the table of the specs is\n{expected}"
    );
}
