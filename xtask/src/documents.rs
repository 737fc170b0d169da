//! Documents that must match the repository.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{process, workspace};

/// Every Markdown file of the project.
fn documents() -> Vec<PathBuf> {
    let root = workspace::root();
    let folders = [root.clone(), root.join("docs"), root.join("benches/peers")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    files.map(|entry| entry.path()).filter(|path| path.extension() == Some("md".as_ref())).collect()
}

/// Targets of `[text](target)` and `![text](target)`, without fragments.
fn link_targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split_once(')')?.0;
        Some(target.split_once('#').map_or(target, |(path, _)| path))
    })
}

#[test]
fn relative_links_lead_somewhere() {
    let documents = documents();
    assert!(documents.iter().any(|path| path.ends_with("README.md")));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for target in link_targets(&text) {
            let elsewhere = target.is_empty() || target.contains("://");
            assert!(
                elsewhere || folder.join(target).exists(),
                "{} links to {target}, which is not there",
                document.display()
            );
        }
    }
}

#[test]
fn every_dependency_has_its_reason_and_every_reason_its_dependency() {
    let packages = [packages("Cargo.toml"), packages("fuzz/Cargo.toml")].concat();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let own: BTreeSet<String> = packages.iter().map(|p| text(&p["name"])).collect();
    let used: BTreeSet<String> = packages
        .iter()
        .flat_map(|package| package["dependencies"].as_array().unwrap())
        .map(|dependency| text(&dependency["name"]))
        .filter(|name| !own.contains(name))
        .collect();
    let named = named_in(&workspace::root().join("docs/dependencies.md"));
    let named: BTreeSet<String> = named.difference(&own).cloned().collect();
    let unexplained: Vec<_> = used.difference(&named).collect();
    let gone: Vec<_> = named.difference(&used).collect();
    assert!(
        unexplained.is_empty() && gone.is_empty(),
        "docs/dependencies.md: no reason for {unexplained:?}; no longer used: {gone:?}"
    );
}

/// The packages of a workspace, as `cargo metadata` describes them.
fn packages(manifest: &str) -> Vec<serde_json::Value> {
    let mut cargo = process::cargo();
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    cargo.args(["--manifest-path", manifest]);
    let metadata: serde_json::Value =
        serde_json::from_str(&process::output(&mut cargo).unwrap()).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Names in back quotes in the first column of the tables of crates.
fn named_in(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .take_while(|line| *line != "## Python packages")
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" |").map(|(names, _)| names))
        .flat_map(|names| names.split('`').step_by(2))
        .map(str::to_owned)
        .collect()
}
