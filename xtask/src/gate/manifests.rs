//! The workspace's manifests: its members, and what each depends on.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use toml::de::{DeTable, DeValue};

/// One crate of the workspace; paths are relative to the repository's root.
pub(super) struct Member {
    pub(super) name: String,
    /// Empty for the root package.
    pub(super) folder: PathBuf,
    /// `lib.rs`, or `main.rs` of a package that is only a program.
    pub(super) crate_root: PathBuf,
    pub(super) dependencies: Vec<Dependency>,
}

pub(super) struct Dependency {
    /// The package, whatever name it has in this manifest.
    pub(super) package: String,
    pub(super) for_tests: bool,
    /// Line of the manifest, from 1.
    pub(super) line: usize,
}

impl Member {
    pub(super) fn manifest(&self) -> String {
        self.folder.join("Cargo.toml").display().to_string()
    }

    /// The folder as messages name it.
    pub(super) fn shown(&self) -> String {
        let folder = self.folder.display().to_string();
        if folder.is_empty() { "the root package".to_owned() } else { folder }
    }
}

/// The packages that the root manifest lists, and its own.
///
/// # Errors
/// When a manifest cannot be read, is malformed, or lacks what Cargo asks for.
pub(super) fn members(root: &Path) -> Result<Vec<Member>> {
    let text = read(root, Path::new(""))?;
    let document = parse(&text, Path::new(""))?;
    let workspace = table(&document, "workspace").context("Cargo.toml has no [workspace]")?;
    let renamed = renamed(workspace);
    let patterns = workspace.get("members").and_then(|members| members.get_ref().as_array());
    let mut folders = vec![];
    if document.contains_key("package") {
        folders.push(PathBuf::new());
    }
    for pattern in patterns.into_iter().flatten().filter_map(|member| member.get_ref().as_str()) {
        folders.extend(expand(root, pattern)?);
    }
    folders.iter().map(|folder| member(root, folder, &renamed)).collect()
}

/// The folders that an entry of `members` stands for: itself, or everything inside `plugins/*`.
fn expand(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let Some(parent) = pattern.strip_suffix("/*") else {
        return Ok(vec![pattern.into()]);
    };
    let entries =
        fs::read_dir(root.join(parent)).with_context(|| format!("cannot list {parent}"))?;
    let names = entries.flatten().map(|entry| Path::new(parent).join(entry.file_name()));
    let mut folders: Vec<_> =
        names.filter(|folder| root.join(folder).join("Cargo.toml").exists()).collect();
    folders.sort();
    Ok(folders)
}

/// Dependencies of the workspace that have another name there than their package has.
fn renamed(workspace: &DeTable<'_>) -> BTreeMap<String, String> {
    let dependencies = table(workspace, "dependencies").into_iter().flatten();
    dependencies
        .filter_map(|(key, value)| Some((key.get_ref().to_string(), package_key(value.get_ref())?)))
        .collect()
}

fn member(root: &Path, folder: &Path, renamed: &BTreeMap<String, String>) -> Result<Member> {
    let text = read(root, folder)?;
    let document = parse(&text, folder)?;
    let name = table(&document, "package").and_then(|package| package.get("name"));
    let name = name.and_then(|name| name.get_ref().as_str());
    let library = table(&document, "lib").and_then(|library| library.get("path"));
    let library = library.and_then(|path| path.get_ref().as_str()).map(|path| folder.join(path));
    let usual = [folder.join("src/lib.rs"), folder.join("src/main.rs")];
    let crate_root = library.into_iter().chain(usual).find(|path| root.join(path).exists());
    let shown = folder.join("Cargo.toml").display().to_string();
    Ok(Member {
        name: name.with_context(|| format!("{shown}: no package.name"))?.to_owned(),
        folder: folder.to_path_buf(),
        crate_root: crate_root.with_context(|| format!("{shown}: no lib.rs and no main.rs"))?,
        dependencies: dependencies(&document, &text, renamed),
    })
}

/// Dependencies of every kind and for every target, by line.
fn dependencies(
    document: &DeTable<'_>,
    text: &str,
    renamed: &BTreeMap<String, String>,
) -> Vec<Dependency> {
    let targets = table(document, "target").into_iter().flatten();
    let targets = targets.filter_map(|(_, target)| target.get_ref().as_table());
    let mut found = Vec::new();
    for place in std::iter::once(document).chain(targets) {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (key, value) in table(place, section).into_iter().flatten() {
                let name = key.get_ref().as_ref();
                let package = package_key(value.get_ref())
                    .or_else(|| renamed.get(name).cloned())
                    .unwrap_or_else(|| name.to_owned());
                let line = 1 + text[..key.span().start].matches('\n').count();
                let for_tests = section == "dev-dependencies";
                found.push(Dependency { package, for_tests, line });
            }
        }
    }
    found.sort_by_key(|dependency| dependency.line);
    found
}

/// `package = "…"` of a dependency.
fn package_key(dependency: &DeValue<'_>) -> Option<String> {
    Some(dependency.as_table()?.get("package")?.get_ref().as_str()?.to_owned())
}

fn table<'t, 'i>(parent: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
    parent.get(key)?.get_ref().as_table()
}

fn read(root: &Path, folder: &Path) -> Result<String> {
    let path = folder.join("Cargo.toml");
    fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {}", path.display()))
}

fn parse<'t>(text: &'t str, folder: &Path) -> Result<DeTable<'t>> {
    let document = DeTable::parse(text);
    Ok(document.with_context(|| format!("parsing {}/Cargo.toml", folder.display()))?.into_inner())
}
