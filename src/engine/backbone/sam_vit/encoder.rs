//! The whole encoder: patches, blocks, neck.

use anyhow::Result;
use tch::{Tensor, nn};

use super::{
    block::{Block, BlockSizes},
    config::{SamVitConfig, Sizes},
    positions::resize_pos_embed,
};
use crate::{
    backbone::{
        Backbone, BackboneSpec, Level,
        freeze::{Place, publish},
        sam_neck::Neck,
        shared_block::SharedBlock,
    },
    nn::{conv_default, trunc_normal},
};
use sonotune_dataset::InputSpec;

/// SAM's image encoder.
#[derive(Debug)]
pub(super) struct ImageEncoder {
    patch_embed: PatchEmbed,
    /// `[1, S, S, C]`.
    pos_embed: Tensor,
    blocks: Vec<SharedBlock<Block>>,
    activation_checkpointing: bool,
    neck: Option<Neck>,
    out_indices: Vec<usize>,
    spec: BackboneSpec,
}

impl ImageEncoder {
    pub(super) fn new(vs: &nn::Path, config: &SamVitConfig) -> Result<Self> {
        let sizes = config.sizes()?;
        let grid = sizes.image_size / sizes.patch_size;
        let own = nn::VarStore::new(vs.device());
        let (outer, vs) = (vs, &own.root());
        let pos_embed = vs.var("pos_embed", &[1, grid, grid, sizes.embed_dim], trunc_normal());
        let patch_embed = PatchEmbed::new(&(vs / "patch_embed"), sizes.patch_size, sizes.embed_dim);
        let block = |index: usize| {
            let window_size =
                (!sizes.global_attn_indexes.contains(&index)).then_some(sizes.window_size);
            let block_sizes = BlockSizes {
                embed_dim: sizes.embed_dim,
                num_heads: sizes.num_heads,
                mlp_dim: sizes.mlp_dim,
                window_size,
                stored_size: window_size.unwrap_or(grid),
                kernel: config.attention_kernel,
            };
            Block::new(&(vs / "blocks" / index), block_sizes)
        };
        let mut blocks: Vec<Block> = (0..sizes.depth).map(block).collect();
        let neck = (sizes.out_channels > 0)
            .then(|| Neck::new(&(vs / "neck"), sizes.embed_dim, sizes.out_channels));
        config.freeze.apply(&own, sizes.depth, place)?;
        // Last, so that the random start of everything else is the same as in a model without them.
        for (index, block) in blocks.iter_mut().enumerate() {
            block.add(&(vs / "blocks" / index), config);
        }
        let variables = publish(&own, outer);
        let of_block = |index: usize| {
            let own = variables.iter().filter(|(name, _)| place(name) == Place::Block(index));
            own.map(|(_, variable)| variable.shallow_clone()).collect()
        };
        let blocks = blocks.into_iter().enumerate();
        Ok(Self {
            patch_embed,
            pos_embed,
            blocks: blocks.map(|(i, block)| SharedBlock::new(block, of_block(i))).collect(),
            neck,
            activation_checkpointing: config.activation_checkpointing,
            spec: spec(&sizes),
            out_indices: sizes.out_indices,
        })
    }
}

fn spec(sizes: &Sizes) -> BackboneSpec {
    let level = |channels| Level { channels, stride: sizes.patch_size };
    BackboneSpec {
        input: InputSpec::imagenet(sizes.patch_size),
        levels: match sizes.out_channels {
            0 => vec![level(sizes.embed_dim); sizes.out_indices.len()],
            channels => vec![level(channels)],
        },
    }
}

fn place(name: &str) -> Place {
    Place::of(name, "blocks.", &["neck."])
}

impl Backbone for ImageEncoder {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>> {
        let (_, _, height, width) = images.size4()?;
        self.spec.require_size("sam_vit", height, width)?;
        let x = self.patch_embed.forward(images);
        let (_, h, w, _) = x.size4()?;
        let mut x = x + resize_pos_embed(&self.pos_embed, (h, w));
        let mut kept: Vec<(usize, Tensor)> = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            x = if train && self.activation_checkpointing && (x.requires_grad() || block.learns()) {
                block.forward_checkpointed(&x)?
            } else {
                block.forward(&x)?
            };
            if self.neck.is_none() && self.out_indices.contains(&index) {
                kept.push((index, x.permute([0, 3, 1, 2])));
            }
        }
        if let Some(neck) = &self.neck {
            return Ok(vec![neck.forward(&x.permute([0, 3, 1, 2]))]);
        }
        let level =
            |index: &usize| kept.iter().find(|(i, _)| i == index).map(|(_, t)| t.shallow_clone());
        Ok(self.out_indices.iter().filter_map(level).collect())
    }
}

