//! Parts that several readers share: which files, how they pair, how a mask is read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One string or a list of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Strings(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Strings {
    fn from(value: OneOrMany) -> Self {
        match value {
            OneOrMany::One(one) => Self(vec![one]),
            OneOrMany::Many(many) => Self(many),
        }
    }
}

/// A set of files and the key by which they pair with others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Globs over the path within the source: `*` and `?` within a folder, `**` over folders,
    /// `{a,b}`, `[ab]`. Upper and lower case differ.
    pub files: Strings,
    /// Globs of files that are left out.
    #[serde(default)]
    pub not: Strings,
    /// A regex over the path within the source. Its groups, joined by `/`, are the key: files of
    /// one key belong together. A group within another is no further part of the key. Groups named
    /// `patient`, `clip` and `split` are recorded as well.
    pub key: String,
    /// Whether `7` and `007` are one key.
    #[serde(default)]
    pub numeric_key: bool,
    /// With several files of one key: an error, or the first in path order.
    #[serde(default)]
    pub duplicates: Duplicates,
}

/// What becomes of several files of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// A problem that names them.
    #[default]
    Refuse,
    /// The first in path order counts.
    First,
    /// The last in path order counts, as where one silently overwrites another.
    Last,
}

/// What becomes of an image without a mask, or the reverse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpaired {
    /// A problem that names it.
    #[default]
    Refuse,
    /// An image without a mask is one without objects; a mask without image stays a problem.
    KeepImages,
    /// Left out and counted: the dataset is known for them.
    Skip,
}

/// How a mask file is found and read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRule {
    /// See [`Files::files`].
    pub files: Strings,
    /// See [`Files::not`].
    #[serde(default)]
    pub not: Strings,
    /// See [`Files::key`]; must give the image's key.
    pub key: String,
    /// See [`Files::numeric_key`].
    #[serde(default)]
    pub numeric_key: bool,
    /// See [`Files::duplicates`].
    #[serde(default)]
    pub duplicates: Duplicates,
    /// An image may have several masks of this rule, each with objects of its own.
    #[serde(default)]
    pub several: bool,
    /// An image without a mask of this rule is unpaired. Where no rule says so, one mask of any
    /// rule will do.
    #[serde(default)]
    pub required: bool,
    /// From pixel values to category ids.
    pub decode: Decode,
    /// Category of the foreground, where `decode` yields no ids of its own.
    #[serde(default)]
    pub category: Option<u8>,
    /// Category of the foreground by a name found elsewhere.
    #[serde(default)]
    pub class: Option<Class>,
    /// In this order, after decoding.
    #[serde(default)]
    pub clean: Vec<Clean>,
    /// What becomes of a mask of another size than the image.
    #[serde(default)]
    pub resize: Resize,
}

impl MaskRule {
    /// A rule of which only what pairs files is yet to be set.
    pub(super) fn pairing_only() -> Self {
        Self {
            files: Strings::default(),
            not: Strings::default(),
            key: String::new(),
            numeric_key: false,
            duplicates: Duplicates::default(),
            several: false,
            required: false,
            decode: Decode::Nonzero,
            category: None,
            class: None,
            clean: Vec::new(),
            resize: Resize::default(),
        }
    }
}

/// From a mask's grey values or colours to categories.
///
/// Grey of a coloured pixel is 0.299 B + 0.587 G + 0.114 R, rounded: the reference weights blue
/// and red the wrong way round, and thresholds are its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Every value but 0 is foreground.
    Nonzero,
    /// From this value on.
    AtLeast(u8),
    /// This value alone; others are background.
    Equal(u8),
    /// Category by value; others but 0 are unknown, which is a problem.
    Values(BTreeMap<String, u8>),
    /// Category by value; others are background.
    ValuesElseBackground(BTreeMap<String, u8>),
    /// Category by colour, written `"red,green,blue"`, with 0 for colours known as background;
    /// other colours but black are unknown, which is a problem.
    Colors(BTreeMap<String, u8>),
    /// As `colors`, for colours listed `"blue,green,red"`.
    ColorsBgr(BTreeMap<String, u8>),
}

/// A category by a name that stands outside the mask.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// A regex over the mask's path whose first group is the name; without it the name comes from
    /// `tables`.
    #[serde(default)]
    pub find: Option<String>,
    /// Category by name; 0 drops the mask.
    pub to: BTreeMap<String, u8>,
    /// Category of all other names; without it they are a problem.
    #[serde(default)]
    pub other: Option<u8>,
}

/// One step that changes a decoded mask.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// Background that does not reach the border becomes foreground; category after category, in
    /// ascending order, the higher over the lower.
    FillHoles,
    /// Keeps the largest 4-connected component.
    LargestComponent,
    /// What a square of this size cannot cover is removed.
    Opening(Opening),
    /// Foreground outside the convex hull of the image's field of view is removed.
    ClipToFieldOfView(Opening),
}

/// A morphological opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Side of the square.
    pub size: u32,
    /// Between erosion and dilation only the largest 4-connected component stays.
    #[serde(default)]
    pub largest: bool,
    /// Moves the result one pixel up and left, as an even square does in scikit-image.
    #[serde(default)]
    pub shifted: bool,
}

/// What becomes of a mask of another size than the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// A problem that names both.
    #[default]
    Refuse,
    /// Resized, each pixel to the nearest.
    Nearest,
    /// Turned by a quarter, clockwise; a problem if it still does not fit.
    Clockwise,
    /// Drawn as it is at the upper left, as where the size is not looked at.
    Overlay,
}

/// A side file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Globs; see [`Files::files`].
    pub files: Strings,
    /// How it is written.
    pub format: TableFormat,
    /// Names of the columns, where the file has no header.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Column that names the image.
    pub key_column: String,
    /// A regex over that column whose groups, joined by `/`, are the image's key.
    pub key: String,
    /// Column with the name of the class.
    #[serde(default)]
    pub class: Option<String>,
    /// Column with the patient.
    #[serde(default)]
    pub patient: Option<String>,
    /// Column with what tells the split.
    #[serde(default)]
    pub split: Option<String>,
    /// Split by the value of that column.
    #[serde(default)]
    pub splits: BTreeMap<String, String>,
    /// Split of all other rows, or of all where there is no column.
    #[serde(default)]
    pub other_split: Option<String>,
    /// An image without a row, in any of the required tables, is a problem.
    #[serde(default)]
    pub required: bool,
    /// The files may be absent.
    #[serde(default)]
    pub optional: bool,
}

/// How a side file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Comma-separated, first line the header.
    Csv,
    /// Words separated by blanks, no header.
    Words,
}
