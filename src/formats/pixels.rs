//! Pixels in memory.

/// An image or a plane of labels in memory: `[H, W, C]`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    pub height: u32,
    pub width: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    pub data: Vec<u8>,
}