/// Non-overlapping patches to tokens.
#[derive(Debug)]
struct PatchEmbed {
    weight: Tensor,
    bias: Tensor,
    patch_size: i64,
}

impl PatchEmbed {
    fn new(vs: &nn::Path, patch_size: i64, embed_dim: i64) -> Self {
        let vs = vs / "proj";
        let init = conv_default(3 * patch_size * patch_size);
        Self {
            weight: vs.var("weight", &[embed_dim, 3, patch_size, patch_size], init),
            bias: vs.var("bias", &[embed_dim], init),
            patch_size,
        }
    }

    /// `[B, 3, H, W]` to `[B, H / patch, W / patch, C]`.
    fn forward(&self, images: &Tensor) -> Tensor {
        let side = self.patch_size;
        images
            .conv2d(&self.weight, Some(&self.bias), [side, side], [0, 0], [1, 1], 1)
            .permute([0, 2, 3, 1])
            .contiguous()
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, nn::VarStore};

    use super::*;
    use crate::backbone::BackboneConfig;

    const TINY: &str = "embed_dim = 16\ndepth = 3\nnum_heads = 2\nwindow_size = 3\nglobal_attn_indexes = [1]\nimage_size = 64\nout_channels = 8\n";

    fn build(extra: &str) -> (VarStore, Box<dyn Backbone>) {
        let config: SamVitConfig = toml::from_str(&(TINY.to_owned() + extra)).unwrap();
        let vs = VarStore::new(Device::Cpu);
        let encoder = config.build(&(vs.root() / "backbone")).unwrap();
        (vs, encoder)
    }

    /// Sorted names and gradients after one backward pass.
    fn gradients(vs: &VarStore, encoder: &dyn Backbone, images: &Tensor) -> Vec<(String, Tensor)> {
        encoder.forward(images, true).unwrap()[0].square().mean(Kind::Float).backward();
        let mut found: Vec<_> = vs.variables().into_iter().map(|(n, t)| (n, t.grad())).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    #[test]
    fn a_random_start_is_spread() {
        let weight = &build("").0.variables()["backbone.blocks.2.mlp.lin2.weight"];
        assert!(weight.std(true).double_value(&[]) > 0.01);
    }

    #[test]
    fn freezing_takes_gradients_from_what_it_names_and_nothing_else() {
        let frozen = |extra: &str| -> Vec<String> {
            let (vs, _) = build(extra);
            let frozen = vs.variables().into_iter().filter(|(_, t)| !t.requires_grad());
            frozen.map(|(name, _)| name.replace("backbone.", "")).collect()
        };
        assert_eq!(frozen("").len(), 0);
        assert_eq!(frozen("freeze = \"all\"").len(), 3 + 3 * 14 + 6);
        let names = frozen("freeze = 2");
        assert_eq!(names.len(), 3 + 2 * 14);
        assert!(names.iter().all(|n| !n.starts_with("blocks.2") && !n.starts_with("neck")));
        assert_eq!(
            frozen("freeze = [\"*.rel_pos_?\", \"neck.*\"]".replace('?', "*").as_str()).len(),
            12
        );
        for (key, expected) in [("freeze = 4", "3 blocks"), ("freeze = [\"nek.*\"]", "\"nek.*\"")] {
            let config: SamVitConfig = toml::from_str(&(TINY.to_owned() + key)).unwrap();
            let vs = VarStore::new(Device::Cpu);
            let message = config.build(&vs.root()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn checkpointing_changes_no_gradient() {
        for freeze in ["", "freeze = 0\n", "freeze = 2\n"] {
            // Values are copied, not drawn twice: other tests draw from the same generator.
            let images = Tensor::randn([2, 3, 64, 64], (Kind::Float, Device::Cpu));
            let (vs, encoder) = build(freeze);
            let plain = gradients(&vs, &*encoder, &images);
            let (mut twin, encoder) = build(&format!("{freeze}activation_checkpointing = true"));
            twin.copy(&vs).unwrap();
            let checkpointed = gradients(&twin, &*encoder, &images);
            for ((name, expected), (_, got)) in plain.iter().zip(&checkpointed) {
                assert_eq!(expected.defined(), got.defined(), "{freeze}{name}");
                assert!(!expected.defined() || expected.equal(got), "{freeze}{name}");
            }
        }
    }

    #[test]
    fn an_odd_input_size_is_refused_with_one_that_fits() {
        let (_, encoder) = build("");
        let images = Tensor::zeros([1, 3, 60, 70], (Kind::Float, Device::Cpu));
        let message = encoder.forward(&images, false).unwrap_err().to_string();
        assert!(message.contains("60x70") && message.contains("64x80"), "{message}");
    }
}
