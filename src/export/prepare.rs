//! How an image becomes the network's input, as the exported files and their card state it.

use anyhow::Result;
use sonotune_base::Error;
use sonotune_dataset::InputSpec;
use sonotune_dataset::transforms::{
    Cropping, Doppler, Normalize, PadOrder, PadTo, Resample, SizeRule,
};
use sonotune_run::config::RunConfig;

/// The preparation of one image for an input of `side` × `side`.
#[derive(Debug, Clone)]
pub(crate) struct Preparation {
    pub(crate) side: i64,
    pub(crate) resample: Resample,
    pub(crate) size_rule: SizeRule,
    pub(crate) normalize: Normalize,
    pub(crate) pad_order: PadOrder,
    /// RGB, of values in 0..=255.
    pub(crate) mean: [f64; 3],
    pub(crate) std: [f64; 3],
    /// What must have been done to the image before.
    pub(crate) before: Vec<String>,
}

impl Preparation {
    /// That of a config whose backbone has the input `spec`.
    ///
    /// # Errors
    /// Of kind config if images of different shapes give inputs of different sizes.
    pub(crate) fn of(config: &RunConfig, spec: &InputSpec) -> Result<Self> {
        let preprocess = &config.preprocess;
        if preprocess.padding(false) == PadTo::Multiple {
            let key = if preprocess.eval_pad_to.is_some() { "eval_pad_to" } else { "pad_to" };
            return Err(Error::config(format!(
                "preprocess.{key} = \"multiple\" gives images of different shapes inputs of different sizes, but \
                 an exported graph has one: pass preprocess.eval_pad_to=square, which pads all to image_size"
            ))
            .into());
        }
        let mut before = Vec::new();
        if preprocess.crop == Cropping::FieldOfView {
            before.push("crop the image to the field of view (preprocess.crop)".to_owned());
        }
        if preprocess.doppler != Doppler::Keep {
            before.push("treat colour Doppler as preprocess.doppler says".to_owned());
        }
        if preprocess.exif {
            before.push("apply the EXIF orientation".to_owned());
        }
        Ok(Self {
            side: preprocess.image_size.into(),
            resample: preprocess.resample,
            size_rule: preprocess.size_rule,
            normalize: preprocess.normalize,
            pad_order: preprocess.pad_order,
            mean: spec.pixel_mean,
            std: spec.pixel_std,
            before,
        })
    }

    /// What is added to a scaled side before its fraction is cut off; `None`: both sides become `side`.
    pub(crate) fn rounding(&self) -> Option<f64> {
        match self.size_rule {
            SizeRule::Truncate => Some(0.0),
            SizeRule::Round => Some(0.5),
            SizeRule::Stretch => None,
        }
    }

    /// In words, a step each.
    pub(crate) fn words(&self) -> Vec<String> {
        let side = self.side;
        let how = match self.resample {
            Resample::Reference => {
                "bilinear without antialiasing, rounded to whole levels (OpenCV's INTER_LINEAR)"
            }
            Resample::ReferenceFloat => {
                "bilinear without antialiasing, in floats (OpenCV's INTER_LINEAR)"
            }
            Resample::Antialias => {
                "bilinear with antialiasing, rounded to whole levels (Pillow's BILINEAR)"
            }
            Resample::Area => {
                "the mean of the covered area (OpenCV's INTER_AREA); bilinear if the image grows"
            }
        };
        let size = match self.size_rule {
            SizeRule::Stretch => {
                format!("height and width become {side}, whatever the aspect ratio")
            }
            SizeRule::Round => {
                format!("the longest side becomes {side}, the other one int(side · scale + 0.5)")
            }
            SizeRule::Truncate => format!("both sides become int(side · {side} / longest)"),
        };
        let normalised = match self.normalize {
            Normalize::MeanStd => format!(
                "subtract the mean {:?} and divide by {:?} (RGB, of values 0 to 255)",
                self.mean, self.std
            ),
            Normalize::MinMax => {
                "subtract the smallest value of the image and divide by its range".to_owned()
            }
        };
        let padded = format!("pad with zeros at the right and at the bottom to {side} x {side}");
        let mut steps = self.before.clone();
        steps.push("RGB; a grey image gives three equal channels".to_owned());
        steps.push(format!("resize: {size}; {how}"));
        match self.pad_order {
            PadOrder::NormalizeThenPad => steps.extend([normalised, padded]),
            PadOrder::PadThenNormalize => steps.extend([padded, normalised]),
        }
        steps
    }
}
