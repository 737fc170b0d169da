//! A stage: blocks of one resolution, and the merging after them.

use std::collections::BTreeMap;

use anyhow::Result;
use tch::{Tensor, nn};

use super::{
    block::{BlockSizes, TinyVitBlock},
    config::{Sizes, TinyVitConfig},
    conv::{MbConv, PatchMerging},
};
use sonotune_engine::backbone::{
    conv_norm::Statistics,
    shared_block::{Block, SharedBlock},
};

/// Blocks before they are shared with backward.
pub(super) enum Blocks {
    Conv(Vec<MbConv>),
    Attention(Vec<TinyVitBlock>),
}

impl Blocks {
    /// Those of a stage whose path is `vs`.
    pub(super) fn new(vs: &nn::Path, sizes: &Sizes, stage: usize) -> Self {
        let vs = vs / "blocks";
        let (embed_dim, depth) = (sizes.embed_dims[stage], sizes.depths[stage]);
        let block_sizes = BlockSizes {
            embed_dim,
            num_heads: sizes.num_heads[stage],
            window_size: sizes.window_sizes[stage],
        };
        match stage {
            0 => Self::Conv((0..depth).map(|i| MbConv::new(&(&vs / i), embed_dim)).collect()),
            _ => Self::Attention(
                (0..depth).map(|i| TinyVitBlock::new(&(&vs / i), block_sizes)).collect(),
            ),
        }
    }

    /// Adds what is trained instead of the blocks' own variables.
    pub(super) fn add(&mut self, vs: &nn::Path, config: &TinyVitConfig) {
        if let Self::Attention(blocks) = self {
            for (index, block) in blocks.iter_mut().enumerate() {
                block.add(&(vs / "blocks" / index), config);
            }
        }
    }
}

/// How a forward pass is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub(super) statistics: Statistics,
    /// Whether backward computes blocks again.
    pub(super) checkpointed: bool,
}

/// One of the four stages.
#[derive(Debug)]
pub(super) struct Stage {
    blocks: SharedBlocks,
    downsample: Option<PatchMerging>,
}

#[derive(Debug)]
enum SharedBlocks {
    Conv(Vec<SharedBlock<MbConv>>),
    Attention(Vec<SharedBlock<TinyVitBlock>>),
}

impl Stage {
    /// `variables` are those of the backbone, by name.
    pub(super) fn new(
        blocks: Blocks,
        downsample: Option<PatchMerging>,
        variables: &BTreeMap<String, Tensor>,
        stage: usize,
    ) -> Self {
        let blocks = match blocks {
            Blocks::Conv(blocks) => SharedBlocks::Conv(shared(blocks, variables, stage)),
            Blocks::Attention(blocks) => SharedBlocks::Attention(shared(blocks, variables, stage)),
        };
        Self { blocks, downsample }
    }

    /// `[B, C, H, W]` to the same.
    pub(super) fn forward(&self, x: Tensor, pass: Pass) -> Result<Tensor> {
        match &self.blocks {
            SharedBlocks::Conv(blocks) => {
                each(blocks, x, pass, |block, x| block.forward(x, pass.statistics))
            }
            SharedBlocks::Attention(blocks) => {
                let x = x.permute([0, 2, 3, 1]).contiguous();
                let x = each(blocks, x, pass, |block, x| block.forward(x, pass.statistics))?;
                Ok(x.permute([0, 3, 1, 2]))
            }
        }
    }

    /// The input of the next stage.
    pub(super) fn merge(&self, x: &Tensor, pass: Pass) -> Tensor {
        match &self.downsample {
            Some(merging) => merging.forward(x, pass.statistics),
            None => x.shallow_clone(),
        }
    }
}

/// The blocks of a stage with their variables.
fn shared<B: Block + 'static>(
    blocks: Vec<B>,
    variables: &BTreeMap<String, Tensor>,
    stage: usize,
) -> Vec<SharedBlock<B>> {
    let of_block = |index: usize| {
        let prefix = format!("layers.{stage}.blocks.{index}.");
        let own = variables.iter().filter(|(name, _)| name.starts_with(&prefix));
        own.map(|(_, variable)| variable.shallow_clone()).collect()
    };
    let blocks = blocks.into_iter().enumerate();
    blocks.map(|(index, block)| SharedBlock::new(block, of_block(index))).collect()
}

/// One block after the other.
fn each<B: Block + 'static>(
    blocks: &[SharedBlock<B>],
    mut x: Tensor,
    pass: Pass,
    forward: impl Fn(&B, &Tensor) -> Tensor,
) -> Result<Tensor> {
    for block in blocks {
        x = if pass.checkpointed && (x.requires_grad() || block.learns()) {
            block.forward_checkpointed(&x)?
        } else {
            block.with(|block| forward(block, &x))
        };
    }
    Ok(x)
}
