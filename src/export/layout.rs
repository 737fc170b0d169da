//! What programs that load exported SAMs expect of their inputs.

use sonotune_engine::task::Promptable;

/// How encoder and decoder are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// samexporter's `segment_anything`: the encoder takes pixels, the decoder gives masks of the image.
    SegmentAnything,
    /// samexporter's `segment_anything_2`: the encoder takes a prepared image and gives finer features as well.
    SegmentAnything2,
}

impl Layout {
    /// That of a model, by what its encoder gives.
    pub(crate) fn of(promptable: &Promptable<'_>) -> Self {
        if promptable.encoder.outputs.len() == 1 {
            Self::SegmentAnything
        } else {
            Self::SegmentAnything2
        }
    }

    /// The `type` of X-AnyLabeling's config.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SegmentAnything => "segment_anything",
            Self::SegmentAnything2 => "segment_anything_2",
        }
    }
}
