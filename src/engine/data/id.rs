//! Identifiers as annotation files spell them.

use std::fmt;

/// Id of an image or annotation: an integer of up to 128 bits (US-43d's tools write UUIDs as
/// integers), a string, or the position in the file where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageId {
    Unsigned(u128),
    Negative(i128),
    Text(Box<str>),
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(n) => n.fmt(f),
            Self::Negative(n) => n.fmt(f),
            Self::Text(s) => s.fmt(f),
        }
    }
}
