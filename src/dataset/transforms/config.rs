//! The `[preprocess]` and `[augment]` tables.

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cropping, Doppler, SizeRule};
use crate::InputSpec;
use sonotune_base::{Error, image_io::DecodeOptions};

/// The `[preprocess]` table: how an image becomes network input. Channels come out as RGB; mean
/// and standard deviation, if used, are those of the backbone.
///
/// | | `resample` | `size_rule` | `pad_order` | `pad_to`, `eval_pad_to` |
/// |---|---|---|---|---|
/// | UltraSam's prompts | `reference` | `truncate` | `normalize_then_pad` | `square` |
/// | Mask2Former | `reference_float` | `round` | `normalize_then_pad` | `square`, `multiple` |
/// | classification | `reference_float` | `round` | `pad_then_normalize` | `square` |
/// | segment-anything | `antialias` | `round` | `normalize_then_pad` | `square` |
/// | SAM 2 | `antialias` | `stretch` | nothing is padded | `square` |
/// | LiteMedSAM (`normalize = "min_max"`) | `area` | `round` | `normalize_then_pad` | `square` |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreprocessConfig {
    /// Longest side after resizing, pixels; with `size_rule = "stretch"` both sides.
    pub image_size: u32,
    /// `reference`: OpenCV's bilinear on 8 bits, bit for bit; does not average when shrinking. `reference_float`:
    /// the same on floats, unrounded. `antialias`: averages when shrinking, as Pillow and torchvision do; better
    /// for images larger than `image_size`. `area`: OpenCV's mean of the covered area when shrinking, otherwise
    /// as `reference`.
    pub resample: Resample,
    /// How the shorter side becomes an integer: `round`, or `truncate` as UltraSam's prompt pipeline does.
    /// `stretch`: both sides become `image_size`, whatever the aspect ratio, as SAM 2 does.
    pub size_rule: SizeRule,
    /// How pixel values become the network's: `mean_std` with the backbone's mean and standard deviation;
    /// `min_max` to 0 to 1 by the smallest and largest value of the resized image, all channels together, as
    /// LiteMedSAM was trained.
    #[serde(skip_serializing_if = "Normalize::is_mean_std")]
    pub normalize: Normalize,
    /// The border is 0 to the network; `pad_then_normalize`: it is black.
    pub pad_order: PadOrder,
    /// Padding at the right and bottom: to `image_size` on both sides, or `multiple`: to the next multiple of
    /// `pad_multiple`, images of a batch to the largest of them.
    pub pad_to: PadTo,
    /// Padding in evaluation and prediction. If absent, as `pad_to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_pad_to: Option<PadTo>,
    /// For `multiple`, pixels.
    pub pad_multiple: u32,
    /// Applies the EXIF orientation. Set it to false if annotations were drawn on the stored pixels.
    pub exif: bool,
    /// Images with more pixels are refused before decoding.
    pub max_pixels: u64,
    /// Images in colour. `keep`: as they are. `grey`: every image becomes grey (ITU-R BT.601 luma). `refuse`: an
    /// image in which more than 0.5 % of the pixels are coloured, that is, with channels more than 40 levels
    /// apart, is an error (see `loader.bad_images`).
    #[serde(skip_serializing_if = "Doppler::is_keep")]
    pub doppler: Doppler,
    /// `field_of_view`: of each image only the ultrasound region is used, without the text, rulers and symbols of
    /// the machine's screen; see The field of view (docs/datasets.md#the-field-of-view). `none`: the whole image.
    #[serde(skip_serializing_if = "Cropping::is_none")]
    pub crop: Cropping,
}

impl Default for PreprocessConfig {
    fn default() -> Self {
        Self {
            image_size: 1024,
            resample: Resample::Reference,
            size_rule: SizeRule::Round,
            normalize: Normalize::MeanStd,
            pad_order: PadOrder::NormalizeThenPad,
            pad_to: PadTo::Square,
            eval_pad_to: None,
            pad_multiple: 32,
            exif: true,
            max_pixels: 100_000_000,
            doppler: Doppler::Keep,
            crop: Cropping::None,
        }
    }
}

