//! The `[task]` table of `type = "sam_prompt"`.

use sonotune_engine::prelude::*;

mod evaluation;
mod everything;
mod training;

pub(crate) use evaluation::Multimask;
pub use evaluation::{EvaluationConfig, Protocol};
pub use everything::EverythingConfig;
pub use training::TrainingConfig;

use crate::{convention::Convention, loss::LossConfig, transformer::TransformerSizes};

/// Options of promptable segmentation.
///
/// ```toml
/// [task]
/// type = "sam_prompt"
/// convention = "ultrasam"          # "auto": by the naming of the pretrained weights
///
/// [task.evaluation]
/// protocols = ["center_point", "box"]
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct SamPromptConfig {
    /// How the weights are used: `segment_anything` (SAM, MedSAM), `ultrasam`, `sam2` (SAM 2, MedSAM2: another
    /// decoder, on `backbone.type = "hiera"`), or `auto`: by the naming of the pretrained weights; without
    /// weights, `segment_anything`. The decision is printed and recorded in the run's config.
    pub convention: Convention,
    /// A second pass that gets the first mask as a prompt: `ultrasam` yes, `segment_anything` no. If absent, as
    /// the convention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refinement: Option<bool>,
    /// The mask decoder.
    pub decoder: DecoderConfig,
    /// How prompts are drawn in training.
    pub training: TrainingConfig,
    /// Weights and choices of the loss.
    pub loss: LossConfig,
    /// How `sonotune eval` and evaluations in training prompt and score.
    pub evaluation: EvaluationConfig,
    /// `sonotune predict --everything`: clicks on a grid, and which of their masks are kept.
    pub everything: EverythingConfig,
}

/// `[task.decoder]`: the mask decoder; as wide as the backbone's last level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct DecoderConfig {
    /// Layers of the two-way transformer.
    pub depth: usize,
    /// Heads of its attention layers.
    pub num_heads: i64,
    /// Width of its MLPs.
    pub mlp_dim: i64,
    /// `LN(2q + MLP(q))` instead of `LN(q + MLP(q))`: UltraSam's weights were trained with it. If absent, as the
    /// convention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub double_residual: Option<bool>,
    /// In the MLPs, in training: `ultrasam` 0.1, `segment_anything` 0. If absent, as the convention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
}

impl Default for DecoderConfig {
    /// SAM's sizes.
    fn default() -> Self {
        Self { depth: 2, num_heads: 8, mlp_dim: 2048, double_residual: None, dropout: None }
    }
}

impl SamPromptConfig {
    /// Whether a second pass refines the first mask.
    #[must_use]
    pub fn refines(&self) -> bool {
        self.refinement.unwrap_or(self.convention.is_ultrasam())
    }

    /// Sizes of a decoder of width `dim`.
    pub(crate) fn sizes(&self, dim: i64) -> Result<TransformerSizes> {
        let DecoderConfig { depth, num_heads, mlp_dim, .. } = self.decoder;
        let fault = |message: String| Err(Error::config(message).into());
        if depth == 0 {
            return fault("task.decoder.depth = 0: expected at least 1".to_owned());
        }
        if mlp_dim <= 0 {
            return fault(format!("task.decoder.mlp_dim = {mlp_dim}: must be positive"));
        }
        if num_heads <= 0 || dim % 8 != 0 || (dim / 2) % num_heads != 0 {
            return fault(format!(
                "task.decoder.num_heads = {num_heads} does not fit the {dim} channels of the \
                 backbone's last level: these must be a multiple of 8, and half of them a multiple of \
                 num_heads (SAM: 256 and 8)"
            ));
        }
        let is_ultrasam = self.convention.is_ultrasam();
        let dropout = self.decoder.dropout.unwrap_or(if is_ultrasam { 0.1 } else { 0.0 });
        if !(0.0..1.0).contains(&dropout) {
            return fault(format!("task.decoder.dropout = {dropout}: expected 0 to below 1"));
        }
        Ok(TransformerSizes {
            dim,
            depth,
            num_heads,
            mlp_dim,
            double_residual: self.decoder.double_residual.unwrap_or(is_ultrasam),
            dropout,
        })
    }
}
