//! The whole encoder: patches, stages of blocks, neck.

use anyhow::Result;
use tch::{Tensor, nn};

use super::{
    block::{Block, BlockSizes},
    config::{HieraConfig, Levels, Sizes},
    neck::Neck,
    trunk::{PATCH_STRIDE, Stem},
};
use sonotune_dataset::InputSpec;
use sonotune_engine::backbone::{
    Backbone, BackboneSpec, Level,
    freeze::{Place, publish},
    shared_block::SharedBlock,
};

/// SAM 2's image encoder.
#[derive(Debug)]
pub(super) struct ImageEncoder {
    stem: Stem,
    /// Those of all stages, in order.
    blocks: Vec<SharedBlock<Block>>,
    /// The last block of each stage.
    stage_ends: Vec<usize>,
    neck: Option<Neck>,
    /// Without neck: stages whose outputs are levels.
    out_indices: Vec<usize>,
    activation_checkpointing: bool,
    spec: BackboneSpec,
}

impl ImageEncoder {
    pub(super) fn new(vs: &nn::Path, config: &HieraConfig) -> Result<Self> {
        let sizes = config.sizes()?;
        let own = nn::VarStore::new(vs.device());
        let (outer, vs) = (vs, &own.root());
        let trunk = &(vs / "trunk");
        let stem = Stem::new(trunk, &sizes);
        let of_blocks = block_sizes(&sizes).into_iter().enumerate();
        let mut blocks: Vec<Block> =
            of_blocks.map(|(i, sizes)| Block::new(&(trunk / "blocks" / i), sizes)).collect();
        let (neck, out_indices) = match &sizes.levels {
            Levels::Stages(indices) => (None, indices.clone()),
            Levels::Neck { channels, count, top_down } => {
                let neck = Neck::new(&(vs / "neck"), &sizes, (*channels, *count, top_down));
                (Some(neck), Vec::new())
            }
        };
        config.freeze.apply(&own, sizes.depth(), place)?;
        // Last, so that the random start of everything else is the same as in a model without them.
        for (index, block) in blocks.iter_mut().enumerate() {
            block.add(&(trunk / "blocks" / index), config);
        }
        let variables = publish(&own, outer);
        let of_block = |index: usize| {
            let own = variables.iter().filter(|(name, _)| place(name) == Place::Block(index));
            own.map(|(_, variable)| variable.shallow_clone()).collect()
        };
        let blocks = blocks.into_iter().enumerate();
        Ok(Self {
            stem,
            blocks: blocks.map(|(i, block)| SharedBlock::new(block, of_block(i))).collect(),
            stage_ends: stage_ends(&sizes),
            neck,
            out_indices,
            activation_checkpointing: config.activation_checkpointing,
            spec: spec(&sizes),
        })
    }

