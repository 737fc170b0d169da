//! The licences of what is compiled into the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::process;

/// Beginnings of the names of files that hold terms or names to be passed on.
const NAMES: [&str; 5] = ["license", "licence", "copying", "notice", "copyright"];

/// Every crate of others that the program is made of, with its licence, and after that the texts, each once.
///
/// # Errors
/// If Cargo cannot name the crates.
pub(super) fn third_party() -> Result<String> {
    let mut text = String::from(
        "Sonotune's program contains the following crates, each under the licence that is named with it. The texts \
         follow below.\n\n",
    );
    let mut texts = BTreeMap::<String, BTreeSet<String>>::new();
    for package in linked()? {
        let _ = writeln!(text, "{} {}: {}", package.name, package.version, package.licence);
        for content in files(&package.folder)? {
            texts.entry(content).or_default().insert(package.name.clone());
        }
    }
    for (content, packages) in texts {
        let names: Vec<_> = packages.into_iter().collect();
        let _ = write!(text, "\n{}\n{}\n\n{}\n", "-".repeat(80), names.join(", "), content.trim());
    }
    Ok(text)
}

struct Package {
    name: String,
    version: String,
    licence: String,
    folder: PathBuf,
}

/// Packages of others that `sonotune` links on this platform.
fn linked() -> Result<Vec<Package>> {
    let mut tree = process::cargo();
    tree.args(["tree", "--package", "sonotune", "--edges", "normal", "--prefix", "none"]);
    tree.args(["--offline", "--format", "{p}"]);
    let tree = process::output(&mut tree)?;
    // `name v1.2.3`, and more behind it for macros and path dependencies.
    let linked: BTreeSet<(String, String)> = tree
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .map(|(name, rest)| {
            (name.to_owned(), rest.split(' ').next().unwrap_or_default().to_owned())
        })
        .collect();
    let mut metadata = process::cargo();
    metadata.args(["metadata", "--format-version", "1", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&process::output(&mut metadata)?)
        .context("cargo metadata's answer")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let text = |package: &serde_json::Value, key: &str| {
        package[key].as_str().unwrap_or_default().to_owned()
    };
    Ok(packages
        .iter()
        .filter(|package| package["source"].is_string())
        .filter(|package| linked.contains(&(text(package, "name"), text(package, "version"))))
        .map(|package| Package {
            name: text(package, "name"),
            version: text(package, "version"),
            licence: match text(package, "license") {
                none if none.is_empty() => "see its text below".to_owned(),
                licence => licence,
            },
            folder: Path::new(&text(package, "manifest_path"))
                .parent()
                .map(Path::to_path_buf)
                .unwrap_or_default(),
        })
        .collect())
}

/// Contents of the files in `folder` that hold its terms.
fn files(folder: &Path) -> Result<Vec<String>> {
    let place = || format!("cannot list {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(place)? {
        let path = entry.with_context(place)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            found.push(String::from_utf8_lossy(&fs::read(&path)?).into_owned());
        }
    }
    Ok(found)
}
