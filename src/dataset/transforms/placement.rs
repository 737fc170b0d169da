//! What a target must follow, and how much of it is wanted.

use super::Window;

/// Where an image went: all that its annotation must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// `(height, width)` of the decoded file.
    pub original_size: (u32, u32),
    /// What the longest side was brought to.
    pub longest_side: u32,
    /// What the network sees of the resized image, without padding.
    pub window: Window,
    /// Mirrored left to right, within the window.
    pub flipped: bool,
}

/// What a task wants in its targets: rasterising masks that nobody reads costs more than
/// decoding the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetNeeds {
    /// Categories of the image as a whole.
    ImageLabels,
    /// Labels and boxes of its objects.
    Boxes,
    /// Labels, boxes and masks of its objects.
    Masks,
}
