//! The whole network: patches, tokens, blocks, levels.

use std::collections::BTreeMap;

use anyhow::Result;
use tch::{
    Tensor,
    nn::{self, Init},
};

use super::{
    architecture::Architecture,
    block::Block,
    config::{RelPosBiasKind, VitConfig},
    levels::Levels,
    positions::PosEmbed,
    rel_pos_bias::RelPosBias,
};
use sonotune_engine::{
    backbone::{
        Backbone, BackboneSpec,
        freeze::{Place, publish},
        shared_block::SharedBlock,
    },
    nn::{Dims, LayerNorm, at_least_float, conv_default},
};

/// A plain vision transformer.
#[derive(Debug)]
pub(super) struct Vit {
    stem: Stem,
    blocks: Vec<SharedBlock<Block>>,
    activation_checkpointing: bool,
    levels: Levels,
    out_indices: Option<Vec<usize>>,
    spec: BackboneSpec,
}

impl Vit {
    pub(super) fn new(vs: &nn::Path, config: &VitConfig) -> Result<Self> {
        let architecture = config.architecture()?;
        let own = nn::VarStore::new(vs.device());
        let (outer, vs) = (vs, &own.root());
        let stem = Stem::new(vs, &architecture);
        let mut blocks = blocks(vs, &architecture);
        let levels = Levels::new(vs, &architecture);
        config.freeze.apply(&own, architecture.depth, place)?;
        // Last, so that the random start of everything else is the same as in a model without them.
        for (index, block) in blocks.iter_mut().enumerate() {
            let vs = vs / "blocks" / index;
            if let Some(lora) = &config.lora {
                block.add_lora(&vs, lora);
            }
            if let Some(adapter) = &config.adapter {
                block.add_adapters(&vs, adapter, architecture.embed_dim);
            }
        }
        let variables = publish(&own, outer);
        let blocks = blocks.into_iter().enumerate();
        Ok(Self {
            stem,
            blocks: blocks.map(|(i, block)| SharedBlock::new(block, of(i, &variables))).collect(),
            activation_checkpointing: config.activation_checkpointing,
            levels,
            spec: BackboneSpec {
                input: architecture.input.clone(),
                levels: Levels::spec(&architecture),
            },
            out_indices: architecture.out_indices,
        })
    }

    fn block(&self, index: usize, x: &Tensor, grid: (i64, i64), train: bool) -> Result<Tensor> {
        let block = &self.blocks[index];
        if train && self.activation_checkpointing && (x.requires_grad() || block.learns()) {
            return block.with_checkpointed(x, move |block, x| block.forward(x, grid));
        }
        block.with(|block| block.forward(x, grid))
    }
}

fn blocks(vs: &nn::Path, architecture: &Architecture) -> Vec<Block> {
    let &Architecture { grid_size, num_heads, rel_pos_bias, .. } = architecture;
    let table = |vs: &nn::Path| RelPosBias::new(vs, grid_size, num_heads);
    let common = (rel_pos_bias == RelPosBiasKind::Shared).then(|| table(&(vs / "rel_pos_bias")));
    let block = |index: usize| {
        let vs = vs / "blocks" / index;
        let bias = match rel_pos_bias {
            RelPosBiasKind::PerBlock => Some(table(&(&vs / "attn"))),
            RelPosBiasKind::Shared | RelPosBiasKind::None => {
                common.as_ref().map(RelPosBias::shared)
            }
        };
        Block::new(&vs, architecture, bias)
    };
    (0..architecture.depth).map(block).collect()
}

/// The variables of a block.
fn of(index: usize, variables: &BTreeMap<String, Tensor>) -> Vec<Tensor> {
    let own = variables.iter().filter(|(name, _)| place(name) == Place::Block(index));
    own.map(|(_, variable)| variable.shallow_clone()).collect()
}

fn place(name: &str) -> Place {
    Place::of(name, "blocks.", &["norm.", "fc_norm."])
}