/// How pixels are interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// OpenCV's bilinear on 8 bits, bit for bit. Does not average when shrinking.
    Reference,
    /// OpenCV's bilinear on floats: the result is not rounded to whole levels.
    ReferenceFloat,
    /// Bilinear over an area that grows with the shrinking factor, as Pillow and torchvision do:
    /// better for images larger than `image_size`.
    Antialias,
    /// OpenCV's `INTER_AREA`, the mean of the covered area, for an image that shrinks; one that grows is
    /// resized as by `reference`.
    Area,
}

/// How pixel values become the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// `(value - mean) / std` of each channel, with the backbone's statistics.
    MeanStd,
    /// `(value - min) / (max - min)`, with the smallest and largest value of all channels of the resized
    /// image: from 0 to 1, as LiteMedSAM was trained.
    MinMax,
}

impl Normalize {
    fn is_mean_std(&self) -> bool {
        *self == Self::MeanStd
    }

    /// The input of a backbone, with the statistics that turn what the network sees into an image for
    /// people: after `min_max` its values are from 0 to 1.
    #[must_use]
    pub fn shown(self, input: InputSpec) -> InputSpec {
        match self {
            Self::MeanStd => input,
            Self::MinMax => InputSpec { pixel_mean: [0.0; 3], pixel_std: [255.0; 3], ..input },
        }
    }
}

/// Whether the border is zero before or after normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PadOrder {
    /// The network sees 0 in the border.
    NormalizeThenPad,
    /// The network sees black, `-mean / std`, in the border.
    PadThenNormalize,
}

/// How far an image is padded, at the right and at the bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PadTo {
    /// To `image_size` on both sides.
    Square,
    /// To the next multiple of `pad_multiple`; all images of a batch to the size of the largest.
    Multiple,
}

impl PreprocessConfig {
    /// How files are decoded.
    #[must_use]
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions { exif: self.exif, max_pixels: self.max_pixels }
    }

    /// The padding for training, or for evaluation and prediction.
    #[must_use]
    pub fn padding(&self, train: bool) -> PadTo {
        if train { self.pad_to } else { self.eval_pad_to.unwrap_or(self.pad_to) }
    }

    /// Checks the keys against each other and against what the backbone accepts.
    ///
    /// # Errors
    /// Of kind config, naming key, value and what would do.
    pub fn validate(&self, spec: &InputSpec) -> Result<()> {
        let check = |holds: bool, message: String| {
            if holds { Ok(()) } else { Err(anyhow::Error::from(Error::config(message))) }
        };
        let Self { image_size, pad_multiple, .. } = *self;
        check(
            (1..=16_384).contains(&image_size),
            format!("preprocess.image_size = {image_size}: expected 1 to 16384 pixels"),
        )?;
        check(self.max_pixels > 0, "preprocess.max_pixels = 0 rejects every image".to_owned())?;
        let used = [self.padding(true), self.padding(false)];
        if used.contains(&PadTo::Multiple) {
            check(
                (1..=16_384).contains(&pad_multiple)
                    && i64::from(pad_multiple) % spec.divisor.max(1) == 0,
                format!(
                    "preprocess.pad_multiple = {pad_multiple}: the backbone needs a multiple of {}",
                    spec.divisor
                ),
            )?;
            check(
                spec.square_size.is_none(),
                format!(
                    "preprocess.pad_to = \"multiple\": this backbone accepts only squares of {} \
                     pixels; use \"square\"",
                    spec.square_size.unwrap_or_default()
                ),
            )?;
        }
        if used.contains(&PadTo::Square) {
            if let Some(side) = spec.square_size {
                check(
                    i64::from(image_size) == side,
                    format!(
                        "preprocess.image_size = {image_size}: the backbone accepts only squares of \
                         {side} pixels"
                    ),
                )?;
            }
            check(
                i64::from(image_size) % spec.divisor.max(1) == 0,
                format!(
                    "preprocess.image_size = {image_size}: the backbone needs a multiple of {}",
                    spec.divisor
                ),
            )?;
        }
        Ok(())
    }
}

