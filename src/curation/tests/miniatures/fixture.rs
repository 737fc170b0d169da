//! A dataset in miniature: its raw files and what must come of them, as `tests/fixtures/us43d`
//! describes them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

/// One file of `tests/fixtures/us43d`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Miniature {
    /// Output name.
    pub(crate) name: String,
    /// The download: `x.zip`, `x.tar.gz`, or `x/` for a folder.
    pub(crate) source: String,
    /// `"1 breast_nodule nodule"`: id, name, supercategory.
    pub(crate) categories: Vec<String>,
    /// Height and width of its images, where a file does not say otherwise.
    pub(crate) size: [usize; 2],
    /// Formats of archives whose names do not tell.
    #[serde(default)]
    pub(crate) formats: BTreeMap<String, Packing>,
    /// How images and masks are turned.
    #[serde(default)]
    pub(crate) turn: Turn,
    /// Slices are taken along x instead of z.
    #[serde(default)]
    pub(crate) sagittal: bool,
    /// Grey levels beyond 8 bits are clipped instead of wrapped around.
    #[serde(default)]
    pub(crate) clips: bool,
    /// Raw files; `a.zip!b.png` lies in an archive within.
    pub(crate) files: Vec<RawFile>,
    /// In the order of the output.
    pub(crate) expected: Vec<Expected>,
    /// What else must be said of what was left out.
    #[serde(default)]
    pub(crate) left_out: LeftOut,
    /// What differs with the reference's defects.
    #[serde(default)]
    pub(crate) published: Vec<Published>,
    /// What may be wrong with the source.
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Packing {
    Rar,
    /// In parts of so many bytes.
    SplitZip(usize),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Turn {
    #[default]
    None,
    #[serde(rename = "half_turn")]
    Half,
    UpsideDown,
}

/// A raw file: an image or a volume where it has `seed` or `paint`, otherwise what its key says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    #[serde(default)]
    pub(crate) path: String,
    /// Background is a texture, another one for each seed, never 0; black without.
    pub(crate) seed: Option<u32>,
    /// `"255: rect 5 5 10 8"`, over one another; see [`super::shapes`].
    #[serde(default)]
    pub(crate) paint: Vec<String>,
    pub(crate) size: Option<[usize; 2]>,
    #[serde(default)]
    pub(crate) form: Form,
    /// Colours of the values painted, where the form is `palette`.
    #[serde(default)]
    pub(crate) palette: Vec<[u8; 3]>,
    /// Slices of a volume, frames of a video.
    pub(crate) planes: Option<usize>,
    /// Volumes of a series.
    pub(crate) volumes: Option<usize>,
    #[serde(default)]
    pub(crate) number: Number,
    /// The number stored for one grey level: 1/255 and a trace where floats go from 0 to 1, so that
    /// cutting off and rounding come to the same.
    pub(crate) scale: Option<f64>,
    pub(crate) text: Option<String>,
    /// The text in Latin-1 instead of UTF-8.
    #[serde(default)]
    pub(crate) latin1: bool,
    /// A pickled dict of masks under `structures`.
    pub(crate) structures: Option<BTreeMap<String, Vec<String>>>,
    /// Stacks of an HDF5 file.
    pub(crate) stacks: Option<BTreeMap<String, RawFile>>,
    /// Columns of an HDF5 file.
    #[serde(default)]
    pub(crate) columns: BTreeMap<String, Column>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Column {
    Numbers(Vec<i64>),
    Texts(Vec<String>),
}

/// How pixels are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    #[default]
    Grey,
    Rgb,
    /// Opaque at the left, see-through at the right: alpha is no part of what counts.
    Rgba,
    Palette,
    Grey16,
    OneBit,
    /// Of an array: a last axis of length 1.
    OneChannel,
}

/// How numbers of volumes and arrays are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Number {
    #[default]
    U8,
    I16,
    U16,
    F32,
    F64,
}

