//! The points in which UltraSam's code departs from SAM's, as a property of the weights.

use engine::serde::{Deserialize, Serialize};

/// How a set of weights was trained, and so must be used.
///
/// The order of tokens, which differs as well, changes nothing but rounding: no token has a place
/// of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(crate = "engine::serde", rename_all = "snake_case")]
pub enum Convention {
    /// By the naming of the pretrained weights; `segment_anything` where there are none.
    #[default]
    Auto,
    /// SAM and MedSAM: one residual around the MLP, no dropout, half a pixel added to every
    /// coordinate, one pass.
    SegmentAnything,
    /// UltraSam: the residual counts twice, dropout 0.1, offsets by kind of prompt, and a second pass
    /// that refines the first mask.
    Ultrasam,
}

/// Where a coordinate comes from; decides its offset.
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
    /// What is added to coordinates in input pixels.
    ///
    /// SAM means centres of pixels. UltraSam draws training points anywhere within their pixel (the
    /// caller adds that), and feeds boxes of predicted masks back as they are.
    pub(crate) fn offset(self, origin: Origin) -> f64 {
        match (self, origin) {
            (Self::Ultrasam, Origin::TrainPoint | Origin::Predicted) => 0.0,
            _ => 0.5,
        }
    }

    pub(crate) fn is_ultrasam(self) -> bool {
        self == Self::Ultrasam
    }

    /// As a config spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::SegmentAnything => "segment_anything",
            Self::Ultrasam => "ultrasam",
        }
    }
}
