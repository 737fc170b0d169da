//! The `[task.training]` table.

use sonotune_engine::prelude::*;

/// `[task.training]`: how prompts are simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct TrainingConfig {
    /// Share of objects that are prompted by their box; the others get a point.
    pub box_probability: f64,
    /// Each side of a box moves by up to this share of its width or height.
    pub box_jitter: f64,
    /// SAM's interactive training: this many further points, each drawn from where mask and truth differ, with
    /// the last mask as a prompt. Not together with refinement.
    pub interactive_rounds: usize,
    /// Maximum number of objects per batch that are learnt from; if there are more, a random subset is used (the
    /// rest is logged as `objects_beyond_limit`).
    pub max_objects: usize,
}

impl Default for TrainingConfig {
    /// The reference's values, except the number of objects: it fails at more than 20 per image.
    fn default() -> Self {
        Self { box_probability: 0.5, box_jitter: 0.05, interactive_rounds: 0, max_objects: 64 }
    }
}

impl TrainingConfig {
    pub(crate) fn check(&self, refines: bool) -> Result<()> {
        let range = |key: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                return Ok(());
            }
            Err(Error::config(format!("`task.training.{key}`: expected 0 to 1, got {value:?}")))
        };
        range("box_probability", self.box_probability)?;
        range("box_jitter", self.box_jitter)?;
        if self.max_objects == 0 {
            return Err(Error::config("`task.training.max_objects`: expected at least 1").into());
        }
        if self.interactive_rounds > 0 && refines {
            return Err(Error::config(
                "`task.training.interactive_rounds` and refinement exclude each other: both feed the \
                 last mask back; set task.refinement = false",
            )
            .into());
        }
        Ok(())
    }
}
