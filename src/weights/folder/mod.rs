//! Which file a path means: a file itself, the weights in a folder, or what the Hugging Face cache holds.

mod hub;
mod index;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sonotune_base::{Error, words::listed};

pub(super) use index::Index;

/// Names that libraries look for, in the order in which they are chosen from.
const KNOWN: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];

/// Endings of files that can hold weights, in lower case.
const ENDINGS: [&str; 6] = ["safetensors", "pth", "pt", "bin", "ckpt", "pkl"];

/// What such folders hold beside the weights, under an ending of [`ENDINGS`].
const NO_WEIGHTS: [&str; 4] =
    ["training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin"];

/// Names that a message lists.
const SHOWN: usize = 6;

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Located {
    File(PathBuf),
    /// Several files that together hold one state dict.
    Shards(Index),
}

impl Located {
    /// The file that stands for the weights: the only one, or the index.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Shards(index) => &index.path,
        }
    }

    /// The files that hold the tensors.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::File(path) => vec![path.clone()],
            Self::Shards(index) => index.files(),
        }
    }
}

/// Where the weights that a user names are.
///
/// A file is taken as it is, an index (`….index.json`) stands for its shards. In a folder, the first of
/// [`KNOWN`] is taken, otherwise the only file of weights. A folder of the Hugging Face cache
/// (`models--ORG--NAME`) leads to the snapshot of `main`, and `hf:ORG/NAME[@REVISION][/FILE]` to such a folder.
///
/// # Errors
/// When nothing is there, a folder holds none or several that could be meant, or an index is unusable.
pub(super) fn locate(path: &Path) -> Result<Located> {
    match path.to_str().and_then(|text| text.strip_prefix(hub::SHORT)) {
        Some(short) => locate_file(hub::find(short)?),
        None if hub::is_cached(path) => locate_file(in_folder(&hub::snapshot(path, None)?)?),
        None if path.is_dir() => locate_file(in_folder(path)?),
        None => locate_file(path.to_owned()),
    }
}

fn locate_file(path: PathBuf) -> Result<Located> {
    if path.is_dir() {
        return locate_file(in_folder(&path)?);
    }
    if path.to_string_lossy().ends_with(".index.json") {
        let index = Index::read(&path).with_context(|| path.display().to_string())?;
        return Ok(Located::Shards(index));
    }
    Ok(Located::File(path))
}

/// The file of weights, or the index, in a folder.
fn in_folder(folder: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot list the folder {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        names.push(entry.with_context(cannot)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if let Some(known) = KNOWN.iter().find(|known| names.iter().any(|name| name == *known)) {
        return present(folder.join(known));
    }
    let candidates: Vec<_> = names.iter().filter(|name| may_hold_weights(name)).collect();
    match candidates[..] {
        [only] => present(folder.join(only)),
        [] => bail!("{}", none_there(folder, &names)),
        [first, ..] => bail!(
            "the folder holds several files of weights, {}, and none has a name that libraries look for \
             ({}): name one of them, for example {}",
            listed(candidates.iter(), SHOWN),
            KNOWN.join(", "),
            folder.join(first).display()
        ),
    }
}

/// Whether a file of this name can hold weights, by its ending.
#[must_use]
pub fn may_hold_weights(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && !NO_WEIGHTS.contains(&name)
}

/// Refuses a link of the cache whose file is gone.
fn present(path: PathBuf) -> Result<PathBuf> {
    match fs::read_link(&path) {
        Ok(target) if !path.exists() => bail!(
            "{} is a link to {}, which is not there: the download was interrupted or the cache was cleaned; \
             download it again{}",
            path.display(),
            target.display(),
            hub::command_for(&path)
                .map_or_else(String::new, |command| format!(" with `{command}`"))
        ),
        _ => Ok(path),
    }
}

fn none_there(folder: &Path, names: &[String]) -> String {
    if folder.join("checkpoints").is_dir() && folder.join("config.toml").is_file() {
        return format!(
            "it is the folder of a run: name one of its checkpoints, for example {}",
            folder.join("checkpoints/best.safetensors").display()
        );
    }
    let held = match names {
        [] => "it is empty".to_owned(),
        names => format!("it holds {}", listed(names.iter(), SHOWN)),
    };
    format!(
        "the folder holds no weights: expected {}, or one file that ends in .{}; {held}",
        KNOWN.join(", "),
        ENDINGS.join(", .")
    )
}

/// Checks that the weights a user names are there, without reading them.
///
/// # Errors
/// Names the path and what is missing.
pub fn check_present(path: &Path) -> Result<()> {
    let located =
        locate(path).map_err(|error| Error::weights(format!("{}: {error:#}", path.display())))?;
    match located.files().iter().find(|file| !file.is_file()) {
        None => Ok(()),
        Some(file) => Err(Error::weights(format!("{} is not there", file.display())).into()),
    }
}
