//! How large an image becomes. The float arithmetic is the reference's, operation by operation:
//! an image 958 wide becomes 1023 at `image_size` 1024, since 958 · (1024 / 958) < 1024.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the fraction of a scaled side is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SizeRule {
    /// `int(side · scale)`: UltraSam (mmdet's `_fixed_scale_size`).
    Truncate,
    /// `int(side · scale + 0.5)`: Mask2Former, classification (mmcv's `rescale_size`) and SAM.
    Round,
    /// Both sides to the longest one's length, whatever the aspect ratio: SAM 2.
    Stretch,
}

/// `(height, width)` with the longest side scaled to `image_size` and, except with
/// [`Stretch`](SizeRule::Stretch), the aspect ratio kept.
#[must_use]
pub fn scaled_size(size: (u32, u32), image_size: u32, rule: SizeRule) -> (u32, u32) {
    let (height, width) = size;
    let longest = height.max(width);
    let shortest = height.min(width);
    let target = f64::from(image_size);
    // The smaller of the two: they differ only by rounding, and the reference takes the minimum.
    let scale = (target / f64::from(longest)).min(target / f64::from(shortest));
    let offset = match rule {
        SizeRule::Truncate => 0.0,
        SizeRule::Round => 0.5,
        SizeRule::Stretch => return (image_size, image_size),
    };
    // A very thin image keeps at least one row; the reference fails on it.
    let side = |n: u32| ((f64::from(n) * scale + offset) as u32).max(1);
    (side(height), side(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_reference_to_the_last_bit_of_the_scale() {
        assert_eq!(scaled_size((533, 958), 1024, SizeRule::Truncate), (569, 1023));
        assert_eq!(scaled_size((533, 958), 1024, SizeRule::Round), (570, 1024));
        assert_eq!(scaled_size((529, 959), 128, SizeRule::Truncate), (70, 128));
        assert_eq!(scaled_size((536, 482), 128, SizeRule::Truncate), (128, 115));
        assert_eq!(scaled_size((1024, 1024), 1024, SizeRule::Truncate), (1024, 1024));
        assert_eq!(scaled_size((1, 5000), 64, SizeRule::Truncate), (1, 64));
        assert_eq!(scaled_size((533, 958), 1024, SizeRule::Stretch), (1024, 1024));
    }
}
