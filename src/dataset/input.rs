//! What a network expects of its input.

/// Pixel statistics and sizes that images are prepared for.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// RGB means of values in 0..=255.
    pub pixel_mean: [f64; 3],
    /// RGB standard deviations of values in 0..=255.
    pub pixel_std: [f64; 3],
    /// Side of the square input, pixels; `None` if any multiple of `divisor` will do.
    pub square_size: Option<i64>,
    /// Input sides must be multiples of this.
    pub divisor: i64,
}

impl InputSpec {
    /// ImageNet's statistics, which most backbones were pretrained with; any multiple of `divisor`.
    #[must_use]
    pub fn imagenet(divisor: i64) -> Self {
        let (pixel_mean, pixel_std) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);
        Self { pixel_mean, pixel_std, square_size: None, divisor }
    }
}
