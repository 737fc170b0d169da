//! The rules on small planted trees, and on this repository.

use std::fs;

use tempfile::TempDir;

use super::faults;
use crate::workspace;

/// A workspace that breaks no rule: `low` ← `high` ← `plug`, `end`, and the program `app`.
const CLEAN: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[workspace]\nmembers = [\"src/low\", \"src/high\", \"src/end\", \"plugins/*\"]\n\
         [workspace.dependencies]\nlow = { package = \"t-low\", path = \"src/low\" }\n\
         [package]\nname = \"app\"\n[dependencies]\nplug = \"1\"\n",
    ),
    ("src/main.rs", "fn main() {}"),
    ("src/low/Cargo.toml", "[package]\nname = \"t-low\"\n[lib]\npath = \"lib.rs\"\n"),
    ("src/low/lib.rs", "mod error;\npub mod coco;\npub use error::Error;\npub use coco::File;"),
    ("src/low/error.rs", "pub struct Error;"),
    ("src/low/coco/mod.rs", "use crate::Error;\nmod part;"),
    ("src/low/coco/part.rs", "use super::super::error;"),
    (
        "src/high/Cargo.toml",
        "[package]\nname = \"t-high\"\n[lib]\npath = \"lib.rs\"\n[dependencies]\n\
         low.workspace = true\ntch = \"1\"\n",
    ),
    ("src/high/lib.rs", "unsafe extern \"C\" {}"),
    ("src/end/Cargo.toml", "[package]\nname = \"t-end\"\n[dependencies]\nt-high = \"1\"\n"),
    ("src/end/src/lib.rs", ""),
    ("plugins/plug/Cargo.toml", "[package]\nname = \"plug\"\n[dependencies]\nt-high = \"1\"\n"),
    ("plugins/plug/src/lib.rs", ""),
    (
        "xtask/layers.toml",
        "libtorch = [\"tch\"]\nwithout_libtorch = [{ name = \"t-low\" }]\n\
         with_libtorch = [\n    { name = \"t-high\", unsafe = true },\n    \
         { name = \"plug\", known_to = [\"app\"] },\n    { name = \"t-end\" },\n    { name = \"app\" },\n]\n",
    ),
    (
        "xtask/words.toml",
        "habits = [\n    { phrase = '\\bfrobs? the', better = \"uses the\" },\n    \
         { phrase = '\\w+ grumps', unless = '^no ', known = 1, better = \"none\" },\n]\n",
    ),
];

/// The faults of the clean tree with `files` added to it or in place of its own.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let root = TempDir::new().unwrap();
    for (path, text) in CLEAN.iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    faults(root.path()).unwrap()
}

/// A file of the clean tree with `more` at its end.
fn and(path: &str, more: &str) -> String {
    let (_, text) = CLEAN.iter().find(|(known, _)| *known == path).unwrap();
    format!("{text}{more}")
}

/// The order of the clean tree with `from` replaced.
fn layers(from: &str, to: &str) -> String {
    let text = and("xtask/layers.toml", "");
    assert!(text.contains(from), "{text}");
    text.replace(from, to)
}

