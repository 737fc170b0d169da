//! Readers turn the files of a source into [`Frame`]s.
//!
//! A reader first plans: it pairs files by key into [`Unit`]s, without reading pixels. Units are
//! then read in any order, on any thread.

mod cine;
mod coco;
mod frames;
mod hdf5;
mod labelme;
mod npy_dicts;
mod npy_stacks;
mod outlines;
mod pairing;
mod rasters;
#[cfg(test)]
mod tests;
mod tracings;
mod volumes;

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use sonotune_base::{
    Error, Segmentation,
    image_io::{self, DecodeOptions, ExifTurn, Header, Samples},
};

use crate::{
    Frame, Pixels,
    masks::StoredMask,
    problem::{Fault, Problem, ProblemKind},
    spec::{Reader as Settings, Spec},
};
use sonotune_archive::Tree;
use sonotune_coco::Provenance;
use sonotune_dataset::exports::Export;

/// What is read together: an image, a volume or a video with its masks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unit {
    /// The key that its files share; unique within a dataset.
    pub key: String,
    /// Provenance of the image file; `frame` is filled in for each frame.
    pub provenance: Provenance,
    /// In the order in which their objects are listed.
    pub masks: Vec<MaskFile>,
    /// Annotation that is not a separate file.
    pub detail: Detail,
    /// `[row, column]` in millimetres a pixel of the image as stored, if a table or an annotation file says.
    pub spacing: Option<[f64; 2]>,
}

impl Unit {
    /// The spacing of the image as shown, after EXIF turned it.
    fn spacing_after(&self, turn: ExifTurn) -> Option<[f64; 2]> {
        self.spacing.map(|[row, column]| match turn {
            ExifTurn::Quarter => [column, row],
            ExifTurn::Upright | ExifTurn::Mirrored => [row, column],
        })
    }
}

/// What a unit's objects are read from, besides mask files.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Detail {
    /// Mask files only.
    #[default]
    Files,
    /// Outlines on an image, which must have this size (height, width) if one is given.
    Outlines { size: Option<(u32, u32)>, outlines: Vec<Outline> },
    /// Polygons in frames of a video, in ascending order.
    Tracings(Vec<Tracing>),
    /// These planes of a stack, in ascending order.
    Planes(Vec<u32>),
}

/// An object in a COCO file.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// Position among the file's annotations.
    pub index: usize,
    /// From 1.
    pub category: u8,
    /// As the file gives it.
    pub segmentation: Segmentation,
    /// Several objects that nobody told apart.
    pub is_crowd: bool,
}

/// A polygon in one frame of a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Frame number, from 0.
    pub frame: u32,
    /// (x, y), in pixels, in drawing order.
    pub points: Vec<(f64, f64)>,
}

/// A mask file of a [`Unit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskFile {
    /// Path within the source.
    pub path: String,
    /// Index of the rule that found it.
    pub rule: usize,
    /// Category of its foreground; 0 if the rule's values determine it.
    pub category: u8,
}

/// What a plan found.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Sorted by key, numbers in keys by value.
    pub units: Vec<Unit>,
    /// What was wrong; the affected units are not in `units`.
    pub problems: Vec<Problem>,
    /// Files by role, for display: which pattern matched how many.
    pub roles: Vec<RoleCount>,
    /// Images left out because the spec says so.
    pub skipped: Vec<String>,
}

impl Plan {
    /// What matched what, one line per role.
    #[must_use]
    pub fn matched(&self) -> String {
        let mut text = String::new();
        for role in &self.roles {
            text.push_str(&format!("  {:>7} {} like {}\n", role.files, role.role, role.example));
            if !role.labels.is_empty() {
                // Very many names are not classes: the regex matches too much.
                let shown = role.labels.iter().take(20);
                let shown: Vec<_> = shown.map(|(label, n)| format!("{n} `{label}`")).collect();
                let more = role.labels.len().saturating_sub(20);
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                text.push_str(&format!("          labels: {}{more}\n", shown.join(", ")));
            }
        }
        text.push_str(&format!("  {:>7} complete units\n", self.units.len()));
        text
    }
}

/// How many files have a role.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RoleCount {
    /// Key of the spec, like `rasters.images`.
    pub role: String,
    /// Number of files.
    pub files: usize,
    /// One of them.
    pub example: String,
    /// Number of masks by name, if names determine the category.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, usize>,
}

/// Receives a unit's frames in order.
pub type Emit<'a> = dyn FnMut(Frame) -> Result<(), Fault> + 'a;

/// A family of layouts.
pub trait Reader: Sync {
    /// Pairs the files of `tree`.
    ///
    /// # Errors
    /// When nothing matches or a rule is malformed; individual bad files become problems.
    fn plan(&self, tree: &Tree) -> Result<Plan>;

    /// Reads one unit of a plan, frame by frame.
    ///
    /// # Errors
    /// A problem of the unit's files, or what `emit` returned.
    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault>;
}