    /// Outputs of all stages, fine to coarse, `[B, C, H, W]`.
    fn stages(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>> {
        let mut x = self.stem.forward(images);
        let mut stages = Vec::with_capacity(self.stage_ends.len());
        for (index, block) in self.blocks.iter().enumerate() {
            x = if train && self.activation_checkpointing && (x.requires_grad() || block.learns()) {
                block.forward_checkpointed(&x)?
            } else {
                block.forward(&x)?
            };
            if self.stage_ends.contains(&index) {
                stages.push(x.permute([0, 3, 1, 2]));
            }
        }
        Ok(stages)
    }
}

/// Sizes of all blocks. The first block of a further stage widens the tokens and halves the map; its windows
/// are still those of the stage before.
fn block_sizes(sizes: &Sizes) -> Vec<BlockSizes> {
    let mut blocks: Vec<BlockSizes> = Vec::with_capacity(sizes.depth());
    for (stage, &count) in sizes.stages.iter().enumerate() {
        for of_stage in 0..count {
            let before = if of_stage == 0 { stage.saturating_sub(1) } else { stage };
            let is_global = sizes.global_att_blocks.contains(&blocks.len());
            blocks.push(BlockSizes {
                dim: sizes.channels(before),
                dim_out: sizes.channels(stage),
                num_heads: sizes.num_heads << stage,
                window_size: (!is_global).then_some(sizes.window_spec[before]),
            });
        }
    }
    blocks
}

fn stage_ends(sizes: &Sizes) -> Vec<usize> {
    let ends = sizes.stages.iter().scan(0, |end, count| {
        *end += count;
        Some(*end - 1)
    });
    ends.collect()
}

fn spec(sizes: &Sizes) -> BackboneSpec {
    let level = |stage: usize, channels| Level { channels, stride: PATCH_STRIDE << stage };
    BackboneSpec {
        input: InputSpec::imagenet(sizes.divisor()),
        levels: match &sizes.levels {
            Levels::Stages(indices) => {
                indices.iter().map(|&stage| level(stage, sizes.channels(stage))).collect()
            }
            Levels::Neck { channels, count, .. } => {
                (0..*count).map(|stage| level(stage, *channels)).collect()
            }
        },
    }
}

fn place(name: &str) -> Place {
    Place::of(name, "trunk.blocks.", &["neck."])
}

impl Backbone for ImageEncoder {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>> {
        let (_, _, height, width) = images.size4()?;
        self.spec.require_size("hiera", height, width)?;
        let stages = self.stages(images, train)?;
        if let Some(neck) = &self.neck {
            return Ok(neck.forward(&stages));
        }
        let level = |&stage: &usize| stages.get(stage).map(Tensor::shallow_clone);
        Ok(self.out_indices.iter().filter_map(level).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, Kind, nn::VarStore};

    use super::*;
    use sonotune_engine::backbone::BackboneConfig;
    use sonotune_weights::addition;

    const TINY: &str = "embed_dim = 8\nnum_heads = 1\nstages = [1, 2, 2, 1]\nglobal_att_blocks = [4]\nwindow_spec = [4, 2, 4, 3]\nwindow_pos_embed_bkg_spatial_size = [3, 3]\nout_channels = 8\n";
    const ADDED: &str = "freeze = \"all\"\nadapter = {}\nlora = { rank = 2, targets = [\"q\", \"k\", \"v\", \"proj\", \"mlp\"] }\n";

    fn build(extra: &str) -> (VarStore, Box<dyn Backbone>, HieraConfig) {
        let config: HieraConfig = toml::from_str(&(TINY.to_owned() + extra)).unwrap();
        let vs = VarStore::new(Device::Cpu);
        let encoder = config.build(&(vs.root() / "backbone")).unwrap();
        (vs, encoder, config)
    }

    fn images(height: i64, width: i64) -> Tensor {
        Tensor::randn([2, 3, height, width], (Kind::Float, Device::Cpu))
    }

    fn copy(to: &VarStore, from: &VarStore) {
        let from = from.variables();
        for (name, mut variable) in to.variables() {
            if let Some(value) = from.get(&name) {
                tch::no_grad(|| variable.copy_(value));
            }
        }
    }

    /// Gives every added variable values as training might leave them.
    fn train(vs: &VarStore) {
        let added = vs.variables().into_iter().filter(|(name, _)| addition(name).is_some());
        for (_, mut variable) in added {
            let drawn = Tensor::randn(variable.size(), (Kind::Float, Device::Cpu)) * 0.3;
            tch::no_grad(|| variable.copy_(&drawn));
        }
    }

    fn sum(encoder: &dyn Backbone, images: &Tensor, train: bool) -> Tensor {
        let levels = encoder.forward(images, train).unwrap();
        levels.iter().map(|level| level.square().mean(Kind::Float)).reduce(|a, b| a + b).unwrap()
    }

