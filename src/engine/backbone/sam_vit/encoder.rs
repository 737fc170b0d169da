//! The whole encoder: patches, blocks, neck.

use anyhow::Result;
use tch::{Tensor, nn};

use super::{
    block::{BLOCK_VARIABLES, Block, BlockSizes},
    config::{SamVitConfig, Sizes},
    positions::resize_pos_embed,
};
use crate::{
    Error,
    backbone::{Backbone, BackboneSpec, Level, PIXEL_MEAN, PIXEL_STD, freeze::Place},
    nn::{LayerNorm2d, conv_default, kaiming_normal_fan_out, trunc_normal},
};

/// SAM's image encoder.
#[derive(Debug)]
pub(super) struct ImageEncoder {
    patch_embed: PatchEmbed,
    /// `[1, S, S, C]`.
    pos_embed: Tensor,
    blocks: Vec<Block>,
    neck: Option<Neck>,
    out_indices: Vec<usize>,
    spec: BackboneSpec,
}

impl ImageEncoder {
    pub(super) fn new(vs: &nn::Path, config: &SamVitConfig) -> Result<Self> {
        let sizes = config.sizes()?;
        let grid = sizes.image_size / sizes.patch_size;
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
        let blocks = (0..sizes.depth).map(block).collect();
        let neck = (sizes.out_channels > 0)
            .then(|| Neck::new(&(vs / "neck"), sizes.embed_dim, sizes.out_channels));
        config.freeze.apply(vs, sizes.depth, &variable_names(&sizes))?;
        Ok(Self {
            patch_embed,
            pos_embed,
            blocks,
            neck,
            spec: spec(&sizes),
            out_indices: sizes.out_indices,
        })
    }

    fn check_size(&self, height: i64, width: i64) -> Result<()> {
        let divisor = self.spec.divisor;
        if height > 0 && width > 0 && height % divisor == 0 && width % divisor == 0 {
            return Ok(());
        }
        let up = |side: i64| (side.max(1) + divisor - 1) / divisor * divisor;
        Err(Error::config(format!(
            "sam_vit: input of {height}x{width} pixels (height x width): both must be multiples of patch_size = {divisor}, e.g. {}x{}",
            up(height),
            up(width)
        ))
        .into())
    }
}

fn spec(sizes: &Sizes) -> BackboneSpec {
    let level = |channels| Level { channels, stride: sizes.patch_size };
    BackboneSpec {
        pixel_mean: PIXEL_MEAN,
        pixel_std: PIXEL_STD,
        square_size: None,
        divisor: sizes.patch_size,
        levels: match sizes.out_channels {
            0 => vec![level(sizes.embed_dim); sizes.out_indices.len()],
            channels => vec![level(channels)],
        },
    }
}

/// Every variable of the encoder, for `freeze`.
fn variable_names(sizes: &Sizes) -> Vec<(String, Place)> {
    let stem = ["pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"];
    let mut names: Vec<_> = stem.map(|name| (name.to_owned(), Place::Stem)).into();
    for index in 0..sizes.depth {
        let of_block = BLOCK_VARIABLES.map(|name| format!("blocks.{index}.{name}"));
        names.extend(of_block.map(|name| (name, Place::Block(index))));
    }
    if sizes.out_channels > 0 {
        names.extend(NECK_VARIABLES.map(|name| (format!("neck.{name}"), Place::Rest)));
    }
    names
}

const NECK_VARIABLES: [&str; 6] =
    ["0.weight", "1.weight", "1.bias", "2.weight", "3.weight", "3.bias"];

impl Backbone for ImageEncoder {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, _train: bool) -> Result<Vec<Tensor>> {
        let (_, _, height, width) = images.size4()?;
        self.check_size(height, width)?;
        let x = self.patch_embed.forward(images);
        let (_, h, w, _) = x.size4()?;
        let mut x = x + resize_pos_embed(&self.pos_embed, (h, w));
        let mut kept: Vec<(usize, Tensor)> = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x);
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

/// 1×1 convolution, norm, 3×3 convolution, norm.
#[derive(Debug)]
struct Neck {
    reduce: Tensor,
    norm1: LayerNorm2d,
    mix: Tensor,
    norm3: LayerNorm2d,
}

impl Neck {
    fn new(vs: &nn::Path, embed_dim: i64, out_channels: i64) -> Self {
        let conv =
            |name: &str, shape: &[i64]| (vs / name).var("weight", shape, kaiming_normal_fan_out());
        Self {
            reduce: conv("0", &[out_channels, embed_dim, 1, 1]),
            norm1: LayerNorm2d::new(&(vs / "1"), out_channels),
            mix: conv("2", &[out_channels, out_channels, 3, 3]),
            norm3: LayerNorm2d::new(&(vs / "3"), out_channels),
        }
    }

    /// `[B, C, H, W]` to `[B, out_channels, H, W]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let conv = |x: &Tensor, weight: &Tensor, padding: i64| {
            x.conv2d(weight, None::<Tensor>, [1, 1], [padding, padding], [1, 1], 1)
        };
        let x = self.norm1.forward(&conv(x, &self.reduce, 0));
        self.norm3.forward(&conv(&x, &self.mix, 1))
    }
}
