//! The cache of the Hugging Face Hub, as its library lays it out: `models--ORG--NAME` with `refs` (a revision's
//! commit), `snapshots` (a folder of links per commit) and `blobs`. Nothing is downloaded.

use std::{
    env, fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sonotune_base::words::listed;

/// What the short form of a repository begins with.
pub(super) const SHORT: &str = "hf:";

const PREFIX: &str = "models--";
const SHOWN: usize = 6;

/// Whether a folder is a repository in the cache.
pub(super) fn is_cached(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && folder.join("snapshots").is_dir()
}

/// `ORG/NAME[@REVISION][/FILE]`.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    organisation: &'a str,
    name: &'a str,
    revision: Option<&'a str>,
    file: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let expected = "expected hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME@REVISION/FILE";
        let (organisation, rest) = text.split_once('/').context(expected)?;
        let (name, file) = match rest.split_once('/') {
            Some((name, file)) => (name, Some(file)),
            None => (rest, None),
        };
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (name, None),
        };
        let is_plain = |text: &str| {
            !text.is_empty()
                && !text.starts_with('.')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let parts = [Some(organisation), Some(name), revision];
        ensure!(parts.into_iter().flatten().all(is_plain), "{expected}");
        ensure!(file.is_none_or(|file| is_below(Path::new(file))), "{expected}");
        Ok(Self { organisation, name, revision, file })
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.organisation, self.name)
    }

    /// The command that puts it into the cache.
    fn command(&self) -> String {
        let mut command = format!("hf download {}", self.repository());
        for (option, value) in [(" ", self.file), (" --revision ", self.revision)] {
            command += &value.map_or_else(String::new, |value| format!("{option}{value}"));
        }
        command
    }
}

/// The snapshot, or what the reference names in it.
pub(super) fn find(short: &str) -> Result<PathBuf> {
    let reference = Reference::parse(short)?;
    let cache = cache()?;
    let folder = cache.join(format!("{PREFIX}{}--{}", reference.organisation, reference.name));
    let command = reference.command();
    let remedy =
        format!("nothing is downloaded here: run `{command}` (of `pip install huggingface_hub`)");
    ensure!(folder.is_dir(), "not in the cache {}; {remedy}", cache.display());
    let snapshot = snapshot(&folder, reference.revision)
        .map_err(|error| anyhow!("{}: {error:#}; {remedy}", folder.display()))?;
    let Some(file) = reference.file else { return Ok(snapshot) };
    let path = super::present(snapshot.join(file))?;
    ensure!(path.exists(), "the snapshot {} has no {file}; {remedy}", snapshot.display());
    Ok(path)
}

/// The cache's folder, from the variables that `huggingface_hub` reads.
fn cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let from = |name: &str, below: &str| set(name).map(|folder| folder.join(below));
    set("HF_HUB_CACHE")
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| from("HF_HOME", "hub"))
        .or_else(|| from("XDG_CACHE_HOME", "huggingface/hub"))
        .or_else(|| from("HOME", ".cache/huggingface/hub"))
        .context("where the cache is, is not known: set HF_HUB_CACHE to its folder")
}

/// The folder of a revision's files: `main` unless another one is named, or the only one there.
pub(super) fn snapshot(folder: &Path, revision: Option<&str>) -> Result<PathBuf> {
    let snapshots = folder.join("snapshots");
    let name = revision.unwrap_or("main");
    let reference = folder.join("refs").join(name);
    if let Ok(commit) = fs::read_to_string(&reference) {
        let commit = commit.trim();
        let is_name = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
        ensure!(is_name, "{}: expected a commit, got {commit:?}", reference.display());
        let snapshot = snapshots.join(commit);
        ensure!(
            snapshot.is_dir(),
            "{} names commit {commit}, but {} is not there: download the repository again",
            reference.display(),
            snapshot.display()
        );
        return Ok(snapshot);
    }
    let mut there = commits(&snapshots);
    if let Some(revision) = revision {
        if there.iter().any(|commit| commit == revision) {
            return Ok(snapshots.join(revision));
        }
        bail!("revision {revision} is not there; {}", held(&there));
    }
    match (there.pop(), there.is_empty()) {
        (Some(only), true) => Ok(snapshots.join(only)),
        (None, _) => bail!("the folder holds no snapshot: download the repository again"),
        (Some(last), false) => {
            there.push(last);
            bail!(
                "the folder has no refs/main and several snapshots; {}: name the folder of one of them",
                held(&there)
            )
        }
    }
}

fn commits(snapshots: &Path) -> Vec<String> {
    let entries = fs::read_dir(snapshots).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn held(commits: &[String]) -> String {
    format!(
        "snapshots has {}",
        if commits.is_empty() { "none".to_owned() } else { listed(commits.iter(), SHOWN) }
    )
}

/// The command that downloads a file of the cache again.
pub(super) fn command_for(path: &Path) -> Option<String> {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let at = parts.iter().rposition(|part| part.starts_with(PREFIX))?;
    let repository = parts[at].strip_prefix(PREFIX)?.replacen("--", "/", 1);
    let (commit, file) = (parts.get(at + 2)?, parts.get(at + 3..)?.join("/"));
    Some(format!("hf download {repository} {file} --revision {commit}"))
}

/// Whether a relative path stays below the folder it is in.
pub(super) fn is_below(path: &Path) -> bool {
    path.components().next().is_some()
        && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_repository_and_perhaps_a_revision_and_a_file() {
        let all = Reference::parse("a/b.c@v1/d/e.pt").unwrap();
        assert_eq!(
            (all.repository().as_str(), all.revision, all.file),
            ("a/b.c", Some("v1"), Some("d/e.pt"))
        );
        assert_eq!(all.command(), "hf download a/b.c d/e.pt --revision v1");
        assert_eq!(Reference::parse("a/b").unwrap().command(), "hf download a/b");
    }

    #[test]
    fn a_reference_never_leaves_the_cache() {
        for bad in [
            "", "a", "/b", "a/", "a/..", "../b", "a/b@", "a/b@..", "a/b/", "a/b/../c", "a/b//c",
            "a/b c",
        ] {
            let parsed = Reference::parse(bad);
            assert!(parsed.is_err(), "{bad}: {parsed:?}");
        }
    }

    #[test]
    fn the_command_of_a_cached_file_names_its_repository_and_commit() {
        let path = Path::new("/c/models--org--a--b/snapshots/abc/model.safetensors");
        assert_eq!(
            command_for(path).unwrap(),
            "hf download org/a--b model.safetensors --revision abc"
        );
        assert_eq!(command_for(Path::new("/c/model.safetensors")), None);
    }
}
