//! A dataset in miniature: its raw files and the expected output, as described in
//! `tests/fixtures/us43d`.

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
    /// Height and width of its images, unless a file specifies others.
    pub(crate) size: [usize; 2],
    /// Formats of archives whose names do not show it.
    #[serde(default)]
    pub(crate) formats: BTreeMap<String, Packing>,
    /// How images and masks are flipped.
    #[serde(default)]
    pub(crate) turn: Turn,
    /// Whether slices are taken along x instead of z.
    #[serde(default)]
    pub(crate) sagittal: bool,
    /// Whether grey levels beyond 8 bits are clipped instead of wrapped around.
    #[serde(default)]
    pub(crate) clips: bool,
    /// Raw files; `a.zip!b.png` is inside an inner archive.
    pub(crate) files: Vec<RawFile>,
    /// In the order of the output.
    pub(crate) expected: Vec<Expected>,
    /// What the report must say about images left out.
    #[serde(default)]
    pub(crate) left_out: LeftOut,
    /// What differs with the reference's defects.
    #[serde(default)]
    pub(crate) published: Vec<Published>,
    /// Faulty variants of the source.
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Packing {
    Rar,
    /// In parts of this many bytes.
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

/// A raw file: an image or a volume if it has `seed` or `paint`, otherwise what its key says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    #[serde(default)]
    pub(crate) path: String,
    /// The background is a texture, different for each seed and never 0; black without a seed.
    pub(crate) seed: Option<u32>,
    /// `"255: rect 5 5 10 8"`, over one another; see [`super::shapes`].
    #[serde(default)]
    pub(crate) paint: Vec<String>,
    pub(crate) size: Option<[usize; 2]>,
    #[serde(default)]
    pub(crate) form: Form,
    /// Colours of the values painted, if the form is `palette`.
    #[serde(default)]
    pub(crate) palette: Vec<[u8; 3]>,
    /// Slices of a volume, frames of a video.
    pub(crate) planes: Option<usize>,
    /// Volumes of a series.
    pub(crate) volumes: Option<usize>,
    #[serde(default)]
    pub(crate) number: Number,
    /// The number stored for one grey level: slightly more than 1/255 if floats go from 0 to 1, so that
    /// truncating and rounding give the same.
    pub(crate) scale: Option<f64>,
    pub(crate) text: Option<String>,
    /// Whether the text is in Latin-1 instead of UTF-8.
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
    /// Opaque at the left, transparent at the right: alpha must be ignored.
    Rgba,
    Palette,
    Grey16,
    OneBit,
    /// An array with a last axis of length 1.
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
    pub(crate) frame: Option<u32>,
    pub(crate) patient: Option<String>,
    pub(crate) clip: Option<String>,
    pub(crate) split: Option<String>,
    /// Checked if it is given.
    pub(crate) pixel_spacing: Option<[f64; 2]>,
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
    /// Images that replace those of the same file and frame, or are new (at the end).
    #[serde(default)]
    pub(crate) images: Vec<Expected>,
    /// Source files whose images are gone.
    #[serde(default)]
    pub(crate) lost: Vec<String>,
    /// Frames that are gone, by source file.
    #[serde(default)]
    pub(crate) lost_frames: BTreeMap<String, Vec<u32>>,
    pub(crate) left_out: Option<LeftOut>,
}

/// A fault in the source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) remove: Vec<String>,
    /// Files that replace one with the same path, or are new.
    #[serde(default)]
    pub(crate) add: Vec<RawFile>,
    /// `ProblemKind` in snake case.
    pub(crate) kind: String,
    /// What the message must name.
    pub(crate) names: Vec<String>,
    /// Source files whose images are gone when problems are skipped.
    #[serde(default)]
    pub(crate) lost: Vec<String>,
    /// What is left out then, if it differs.
    pub(crate) left_out: Option<LeftOut>,
}

impl Miniature {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The same dataset with a fault.
    pub(crate) fn with_fault(&self, fault: &Fault) -> Result<Self> {
        let mut changed = self.clone();
        for path in &fault.remove {
            let before = changed.files.len();
            changed.files.retain(|file| file.path != *path);
            anyhow::ensure!(
                changed.files.len() < before,
                "{path} does not exist, so it cannot be removed"
            );
        }
        for new in &fault.add {
            changed.files.retain(|file| file.path != new.path);
            changed.files.push(new.clone());
        }
        for lost in &fault.lost {
            let before = changed.expected.len();
            changed.expected.retain(|image| image.source_file != *lost);
            anyhow::ensure!(
                changed.expected.len() < before,
                "{lost} does not have an image to lose"
            );
        }
        if let Some(left_out) = &fault.left_out {
            changed.left_out = left_out.clone();
        }
        Ok(changed)
    }

    /// The same dataset as the reference would convert it.
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

    /// The raw file behind a path of the output, which omits archives.
    pub(crate) fn raw(&self, source_file: &str) -> Result<&RawFile> {
        let is_it = |file: &&RawFile| {
            let innermost = file.path.rsplit('!').next().unwrap_or_default();
            source_file == innermost || source_file.ends_with(&format!("/{innermost}"))
        };
        let mut found: Vec<&RawFile> = self.files.iter().filter(is_it).collect();
        // `x/1.png` also ends in `1.png`: the longer match is meant.
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
