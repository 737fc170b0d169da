//! What a promptable model is asked about an image.

use super::Rle;

/// Prompts of one image; they take the place of those that a task derives from annotations.
#[derive(Debug, Clone, PartialEq)]
pub enum ImagePrompts {
    /// One answer each.
    Objects(Vec<ObjectPrompt>),
    /// Whatever there is to see: the task asks at points of its own choice.
    Everything,
}

/// Everything that points at one object. Points, box and mask may go together; at least one is
/// there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectPrompt {
    /// The caller's name for it, given back with the answer.
    pub name: Option<String>,
    /// Index of the answer's category; the first when absent.
    pub category: Option<usize>,
    pub points: Vec<PointPrompt>,
    /// XYXY, original pixels.
    pub bbox: Option<[f64; 4]>,
    /// Original pixels, e.g. an earlier answer.
    pub mask: Option<Rle>,
}

/// A click.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointPrompt {
    /// Original pixels; whole numbers are centres of pixels.
    pub x: f64,
    pub y: f64,
    /// On the object, or on what does not belong to it.
    pub positive: bool,
}
