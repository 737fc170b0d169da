//! Stem and four stages.

use anyhow::Result;
use tch::{Tensor, nn};

use super::{
    block::{Block, BlockSizes},
    config::ResNetConfig,
};
use crate::backbone::{
    Backbone, BackboneSpec, Level,
    conv_norm::{ConvNorm, ConvNormSpec, Statistics},
    freeze::{Place, publish},
};
use sonotune_dataset::InputSpec;

/// ResNet without its classifier.
#[derive(Debug)]
pub(super) struct ResNet {
    stem: ConvNorm,
    /// Up to the last stage that is asked for; all stages have variables nevertheless, so that a
    /// whole checkpoint can be loaded.
    stages: Vec<Vec<Block>>,
    out_indices: Vec<usize>,
    norm_eval: bool,
    spec: BackboneSpec,
}

impl ResNet {
    pub(super) fn new(vs: &nn::Path, config: &ResNetConfig) -> Result<Self> {
        let plan = config.plan()?;
        let own = nn::VarStore::new(vs.device());
        let (outer, vs) = (vs, &own.root());
        let base = config.base_channels;
        let stem = ConvNorm::new(&ConvNormSpec {
            stride: 2,
            norm_requires_grad: config.norm_requires_grad,
            ..ConvNormSpec::new((vs / "conv1", vs / "bn1"), (3, base), 7)
        });
        let (mut stages, mut levels) = (Vec::new(), Vec::new());
        let mut in_channels = base;
        for (stage, &count) in plan.blocks.iter().enumerate() {
            let mut blocks = Vec::with_capacity(count);
            for index in 0..count {
                let sizes = BlockSizes {
                    bottleneck: plan.bottleneck,
                    in_channels,
                    width: base << stage,
                    stride: if stage > 0 && index == 0 { 2 } else { 1 },
                    norm_requires_grad: config.norm_requires_grad,
                    zero_init_residual: config.zero_init_residual,
                };
                let path = format!("layer{}", stage + 1);
                blocks.push(Block::new(&(vs / &path / index), sizes));
                in_channels = sizes.out_channels();
            }
            stages.push(blocks);
            levels.push(Level { channels: in_channels, stride: 4 << stage });
        }
        config.freeze.apply(&own, 4, place)?;
        let _ = publish(&own, outer);
        let levels = config.out_indices.iter().map(|&index| levels[index]).collect();
        Ok(Self {
            stem,
            stages,
            out_indices: config.out_indices.clone(),
            norm_eval: config.norm_eval,
            spec: BackboneSpec { input: InputSpec::imagenet(32), levels },
        })
    }
}

fn place(name: &str) -> Place {
    let stage = name.strip_prefix("layer").and_then(|rest| rest.split('.').next()?.parse().ok());
    stage.map_or(Place::Stem, |stage: usize| Place::Block(stage - 1))
}

impl Backbone for ResNet {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>> {
        let (_, _, height, width) = images.size4()?;
        self.spec.require_size("resnet", height, width)?;
        let statistics =
            if train && !self.norm_eval { Statistics::OfBatch } else { Statistics::Stored };
        // Channels last: oneDNN and cuDNN convolve in this order without repacking at every layer.
        let images = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let x = self.stem.forward(&images, statistics).relu_();
        let mut x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        let mut levels = Vec::with_capacity(self.out_indices.len());
        let last = self.out_indices.last().copied().unwrap_or_default();
        for (stage, blocks) in self.stages.iter().enumerate().take(last + 1) {
            for block in blocks {
                x = block.forward(&x, statistics);
            }
            if self.out_indices.contains(&stage) {
                levels.push(x.shallow_clone());
            }
        }
        Ok(levels)
    }
}
