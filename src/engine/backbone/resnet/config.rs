//! The `[backbone]` table of `type = "resnet"`.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn;

use super::encoder::ResNet;
use crate::backbone::{Backbone, BackboneConfig, Freeze, fault};

/// ResNet, with frozen batch-norm statistics unless asked otherwise.
///
/// ```toml
/// [backbone]
/// type = "resnet"
/// depth = 50
/// out_indices = [3]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResNetConfig {
    /// 18, 34, 50, 101 or 152.
    pub depth: i64,
    /// Channels of the stem; the published networks have 64.
    pub base_channels: i64,
    /// Stages whose outputs become levels; strides 4, 8, 16, 32.
    pub out_indices: Vec<usize>,
    /// Whether scale and shift of the batch norms learn.
    pub norm_requires_grad: bool,
    /// Keeps the statistics of batch norms as they were loaded. `false`: training normalises by each batch and moves
    /// the statistics, except in layers whose norms are not trained; for a random start, which has none. Not with
    /// several processes.
    pub norm_eval: bool,
    /// Starts the last norm of each block at zero; loaded weights overwrite it.
    pub zero_init_residual: bool,
    /// What does not learn: `"none"`, `"all"`, a number (the stem and that many stages), or a list of patterns of
    /// variable names.
    pub freeze: Freeze,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self {
            depth: 50,
            base_channels: 64,
            out_indices: vec![0, 1, 2, 3],
            norm_requires_grad: true,
            norm_eval: true,
            zero_init_residual: false,
            freeze: Freeze::None,
        }
    }
}

/// The structure that `depth` selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) bottleneck: bool,
    pub(super) blocks: [usize; 4],
}

/// The published depths.
const PLANS: [(i64, Plan); 5] = [
    (18, Plan { bottleneck: false, blocks: [2, 2, 2, 2] }),
    (34, Plan { bottleneck: false, blocks: [3, 4, 6, 3] }),
    (50, Plan { bottleneck: true, blocks: [3, 4, 6, 3] }),
    (101, Plan { bottleneck: true, blocks: [3, 4, 23, 3] }),
    (152, Plan { bottleneck: true, blocks: [3, 8, 36, 3] }),
];

impl ResNetConfig {
    pub(super) fn plan(&self) -> Result<Plan> {
        let Some(&(_, plan)) = PLANS.iter().find(|(depth, _)| *depth == self.depth) else {
            return fault(format!("backbone.depth = {}: 18, 34, 50, 101 or 152", self.depth));
        };
        if self.base_channels < 1 {
            return fault(format!(
                "backbone.base_channels = {}: must be positive",
                self.base_channels
            ));
        }
        let indices = &self.out_indices;
        let ascending = indices.windows(2).all(|pair| pair[0] < pair[1]);
        if indices.is_empty() || !ascending || indices.iter().any(|&index| index > 3) {
            return fault(format!(
                "backbone.out_indices = {indices:?}: stages from 0 to 3, ascending, at least one"
            ));
        }
        if !self.norm_eval && !self.norm_requires_grad {
            return fault(
                "backbone.norm_eval = false contradicts norm_requires_grad = false, which keeps the \
                 statistics; remove one of them"
                    .to_owned(),
            );
        }
        Ok(plan)
    }
}

inventory::submit! {
    sonotune_config::Summary::of("backbone", "resnet", "ResNet-18 to 152").schema::<ResNetConfig>()
}

#[typetag::serde(name = "resnet")]
impl BackboneConfig for ResNetConfig {
    fn build(&self, vs: &nn::Path) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(ResNet::new(vs, self)?))
    }

    fn other_sizes(&self, shapes: &BTreeMap<String, Vec<i64>>) -> Option<String> {
        let has = |name: String| shapes.contains_key(&name);
        let blocks = [1, 2, 3, 4].map(|layer| {
            let block = |n: &usize| has(format!("backbone.layer{layer}.{n}.conv1.weight"));
            (0..).take_while(block).count()
        });
        let plan = Plan { bottleneck: has("backbone.layer1.0.conv3.weight".to_owned()), blocks };
        let (depth, _) = PLANS.iter().find(|(_, published)| *published == plan)?;
        (*depth != self.depth).then(|| format!("depth = {depth}"))
    }

    fn batch_statistics(&self) -> Option<&'static str> {
        let learns = self.norm_requires_grad && self.freeze != Freeze::All;
        (!self.norm_eval && learns).then_some("backbone.norm_eval = false")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_depth_names_it() {
        let mut shapes = BTreeMap::new();
        for (layer, blocks) in [(1, 3), (2, 4), (3, 23), (4, 3)] {
            for (block, conv) in (0..blocks).flat_map(|block| [(block, 1), (block, 3)]) {
                shapes.insert(format!("backbone.layer{layer}.{block}.conv{conv}.weight"), vec![]);
            }
        }
        for (depth, expected) in [(50, Some("depth = 101")), (101, None)] {
            let config = ResNetConfig { depth, ..ResNetConfig::default() };
            assert_eq!(config.other_sizes(&shapes).as_deref(), expected);
        }
        assert_eq!(ResNetConfig::default().other_sizes(&BTreeMap::new()), None);
    }

    #[test]
    fn contradictions_name_the_key() {
        for (text, expected) in [
            ("depth = 49", "backbone.depth = 49"),
            ("base_channels = 0", "backbone.base_channels = 0"),
            ("out_indices = [4]", "backbone.out_indices = [4]"),
            ("out_indices = []", "at least one"),
            ("out_indices = [2, 1]", "ascending"),
            ("norm_eval = false\nnorm_requires_grad = false", "backbone.norm_eval = false"),
        ] {
            let config: ResNetConfig = toml::from_str(text).unwrap();
            let message = config.plan().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