/// An image of the output.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) source_file: String,
    #[serde(default)]
    pub(crate) frame: Option<u32>,
    #[serde(default)]
    pub(crate) patient: Option<String>,
    #[serde(default)]
    pub(crate) clip: Option<String>,
    #[serde(default)]
    pub(crate) split: Option<String>,
    /// `"1: rect 5 5 10 8"`: category and shape, in order.
    #[serde(default)]
    pub(crate) objects: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeftOut {
    /// Images without an object.
    #[serde(default)]
    pub(crate) empty: usize,
    /// Images without a partner, by source file.
    #[serde(default)]
    pub(crate) unpaired: Vec<String>,
}

/// What differs with the reference's defects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    /// Names in the spec; all of them when empty.
    #[serde(default)]
    pub(crate) defects: Vec<String>,
    /// Replace those of the same file and frame, and are new otherwise (at the end).
    #[serde(default)]
    pub(crate) images: Vec<Expected>,
    /// Source files whose images are gone.
    #[serde(default)]
    pub(crate) lost: Vec<String>,
    /// Frames that are gone, of the files named.
    #[serde(default)]
    pub(crate) lost_frames: BTreeMap<String, Vec<u32>>,
    pub(crate) left_out: Option<LeftOut>,
}

/// Something wrong with the source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) remove: Vec<String>,
    /// In place of one with the same path, or new.
    #[serde(default)]
    pub(crate) add: Vec<RawFile>,
    /// `ProblemKind` in snake case.
    pub(crate) kind: String,
    /// What the message must tell.
    pub(crate) names: Vec<String>,
    /// Source files whose images are gone when problems are skipped.
    #[serde(default)]
    pub(crate) lost: Vec<String>,
    /// Where it differs then.
    pub(crate) left_out: Option<LeftOut>,
}

impl Miniature {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The same with something wrong.
    pub(crate) fn with_fault(&self, fault: &Fault) -> Result<Self> {
        let mut changed = self.clone();
        for path in &fault.remove {
            let before = changed.files.len();
            changed.files.retain(|file| file.path != *path);
            anyhow::ensure!(changed.files.len() < before, "there is no {path} to remove");
        }
        for new in &fault.add {
            changed.files.retain(|file| file.path != new.path);
            changed.files.push(new.clone());
        }
        for lost in &fault.lost {
            let before = changed.expected.len();
            changed.expected.retain(|image| image.source_file != *lost);
            anyhow::ensure!(changed.expected.len() < before, "no image of {lost} to lose");
        }
        if let Some(left_out) = &fault.left_out {
            changed.left_out = left_out.clone();
        }
        Ok(changed)
    }

    /// The same as the reference would have it.
    pub(crate) fn as_published(&self, published: &Published) -> Self {
        let mut changed = self.clone();
        let is_lost = |image: &Expected| {
            let frames = published.lost_frames.get(&image.source_file);
            published.lost.contains(&image.source_file)
                || frames.is_some_and(|f| image.frame.is_some_and(|n| f.contains(&n)))
        };
        changed.expected.retain(|image| !is_lost(image));
        for new in &published.images {
            let same = |i: &&mut Expected| i.source_file == new.source_file && i.frame == new.frame;
            match changed.expected.iter_mut().find(same) {
                Some(image) => *image = new.clone(),
                None => changed.expected.push(new.clone()),
            }
        }
        if let Some(left_out) = &published.left_out {
            changed.left_out = left_out.clone();
        }
        changed
    }

    /// The raw file behind a path of the output: archives are gone from it.
    pub(crate) fn raw(&self, source_file: &str) -> Result<&RawFile> {
        let is_it = |file: &&RawFile| {
            let innermost = file.path.rsplit('!').next().unwrap_or_default();
            source_file == innermost || source_file.ends_with(&format!("/{innermost}"))
        };
        let mut found: Vec<&RawFile> = self.files.iter().filter(is_it).collect();
        // `x/1.png` ends as `1.png` does: the longer one is meant.
        found.sort_by_key(|file| std::cmp::Reverse(file.path.rsplit('!').next().map(str::len)));
        found.first().copied().with_context(|| format!("no raw file is {source_file}"))
    }
}

/// Folder of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// TOML files of a folder by stem.
pub(crate) fn tomls(folder: &str) -> Result<BTreeMap<String, PathBuf>> {
    let folder = repository().join(folder);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(stem, path);
        }
    }
    Ok(files)
}