impl Backbone for Vit {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>> {
        let (_, _, height, width) = images.size4()?;
        self.spec.require_size("vit", height, width)?;
        let patch_size = self.spec.input.divisor;
        let grid = (height / patch_size, width / patch_size);
        let mut x = self.stem.forward(images, grid)?;
        let mut kept: Vec<(usize, Tensor)> = Vec::new();
        for index in 0..self.blocks.len() {
            x = self.block(index, &x, grid, train)?;
            if self.out_indices.as_ref().is_some_and(|indices| indices.contains(&index)) {
                kept.push((index, self.levels.map(&x, grid)));
            }
        }
        let Some(indices) = &self.out_indices else {
            return Ok(vec![self.levels.last(&x, grid)]);
        };
        let level =
            |index: &usize| kept.iter().find(|(i, _)| i == index).map(|(_, t)| t.shallow_clone());
        Ok(indices.iter().filter_map(level).collect())
    }
}

/// From pixels to the tokens that enter the first block.
#[derive(Debug)]
struct Stem {
    patch_embed: PatchEmbed,
    /// `[1, 1, C]`.
    cls_token: Option<Tensor>,
    /// `[1, registers, C]`.
    reg_token: Option<Tensor>,
    pos_embed: Option<PosEmbed>,
    norm_pre: Option<LayerNorm>,
}

impl Stem {
    fn new(vs: &nn::Path, architecture: &Architecture) -> Self {
        let &Architecture { embed_dim, num_register_tokens, .. } = architecture;
        let token = |name: &str, count: i64| {
            let init = Init::Randn { mean: 0.0, stdev: 0.02 };
            (count > 0).then(|| vs.var(name, &[1, count, embed_dim], init))
        };
        Self {
            patch_embed: PatchEmbed::new(&(vs / "patch_embed"), architecture),
            cls_token: token("cls_token", i64::from(architecture.class_token)),
            reg_token: token("reg_token", num_register_tokens),
            pos_embed: PosEmbed::new(vs, architecture),
            norm_pre: architecture
                .pre_norm
                .then(|| LayerNorm::new(&(vs / "norm_pre"), embed_dim, architecture.norm_eps)),
        }
    }

    /// `[B, 3, H, W]` to `[B, 1 + registers + h · w, C]`: class token, registers, patches by rows.
    fn forward(&self, images: &Tensor, grid: (i64, i64)) -> Result<Tensor> {
        // Under autocast the convolution's output is 16-bit; the residual stream stays fp32.
        let patches = at_least_float(&self.patch_embed.forward(images));
        let [b, _, c] = patches.dims();
        let class_token = self.cls_token.as_ref().map(Tensor::shallow_clone);
        let (class_token, patches) = match &self.pos_embed {
            Some(positions) => positions.add(class_token, &patches, grid)?,
            None => (class_token, patches),
        };
        // Registers have no position, as in DINOv2.
        let prefix = [class_token.as_ref(), self.reg_token.as_ref()];
        let prefix = prefix.into_iter().flatten().map(|token| token.expand([b, -1, c], false));
        let mut tokens: Vec<Tensor> = prefix.collect();
        tokens.push(patches);
        let x = Tensor::f_cat(&tokens, 1)?;
        Ok(match &self.norm_pre {
            Some(norm) => norm.forward(&x),
            None => x,
        })
    }
}

/// Non-overlapping patches to tokens.
#[derive(Debug)]
struct PatchEmbed {
    weight: Tensor,
    bias: Option<Tensor>,
    patch_size: i64,
}

impl PatchEmbed {
    fn new(vs: &nn::Path, architecture: &Architecture) -> Self {
        let &Architecture { patch_size, embed_dim, patch_bias, .. } = architecture;
        let vs = vs / "proj";
        let init = conv_default(3 * patch_size * patch_size);
        Self {
            weight: vs.var("weight", &[embed_dim, 3, patch_size, patch_size], init),
            bias: patch_bias.then(|| vs.var("bias", &[embed_dim], init)),
            patch_size,
        }
    }

    /// `[B, 3, H, W]` to `[B, h · w, C]`.
    fn forward(&self, images: &Tensor) -> Tensor {
        let side = self.patch_size;
        images
            .conv2d(&self.weight, self.bias.as_ref(), [side, side], [0, 0], [1, 1], 1)
            .flatten(2, 3)
            .transpose(1, 2)
    }
}
