//! Rules that several readers share: which files, how they are paired, how a mask is read.

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

/// A set of files and the key by which they are paired with others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Globs matched against the path within the source: `*` and `?` within a folder, `**` across
    /// folders, `{a,b}`, `[ab]`. Case-sensitive.
    pub files: Strings,
    /// Globs of files that are left out.
    #[serde(default)]
    pub not: Strings,
    /// A regex matched against the path within the source. Its groups, joined by `/`, are the key: files
    /// with the same key belong together. A nested group does not add to the key. Groups named
    /// `patient`, `clip` and `split` are also recorded.
    pub key: String,
    /// Whether `7` and `007` are the same key.
    #[serde(default)]
    pub numeric_key: bool,
    /// What to do with several files of one key.
    #[serde(default)]
    pub duplicates: Duplicates,
}

/// What to do with several files of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// A problem that names them.
    #[default]
    Refuse,
    /// Use the first in path order.
    First,
    /// Use the last in path order, as when one silently overwrites another.
    Last,
}

/// What to do with an image without a mask, or the reverse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpaired {
    /// A problem that names it.
    #[default]
    Refuse,
    /// Keep an image without a mask as one without objects; a mask without an image is still a problem.
    KeepImages,
    /// Leave it out and count it: the dataset is known to have such files.
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
    /// An image may have several masks of this rule, each with its own objects.
    #[serde(default)]
    pub several: bool,
    /// An image without a mask of this rule is unpaired. If no rule is required, one mask of any
    /// rule is enough.
    #[serde(default)]
    pub required: bool,
    /// How pixel values become category ids.
    pub decode: Decode,
    /// What `decode` compares. Without it the colour, or the index of a palette if only that fits; a mask
    /// that fits in several ways is a problem.
    #[serde(default)]
    pub compare: Option<Compare>,
    /// Category of the foreground, if `decode` does not yield ids itself.
    pub category: Option<u8>,
    /// Category of the foreground by a name found elsewhere.
    pub class: Option<Class>,
    /// Cleaning steps, applied in this order after decoding.
    #[serde(default)]
    pub clean: Vec<Clean>,
    /// What to do with a mask whose size differs from the image.
    #[serde(default)]
    pub resize: Resize,
}

impl MaskRule {
    /// A rule in which only the fields that pair files remain to be set.
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
            compare: None,
            category: None,
            class: None,
            clean: Vec::new(),
            resize: Resize::default(),
        }
    }
}

/// How a mask's grey values or colours become categories.
///
/// The grey value of a coloured pixel is 0.299 B + 0.587 G + 0.114 R, rounded: the reference swaps
/// the weights of blue and red, and the thresholds come from it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Every value except 0 is foreground.
    Nonzero,
    /// This value and above are foreground.
    AtLeast(u32),
    /// Only this value is foreground; others are background.
    Equal(u32),
    /// Category by value; others except 0 are unknown, which is a problem.
    Values(BTreeMap<String, u8>),
    /// Category by value; others are background.
    ValuesElseBackground(BTreeMap<String, u8>),
    /// Category by colour, written `"red,green,blue"`, with 0 for colours known to be background;
    /// other colours except black are unknown, which is a problem.
    Colors(BTreeMap<String, u8>),
    /// Like `colors`, with colours written `"blue,green,red"`.
    ColorsBgr(BTreeMap<String, u8>),
}

/// Which numbers of a mask's pixels `decode` compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Grey value or colour; a palette is looked up.
    Color,
    /// The index in the palette.
    Index,
    /// The alpha channel.
    Alpha,
}

/// A category by a name that is found outside the mask.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// A regex matched against the mask's path; its first group is the name. Without it the name comes
    /// from `tables`.
    pub find: Option<String>,
    /// Category by name; 0 drops the mask.
    pub to: BTreeMap<String, u8>,
    /// Category of all other names; without it they are a problem.
    pub other: Option<u8>,
}

/// One step that changes a decoded mask.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// Turns background that is not connected to the border into foreground, for one category after
    /// another in ascending order; higher categories overwrite lower ones.
    FillHoles,
    /// Keeps the largest 4-connected component.
    LargestComponent,
    /// Removes what a square of this size cannot cover.
    Opening(Opening),
    /// Removes foreground outside the convex hull of the image's field of view.
    ClipToFieldOfView(Opening),
}

/// A morphological opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Side of the square, pixels.
    pub size: u32,
    /// Keeps only the largest 4-connected component between erosion and dilation.
    #[serde(default)]
    pub largest: bool,
    /// Moves the result one pixel up and left, as an even square does in scikit-image.
    #[serde(default)]
    pub shifted: bool,
}

/// What to do with a mask whose size differs from the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// A problem that names both.
    #[default]
    Refuse,
    /// Resize it with nearest-neighbour sampling.
    Nearest,
    /// Rotate it by 90° clockwise; a problem if it still does not fit.
    Clockwise,
    /// Draw it unscaled at the upper left, as when the size is not checked.
    Overlay,
}

/// What to do about an image whose size differs from the one in its annotation file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// A problem that names both: the outlines may belong to an image of another size.
    #[default]
    Check,
    /// The outlines fit the image, whatever the file says.
    Ignore,
}

/// A side file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Globs; see [`Files::files`].
    pub files: Strings,
    /// Its format.
    pub format: TableFormat,
    /// Names of the columns, if the file has no header.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Column that names the image.
    pub key_column: String,
    /// A regex matched against that column; its groups, joined by `/`, are the image's key.
    pub key: String,
    /// Column with the class name.
    pub class: Option<String>,
    /// Column with the patient.
    pub patient: Option<String>,
    /// Column with the millimetres a pixel, or two: those of rows (vertical) and those of columns.
    #[serde(default)]
    pub spacing: Strings,
    /// Column that determines the split.
    pub split: Option<String>,
    /// Split by the value of that column.
    #[serde(default)]
    pub splits: BTreeMap<String, String>,
    /// Split of all other rows, or of all rows if there is no column.
    pub other_split: Option<String>,
    /// An image without a row, in any of the required tables, is a problem.
    #[serde(default)]
    pub required: bool,
    /// The files may be absent.
    #[serde(default)]
    pub optional: bool,
}

/// Format of a side file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Separated by commas, semicolons, tabs or bars; the first line is the header.
    Csv,
    /// Words separated by blanks, without a header.
    Words,
}
