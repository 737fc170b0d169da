//! The `[task.evaluation]` table.

use sonotune_engine::prelude::*;

use crate::{mask_decoder::MaskTokens, postprocess::Postprocess};

/// `[task.evaluation]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct EvaluationConfig {
    /// How each object is prompted for, one score each: `center_point`, `box`, `random_point`, `noisy_box`,
    /// `clicks`.
    pub protocols: Vec<Protocol>,
    /// Clicks of the protocol `clicks`; one score per click.
    pub num_clicks: usize,
    /// `noisy_box`: each side moves by up to this share of its width or height.
    pub box_noise: f64,
    /// Seed of `random_point` and `noisy_box`.
    pub seed: u64,
    /// Treats all categories as one: a prompt says where, not what.
    pub class_agnostic: bool,
    /// `logits`: enlarge, then cut at 0, as SAM. `as_published`: cut first, as UltraSam's code; masks are 5-8 %
    /// larger. `direct`: as SAM 2, resized to the original size in one step, if the image fills the input
    /// (`preprocess.size_rule = "stretch"`).
    pub postprocess: Postprocess,
    /// Without refinement: three masks, of which the one with the highest predicted IoU counts, `always`, as the
    /// reference; or only for `ambiguous` prompts (a single click) and one otherwise, as SAM's authors advise for
    /// their weights. Training without refinement and interaction trains only these three masks. `never`: one for
    /// every prompt, in every pass and in training as well, for weights that were trained with one mask, such as
    /// LiteMedSAM's.
    pub multimask: Multimask,
    /// Objects that go through the decoder together: more is faster and takes more memory.
    pub objects_per_pass: usize,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            protocols: vec![Protocol::CenterPoint, Protocol::Box],
            num_clicks: 5,
            box_noise: 0.1,
            seed: 0,
            class_agnostic: true,
            postprocess: Postprocess::Logits,
            multimask: Multimask::Always,
            objects_per_pass: 32,
        }
    }
}

/// Whether a prompt gives three masks, of which the one with the highest predicted IoU counts, or one. Only
/// `never` also decides about training and passes with refinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", rename_all = "snake_case")]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum Multimask {
    /// Three for every prompt, as in the reference. Training without refinement and interaction trains
    /// only these.
    Always,
    /// Three for a single click, one for any other prompt, as SAM's authors advise for their weights.
    Ambiguous,
    /// One for every prompt, in training as well: for weights whose three others were not trained, such as
    /// LiteMedSAM's.
    Never,
}

impl Multimask {
    /// The masks of a pass in which other weights give three.
    pub(crate) fn several(self) -> MaskTokens {
        if self == Self::Never { MaskTokens::Single } else { MaskTokens::Multi }
    }
}

impl EvaluationConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let fault = |key: &str, expected: &str| {
            Err(Error::config(format!("`task.evaluation.{key}`: expected {expected}")).into())
        };
        if self.protocols.is_empty() {
            return fault("protocols", "at least one");
        }
        for (i, protocol) in self.protocols.iter().enumerate() {
            if self.protocols[..i].contains(protocol) {
                return fault(
                    "protocols",
                    &format!("each once; {} is listed twice", protocol.name()),
                );
            }
        }
        if !(1..=100).contains(&self.num_clicks) {
            return fault("num_clicks", "1 to 100");
        }
        if !(0.0..1.0).contains(&self.box_noise) {
            return fault("box_noise", "0 to below 1");
        }
        if self.objects_per_pass == 0 {
            return fault("objects_per_pass", "at least 1");
        }
        Ok(())
    }

    /// Names of the passes, in the order of [`Answer::pass`](sonotune_engine::task::Answer::pass).
    pub(crate) fn passes(&self) -> Vec<String> {
        let of = |protocol: &Protocol| match protocol {
            Protocol::Clicks => (1..=self.num_clicks).map(|n| format!("clicks_{n}")).collect(),
            other => vec![other.name().to_owned()],
        };
        self.protocols.iter().flat_map(of).collect()
    }
}

/// How an object is prompted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", rename_all = "snake_case")]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum Protocol {
    /// Mean row and column of the object's pixels in the original image, as in the reference; it may
    /// be outside the object, for example a crescent.
    CenterPoint,
    /// The annotated box.
    Box,
    /// One of the object's pixels.
    RandomPoint,
    /// The annotated box with each side moved.
    NoisyBox,
    /// The centre point, then repeatedly a click at the deepest point of the remaining error, with the
    /// last mask as a prompt; one score per click.
    Clicks,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CenterPoint => "center_point",
            Self::Box => "box",
            Self::RandomPoint => "random_point",
            Self::NoisyBox => "noisy_box",
            Self::Clicks => "clicks",
        }
    }
}