/// The `[augment]` table: random changes in training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Probability of a mirror image, left to right.
    pub flip_probability: f64,
    /// Large-scale jitter, `[smallest, largest]`, above 0, at most 8: the longest side becomes
    /// `preprocess.image_size` times a number drawn uniformly from the range; if the result is larger than
    /// `image_size`, a random crop is kept; if it is smaller, it is padded. Mask2Former uses `[0.1, 2.0]`.
    /// Objects outside the crop are not learnt from. Not together with `[embedding_cache]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_range: Option<[f64; 2]>,
}

impl AugmentConfig {
    /// What `scale_range` is expected to be.
    pub const SCALE_RANGE: &str =
        "the smallest and the largest scale, above 0, at most 8, in ascending order";

    /// Beyond 8 a crop shows less than a sixtieth of the image.
    const LARGEST_SCALE: f64 = 8.0;

    /// Whether `scale_range` is absent or valid.
    #[must_use]
    pub fn scale_range_fits(&self) -> bool {
        self.scale_range
            .is_none_or(|[low, high]| low > 0.0 && low <= high && high <= Self::LARGEST_SCALE)
    }

    /// # Errors
    /// A config error that names the key and its value.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.flip_probability) {
            return Err(Error::config(format!(
                "augment.flip_probability = {}: expected a number from 0 to 1",
                self.flip_probability
            ))
            .into());
        }
        if !self.scale_range_fits() {
            return Err(Error::config(format!(
                "augment.scale_range = {:?}: expected {}",
                self.scale_range.unwrap_or_default(),
                Self::SCALE_RANGE
            ))
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(square_size: Option<i64>, divisor: i64) -> InputSpec {
        InputSpec { pixel_mean: [0.0; 3], pixel_std: [1.0; 3], square_size, divisor }
    }

    #[test]
    fn sizes_that_the_backbone_cannot_take_are_refused_by_key() {
        let refusal = |config: &PreprocessConfig, spec: &InputSpec| {
            config.validate(spec).err().map(|e| e.to_string()).unwrap_or_default()
        };
        let config = PreprocessConfig::default();
        assert_eq!(refusal(&config, &spec(Some(1024), 16)), "");
        assert!(refusal(&config, &spec(Some(512), 16)).contains("image_size = 1024"));
        let config = PreprocessConfig { image_size: 1000, ..config };
        assert!(refusal(&config, &spec(None, 32)).contains("multiple of 32"));
        let config = PreprocessConfig { eval_pad_to: Some(PadTo::Multiple), ..Default::default() };
        assert_eq!(refusal(&config, &spec(None, 16)), "");
        assert!(refusal(&config, &spec(Some(1024), 16)).contains("squares"));
        let config = PreprocessConfig { pad_multiple: 24, ..config };
        assert!(refusal(&config, &spec(None, 16)).contains("pad_multiple = 24"));
    }

    #[test]
    fn unknown_keys_are_refused_and_defaults_fill_in() {
        let parsed: PreprocessConfig = toml::from_str("size_rule = \"truncate\"").unwrap();
        assert_eq!(parsed.size_rule, SizeRule::Truncate);
        assert_eq!(parsed.image_size, 1024);
        assert!(toml::from_str::<PreprocessConfig>("img_size = 3").is_err());
        for flip_probability in [1.5, f64::NAN] {
            assert!(AugmentConfig { flip_probability, ..Default::default() }.validate().is_err());
        }
    }

    #[test]
    fn a_range_of_scales_rises_from_above_0() {
        let check =
            |range| AugmentConfig { scale_range: Some(range), ..Default::default() }.validate();
        for range in [[0.1, 2.0], [1.0, 1.0], [8.0, 8.0]] {
            assert!(check(range).is_ok(), "{range:?}");
        }
        for range in
            [[0.0, 1.0], [-1.0, 1.0], [2.0, 1.0], [1.0, 9.0], [f64::NAN, 1.0], [0.5, f64::NAN]]
        {
            let error = check(range).unwrap_err().to_string();
            assert!(
                error.contains("augment.scale_range = [") && error.contains("ascending"),
                "{error}"
            );
        }
    }
}