#[test]
fn this_repository_breaks_no_rule() {
    let faults = faults(&workspace::root()).unwrap();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_tree_in_order_passes() {
    assert_eq!(planted(&[]), [""; 0]);
}

#[test]
fn other_names_and_other_sections_hide_no_dependency() {
    let more = "[build-dependencies]\nx = { package = \"t-high\", path = \"../high\" }\n\
                [target.'cfg(unix)'.dependencies]\nt-end.workspace = true\n";
    let faults = planted(&[("src/low/Cargo.toml", &and("src/low/Cargo.toml", more))]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("src/low/Cargo.toml:6: t-low depends on t-high, "), "{faults:?}");
    assert!(faults[1].starts_with("src/low/Cargo.toml:8: t-low depends on t-end, "), "{faults:?}");
}

#[test]
fn a_dependency_that_the_order_forbids_is_refused() {
    for (path, more, expected) in [
        (
            "src/low/Cargo.toml",
            "[dependencies]\nt-high = { path = \"../high\" }\n",
            "src/low/Cargo.toml:6: t-low depends on t-high, which is above it in xtask/layers.toml. \
             Move what both need into t-low or a crate below it, or let t-high pass it in.",
        ),
        // Tests may use their own crate and none above it.
        (
            "src/low/Cargo.toml",
            "[dev-dependencies]\nt-low = { path = \".\" }\nt-high = \"1\"\n",
            "src/low/Cargo.toml:7: t-low depends for its tests on t-high, which is above it in \
             xtask/layers.toml. Move these tests into t-high, or into tests/ if they start the \
             program.",
        ),
        (
            "src/low/Cargo.toml",
            "[dependencies]\ntch.workspace = true\n",
            "src/low/Cargo.toml:6: t-low depends on tch, but builds without libtorch. Move the code \
             that needs tensors into a crate of `with_libtorch` in xtask/layers.toml.",
        ),
        // Only the program knows a plugin.
        (
            "src/end/Cargo.toml",
            "plug = \"1\"\n",
            "src/end/Cargo.toml:5: t-end depends on plug, which `known_to` in xtask/layers.toml \
             keeps from it. Go through a trait that plug implements.",
        ),
    ] {
        assert_eq!(planted(&[(path, &and(path, more))]), [expected]);
    }
}

#[test]
fn the_order_lists_the_members_and_nothing_else() {
    let text = layers("{ name = \"t-end\" }", "{ name = \"t-old\" }");
    let expected = [
        "src/end/Cargo.toml: t-end is not in xtask/layers.toml. Add a line after everything it \
         depends on.",
        "xtask/layers.toml: t-old is not a member of the workspace. Delete or rename its line.",
    ];
    assert_eq!(planted(&[("xtask/layers.toml", &text)]), expected);
}

#[test]
fn two_folders_that_import_each_other_are_a_cycle() {
    let files = [
        ("src/low/lib.rs", "mod a;\nmod b;\nmod c;"),
        ("src/low/a/mod.rs", "mod deep;"),
        ("src/low/a/deep.rs", "\nuse crate::{\n    c,\n    b::{B},\n};"),
        ("src/low/b/mod.rs", "fn f() {\n    g!(crate::a::deep::A)\n}\nuse super::c::C;"),
        ("src/low/c.rs", ""),
    ];
    let expected = "src/low: modules of t-low import each other:\n  a → b: src/low/a/deep.rs:4\n  \
                    b → a: src/low/b/mod.rs:2\n  Move what both need into a module that imports \
                    neither, or pass it in.";
    assert_eq!(planted(&files), [expected]);
    let known = layers("\"t-low\"", "\"t-low\", known_cycles = [[\"a\", \"b\"]]");
    assert_eq!(planted(&[&files[..], &[("xtask/layers.toml", &known)]].concat()), [""; 0]);
}

#[test]
fn super_leads_to_a_cycle_and_the_knot_is_named() {
    let files = [
        ("src/low/lib.rs", "mod a;\nmod b;\nmod c;"),
        ("src/low/a.rs", "use super::b;"),
        ("src/low/b/mod.rs", "mod deep { use super::super::a; }\nuse super::c;"),
        ("src/low/c.rs", "use super::a;"),
    ];
    let expected = "src/low: modules of t-low import each other:\n  a → b: src/low/a.rs:1\n  \
                    b → a: src/low/b/mod.rs:1\n  This is one circle of several among a, b, c.\n  \
                    Move what both need into a module that imports neither, or pass it in.";
    assert_eq!(planted(&files), [expected]);
}

#[test]
fn a_re_export_of_the_root_leads_to_its_module() {
    let error = [("src/low/error.rs", "pub struct Error;\nfn f(file: &crate::File) {}")];
    let expected = "src/low: modules of t-low import each other:\n  \
                    coco → error: src/low/coco/mod.rs:1\n  error → coco: src/low/error.rs:2\n  \
                    Move what both need into a module that imports neither, or pass it in.";
    assert_eq!(planted(&error), [expected]);
    let glob = ("src/low/lib.rs", "mod error;\nmod coco;\npub use error::*;\npub use coco::File;");
    let expected = "src/low/lib.rs: re-exports everything in `error`. Name the items.";
    assert_eq!(planted(&[glob]), [expected]);
}

#[test]
fn what_another_crate_or_the_root_defines_is_no_edge() {
    let files = [
        ("src/low/lib.rs", "mod error;\npub mod coco;\npub use base::File;\npub struct Error;"),
        ("src/low/error.rs", "use crate::{File, coco};"),
    ];
    let cleared = ("src/low/coco/part.rs", "#[cfg(test)]\nmod tests { use crate::error; }");
    assert_eq!(planted(&[files[0], files[1], cleared]), [""; 0]);
}

#[test]
fn files_of_tests_may_import_anything() {
    let files = [
        ("src/low/lib.rs", "mod a;\nmod b;"),
        ("src/low/a/mod.rs", "use crate::b;"),
        (
            "src/low/b/mod.rs",
            "#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod c;\n#[cfg(test)]\nmod tests;",
        ),
        ("src/low/b/c_tests.rs", "use crate::a;"),
        ("src/low/b/tests.rs", "use crate::a;"),
        ("src/low/tests/whole.rs", "use crate::a;"),
    ];
    assert_eq!(planted(&files), [""; 0]);
}

#[test]
fn an_import_of_everything_in_the_root_is_refused() {
    let expected = "src/low/error.rs:1: imports everything in the crate's root, which hides what it \
                    needs. Name the items.";
    assert_eq!(planted(&[("src/low/error.rs", "use super::*;")]), [expected]);
}

#[test]
fn a_known_cycle_that_is_gone_is_struck_off() {
    let text = layers("\"t-low\"", "\"t-low\", known_cycles = [[\"coco\", \"error\"]]");
    let expected = "xtask/layers.toml: t-low: coco, error no longer import each other. Delete this \
                    entry of `known_cycles`.";
    assert_eq!(planted(&[("xtask/layers.toml", &text)]), [expected]);
}

#[test]
fn a_large_crate_needs_a_reason_and_a_small_one_none() {
    let large = "fn f() {}\n".repeat(15_001);
    let file = ("src/end/tests/all.rs", large.as_str());
    let expected = "src/end: t-end has 15001 lines of Rust, more than 15000. Split off a crate, or \
                    give a `size_reason` in xtask/layers.toml.";
    assert_eq!(planted(&[file]), [expected]);
    let excused = layers("\"t-end\"", "\"t-end\", size_reason = \"generated tables\"");
    assert_eq!(planted(&[file, ("xtask/layers.toml", &excused)]), [""; 0]);
    let expected = "xtask/layers.toml: t-end has only 0 lines of Rust. Delete its `size_reason`.";
    assert_eq!(planted(&[("xtask/layers.toml", &excused)]), [expected]);
}

#[test]
fn a_crate_within_a_crate_counts_for_itself() {
    let half = "fn f() {}\n".repeat(8_000);
    let nested = [
        ("src/end/src/all.rs", half.as_str()),
        ("src/end/inner/Cargo.toml", "[package]\nname = \"inner\"\n"),
        ("src/end/inner/src/lib.rs", &half),
    ];
    assert_eq!(planted(&nested), [""; 0]);
}

#[test]
fn unsafe_code_stays_in_its_crate() {
    let text = "//! unsafe\nfn f() -> &'static str {\n    \"unsafe\"\n}\nunsafe fn g() {}";
    let expected = "src/end/src/lib.rs:5: `unsafe` is not allowed here. Move it into t-high.";
    assert_eq!(planted(&[("src/end/src/lib.rs", text)]), [expected]);
}

#[test]
fn a_phrase_is_found_in_comments_strings_and_documents() {
    let rust = "//! It always frobs\n//! the file.\n\nfn frob_the() -> &'static str {\n    \
                \"We frob \\\n     the rest\"\n}\n";
    let files = [
        ("src/end/src/lib.rs", rust),
        ("docs/a.md", "# A\n\nIt\nfrobs\nthe file.\n\nfrobs\n\nthe"),
        ("configs/a.toml", "a = 1 # frobs the value\n"),
        ("CHANGELOG.md", "frobs the past"),
        ("tests/fixtures/a.md", "frobs the fixture"),
    ];
    let better = "better: uses the";
    let expected = [
        format!("src/end/src/lib.rs:1: \"frobs the\"; {better}"),
        format!("src/end/src/lib.rs:5: \"frob the\"; {better}"),
        format!("configs/a.toml:1: \"frobs the\"; {better}"),
        format!("docs/a.md:4: \"frobs the\"; {better}"),
    ];
    assert_eq!(planted(&files), expected);
}

#[test]
fn good_english_and_known_hits_pass() {
    let one = ("docs/a.md", "There are no grumps, but some grumps.");
    assert_eq!(planted(&[one]), [""; 0]);
    let expected = [
        "docs/a.md:1: \"some grumps\"; better: none",
        "docs/b.md:1: \"more grumps\"; better: none",
    ];
    assert_eq!(planted(&[one, ("docs/b.md", "more grumps")]), expected);
}

#[test]
fn a_file_that_is_not_rust_is_named() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("a.rs"), "\nfn f( {").unwrap();
    let tree = super::tree::Tree::read(root.path()).unwrap();
    let error = super::source::read_all(&tree).err().unwrap().to_string();
    assert!(error.starts_with("a.rs:2: cannot be read as Rust: "), "{error}");
}

#[test]
fn what_tests_of_several_crates_share_may_be_above_those_that_it_names() {
    let more = "[dev-dependencies]\nt-high = \"1\"\n";
    let low = and("src/low/Cargo.toml", more);
    let named = layers("\"t-high\", unsafe", "\"t-high\", for_tests_of = [\"t-low\"], unsafe");
    let files = [("src/low/Cargo.toml", low.as_str()), ("xtask/layers.toml", named.as_str())];
    assert_eq!(planted(&files), [""; 0]);
}
