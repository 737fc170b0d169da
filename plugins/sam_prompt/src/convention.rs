//! The differences between the code of SAM, SAM 2 and UltraSam, as a property of the weights.

use sonotune_engine::prelude::*;

/// How a set of weights was trained, and therefore must be used.
///
/// The order of tokens also differs but affects only rounding, since attention does not depend on
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", rename_all = "snake_case")]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum Convention {
    /// By the naming of the pretrained weights; `segment_anything` if there are none.
    #[default]
    Auto,
    /// SAM and MedSAM: one residual around the MLP, no dropout, half a pixel added to every
    /// coordinate, one pass.
    SegmentAnything,
    /// UltraSam: the residual counts twice, dropout 0.1, offsets by kind of prompt, and a second pass
    /// that refines the first mask.
    Ultrasam,
    /// SAM 2, SAM 2.1 and MedSAM2: as SAM, with the decoder of [`crate::sam2`], and the token that fills the
    /// place of a box after boxes as well.
    Sam2,
}

/// Source of a coordinate, which decides its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    TrainPoint,
    TrainBox,
    /// From an annotation or a user, in evaluation and prediction.
    Given,
    /// From a mask that the model has just predicted.
    Predicted,
}

impl Convention {
    /// Offset added to coordinates in input pixels.
    ///
    /// SAM uses pixel centres. UltraSam draws training points anywhere within their pixel (the
    /// caller adds that), and feeds boxes of predicted masks back unchanged.
    pub(crate) fn offset(self, origin: Origin) -> f64 {
        match (self, origin) {
            (Self::Ultrasam, Origin::TrainPoint | Origin::Predicted) => 0.0,
            _ => 0.5,
        }
    }

    pub(crate) fn is_ultrasam(self) -> bool {
        self == Self::Ultrasam
    }

    pub(crate) fn is_sam2(self) -> bool {
        self == Self::Sam2
    }

    /// Name in a config.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::SegmentAnything => "segment_anything",
            Self::Ultrasam => "ultrasam",
            Self::Sam2 => "sam2",
        }
    }
}
