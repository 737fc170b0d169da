//! What pixels are normalised with.

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_dataset::InputSpec;

use sonotune_engine::backbone::fault;

/// The `pixel_statistics` key: a name, or the means of red, green and blue followed by their standard
/// deviations, for pixels in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected \"imagenet\", \"clip\", \"half\" or six numbers: three means and three standard deviations of pixels in 0..=1"
)]
pub enum PixelStatistics {
    Named(Named),
    Numbers([f64; 6]),
}

/// Published statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// Those of ImageNet.
    Imagenet,
    /// Those of OpenAI's CLIP and of most models after it.
    Clip,
    /// 0.5 and 0.5: pixels from -1 to 1.
    Half,
}

impl PixelStatistics {
    /// The input of a network with square patches of `patch_size` pixels.
    ///
    /// # Errors
    /// When a number is not finite or out of range.
    pub(super) fn input(self, patch_size: i64) -> Result<InputSpec> {
        let imagenet = InputSpec::imagenet(patch_size);
        let numbers = match self {
            Self::Named(Named::Imagenet) => return Ok(imagenet),
            Self::Named(Named::Clip) => {
                [0.481_454_66, 0.457_827_5, 0.408_210_73, 0.268_629_54, 0.261_302_58, 0.275_777_11]
            }
            Self::Named(Named::Half) => [0.5; 6],
            Self::Numbers(numbers) => numbers,
        };
        let [r, g, b, std_r, std_g, std_b] = numbers;
        if let Some(mean) = [r, g, b].iter().find(|mean| !(-1.0..=1.0).contains(*mean)) {
            return fault(format!(
                "backbone.pixel_statistics: mean {mean}, expected 0 to 1; divide statistics of pixels in 0..=255 by 255"
            ));
        }
        if let Some(std) = [std_r, std_g, std_b].iter().find(|std| !(**std > 0.0 && **std <= 2.0)) {
            return fault(format!(
                "backbone.pixel_statistics: standard deviation {std}, expected above 0 and at most 2; divide statistics of pixels in 0..=255 by 255"
            ));
        }
        let bytes = |values: [f64; 3]| values.map(|value| 255.0 * value);
        let (pixel_mean, pixel_std) = (bytes([r, g, b]), bytes([std_r, std_g, std_b]));
        Ok(InputSpec { pixel_mean, pixel_std, ..imagenet })
    }
}