    #[test]
    fn levels_have_the_sizes_of_the_spec() {
        for (extra, expected) in [
            ("", vec![(8, 4), (8, 8), (8, 16)]),
            ("scalp = 0", vec![(8, 4), (8, 8), (8, 16), (8, 32)]),
            ("out_channels = 0", vec![(8, 4), (16, 8), (32, 16), (64, 32)]),
            ("out_channels = 0\nout_indices = [1, 3]", vec![(16, 8), (64, 32)]),
        ] {
            let text = TINY.replace("out_channels = 8\n", "");
            let own = if extra.contains("out_channels") {
                extra.to_owned()
            } else {
                format!("out_channels = 8\n{extra}")
            };
            let config: HieraConfig = toml::from_str(&(text + &own)).unwrap();
            let encoder = config.build(&VarStore::new(Device::Cpu).root()).unwrap();
            let spec: Vec<_> =
                encoder.spec().levels.iter().map(|l| (l.channels, l.stride)).collect();
            assert_eq!(spec, expected, "{extra}");
            let levels = encoder.forward(&images(64, 96), false).unwrap();
            for ((channels, stride), level) in expected.into_iter().zip(levels) {
                assert_eq!(level.size(), [2, channels, 64 / stride, 96 / stride], "{extra}");
            }
        }
    }

    #[test]
    fn an_odd_input_size_is_refused_with_one_that_fits() {
        let message = build("").1.forward(&images(60, 70), false).unwrap_err().to_string();
        assert!(message.contains("60x70") && message.contains("64x96"), "{message}");
    }

    #[test]
    fn freezing_takes_gradients_from_what_it_names_and_nothing_else() {
        let frozen = |extra: &str| -> Vec<String> {
            let frozen = build(extra).0.variables().into_iter();
            let frozen = frozen.filter(|(_, t)| !t.requires_grad());
            frozen.map(|(name, _)| name.replace("backbone.", "")).collect()
        };
        assert_eq!(frozen("").len(), 0);
        // Twelve variables a block, and the shortcut of those that begin a stage.
        assert_eq!(frozen("freeze = \"all\"").len(), 4 + 6 * 12 + 3 * 2 + 8);
        let names = frozen("freeze = 2");
        assert_eq!(names.len(), 4 + 2 * 12 + 2);
        assert!(names.iter().all(|n| !n.contains("blocks.2") && !n.starts_with("neck")));
    }

    #[test]
    fn additions_start_as_the_pretrained_model_and_can_be_merged() {
        let (base, plain, _) = build("");
        let images = images(64, 64);
        let (vs, encoder, config) = build(ADDED);
        copy(&vs, &base);
        let close = |a: &Tensor, b: &Tensor| a.allclose(b, 1e-4, 1e-6, false);
        assert!(close(&sum(&*encoder, &images, false), &sum(&*plain, &images, false)));
        let learns = vs.variables().into_iter().filter(|(_, t)| t.requires_grad());
        let learns: Vec<String> = learns.map(|(name, _)| name).collect();
        assert!(learns.iter().all(|name| addition(name).is_some()), "{learns:?}");
        assert_eq!(learns.len(), 6 * (2 * 6 + 8));
        let widened = &vs.variables()["backbone.trunk.blocks.1.attn.qkv.lora_B.v.weight"];
        assert_eq!(widened.size(), [16, 2]);

        let text = ADDED.replace("adapter = {}\n", "");
        let (vs, encoder, lora) = build(&text);
        train(&vs);
        let mut merged: BTreeMap<_, _> = vs.variables().into_iter().collect();
        assert_eq!(lora.merge(&mut merged).unwrap(), 6 * 6);
        for (name, mut variable) in base.variables() {
            tch::no_grad(|| variable.copy_(&merged[&name]));
        }
        assert!(close(&sum(&*plain, &images, false), &sum(&*encoder, &images, false)));
        assert!(config.merge(&mut BTreeMap::new()).is_ok());
    }

    #[test]
    fn checkpointing_changes_no_gradient() {
        for extra in ["", "freeze = 2\n", ADDED] {
            let images = images(64, 64);
            let (vs, encoder, _) = build(extra);
            train(&vs);
            sum(&*encoder, &images, true).backward();
            let (twin, encoder, _) = build(&format!("{extra}activation_checkpointing = true"));
            copy(&twin, &vs);
            sum(&*encoder, &images, true).backward();
            let again = twin.variables();
            for (name, variable) in vs.variables() {
                let (expected, got) = (variable.grad(), again[&name].grad());
                assert_eq!(expected.defined(), got.defined(), "{extra}{name}");
                assert!(!expected.defined() || expected.equal(&got), "{extra}{name}");
            }
        }
    }
}