/// The reader that `spec` selects.
///
/// # Errors
/// When the spec does not have exactly one reader.
pub fn of<'a>(spec: &'a Spec) -> Result<Box<dyn Reader + 'a>> {
    Ok(match spec.reader()? {
        Settings::Rasters(settings) => Box::new(rasters::RasterReader::new(spec, settings)?),
        Settings::Volumes(settings) => Box::new(volumes::VolumeReader::new(spec, settings)?),
        Settings::Outlines(settings) => Box::new(outlines::OutlineReader::new(spec, settings)?),
        Settings::Coco(settings) => Box::new(coco::CocoReader::new(spec, settings)?),
        Settings::Tracings(settings) => Box::new(tracings::TracingReader::new(spec, settings)?),
        Settings::Frames(settings) => Box::new(frames::FrameReader::new(spec, settings)?),
        Settings::NpyStacks(settings) => Box::new(npy_stacks::NpyStackReader::new(spec, settings)?),
        Settings::NpyDicts(settings) => Box::new(npy_dicts::NpyDictReader::new(spec, settings)?),
        Settings::Hdf5(settings) => Box::new(hdf5::Hdf5Reader::new(settings)?),
    })
}

/// Largest image read: larger than any scanner's, and small enough for memory.
const MAX_PIXELS: u64 = 1 << 28;

const DECODE: DecodeOptions = DecodeOptions { exif: true, max_pixels: MAX_PIXELS };

/// Decodes an image file's `bytes`; `name` is its path within the source.
fn decode_bytes(bytes: &[u8], name: &str) -> Result<Pixels, Problem> {
    header(bytes, name)?;
    let image =
        image_io::decode_bytes(bytes, DECODE).map_err(|error| undecodable(error, bytes, name))?;
    Ok(Pixels {
        height: image.height,
        width: image.width,
        channels: image.channels,
        data: image.pixels,
    })
}

/// What the file at `path` of another tool is, and what can be read instead.
fn refused_export(export: Export, path: &str) -> Error {
    let remedy = match (export.to_coco(), export) {
        (Some(coco), _) => format!("{coco} and read that with [coco]"),
        (None, Export::Coco) => "read it with [coco]".to_owned(),
        (None, Export::CocoResults) => "name the COCO annotations instead".to_owned(),
        (None, Export::Labelme) => "read it with [outlines] and format = \"labelme\"".to_owned(),
        _ => "export masks as images and read them with [rasters]".to_owned(),
    };
    Error::data(format!("{path}: is {}, which this reader does not read; {remedy}", export.name()))
}

/// Why a file is not an image: if it is another tool's export, that tool.
fn undecodable(error: anyhow::Error, bytes: &[u8], name: &str) -> Problem {
    let export = std::str::from_utf8(bytes).ok().and_then(Export::of);
    let refused = export.map(|export| refused_export(export, name));
    Problem::unreadable(&refused.map_or_else(|| error.context(name.to_owned()), Into::into))
}

/// Decodes a mask file at full depth, and says how EXIF turned it.
fn decode_mask(path: &Path, name: &str) -> Result<(StoredMask, ExifTurn), Problem> {
    let bytes = read_bytes(path, name)?;
    let turn = header(&bytes, name)?.orientation;
    let samples = samples(&bytes, name)?;
    let mask = StoredMask::of_samples(samples);
    let mask =
        mask.map_err(|words| Problem::new(ProblemKind::Unreadable, format!("{name}: {words}")))?;
    Ok((mask, turn))
}

fn samples(bytes: &[u8], name: &str) -> Result<Samples, Problem> {
    image_io::decode_samples(bytes, DECODE)
        .map_err(|error| Problem::unreadable(&error.context(name.to_owned())))
}

/// The header of a file with one image.
fn header(bytes: &[u8], name: &str) -> Result<Header, Problem> {
    // What is not an image is explained when it is decoded.
    let header = match image_io::read_header(bytes) {
        Ok(header) => header,
        Err(_) => image_io::decode_bytes(bytes, DECODE)
            .and_then(|_| image_io::read_header(bytes))
            .map_err(|error| undecodable(error, bytes, name))?,
    };
    if header.pages > 1 {
        let pages = header.pages;
        let message = format!(
            "{name}: has {pages} pages or frames, and only the first would be used; save each as a file \
             of its own, for example with tiffsplit"
        );
        return Err(Problem::new(ProblemKind::Unreadable, message));
    }
    Ok(header)
}

/// Refuses an image with objects that EXIF turns, if the size (height, width) on which they were drawn does not
/// tell whether that was the image as stored or as shown. Another size than the image's is refused elsewhere.
fn check_drawn(
    name: &str,
    turn: ExifTurn,
    image: &Pixels,
    drawn_on: Option<(u32, u32)>,
) -> Result<(), Problem> {
    let size_tells = turn == ExifTurn::Quarter && image.height != image.width && drawn_on.is_some();
    if turn == ExifTurn::Upright || size_tells {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::AmbiguousMask,
        format!(
            "{name}: is {} according to EXIF, so its objects may have been drawn on the image as stored or \
             as shown; save the image that was annotated without an orientation in EXIF (`exiftool \
             -Orientation= FILE` keeps what is stored, `magick mogrify -auto-orient FILE` what is shown)",
            turn.words()
        ),
    ))
}

fn read_bytes(path: &Path, name: &str) -> Result<Vec<u8>, Problem> {
    std::fs::read(path).map_err(|error| {
        let why = sonotune_archive::reason(path, &error);
        Problem::unreadable(&Error::data(format!("{name}: {why}")).into())
    })
}
