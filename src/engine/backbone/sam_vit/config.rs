//! The `[backbone]` table of `type = "sam_vit"`.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::encoder::ImageEncoder;
use crate::{
    backbone::{
        Backbone, BackboneConfig, Freeze, fault,
        peft::{self, AdapterConfig, LoraConfig},
    },
    nn::attention::AttentionKernel,
};

/// SAM's image encoder. Absent sizes come from `arch`.
///
/// ```toml
/// [backbone]
/// type = "sam_vit"
/// arch = "base"
/// out_channels = 0      # block outputs instead of the neck's 256-channel embedding
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamVitConfig {
    /// `base` (768 wide, 12 blocks of 12 heads, global 2, 5, 8, 11), `large` (1024, 24 of 16; 5, 11, 17, 23),
    /// `huge` (1280, 32 of 16; 7, 15, 23, 31).
    pub arch: Arch,
    /// Width of a token; a multiple of `num_heads`. If absent, that of `arch`.
    pub embed_dim: Option<i64>,
    /// Number of blocks. If it differs from the preset's, also give `global_attn_indexes`. If absent, that of `arch`.
    pub depth: Option<i64>,
    /// Heads of each attention. If absent, that of `arch`.
    pub num_heads: Option<i64>,
    /// Hidden width of the MLP. If absent, 4 · `embed_dim`.
    pub mlp_dim: Option<i64>,
    /// Blocks, from 0, whose attention is global; the others attend within windows. If absent, that of `arch`.
    pub global_attn_indexes: Option<Vec<usize>>,
    /// Side of a window, tokens.
    pub window_size: i64,
    /// Side of the square image whose position embedding is stored, pixels. Other inputs work: positions are
    /// interpolated.
    pub image_size: i64,
    /// Side of a patch, pixels; the stride of every level.
    pub patch_size: i64,
    /// Channels of the neck's output, which is then the only level; 0: no neck, levels are block outputs.
    pub out_channels: i64,
    /// Without neck: blocks, from 0, whose outputs become levels. If absent, the last block.
    pub out_indices: Option<Vec<usize>>,
    pub freeze: Freeze,
    /// Low-rank updates that are trained instead of the frozen weights.
    pub lora: Option<LoraConfig>,
    /// Bottlenecks that are trained instead of the frozen weights.
    pub adapter: Option<AdapterConfig>,
    /// Recomputes each block in the backward pass: less memory for a third more time.
    pub activation_checkpointing: bool,
    /// `auto`: the fastest that never holds a global N×N matrix; `explicit`: with that matrix; `extended`:
    /// positions folded into queries and keys. The numbers are the same up to rounding.
    pub attention_kernel: AttentionKernel,
}

/// A published size of SAM's ViT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// ViT-B: 768 wide, 12 blocks of 12 heads, global 2, 5, 8, 11.
    #[default]
    Base,
    /// ViT-L: 1024 wide, 24 blocks of 16 heads, global 5, 11, 17, 23.
    Large,
    /// ViT-H: 1280 wide, 32 blocks of 16 heads, global attention in blocks 7, 15, 23 and 31.
    Huge,
}

impl Arch {
    /// Width, depth, heads and blocks with global attention.
    fn sizes(self) -> (i64, i64, i64, &'static [usize]) {
        match self {
            Self::Base => (768, 12, 12, &[2, 5, 8, 11]),
            Self::Large => (1024, 24, 16, &[5, 11, 17, 23]),
            Self::Huge => (1280, 32, 16, &[7, 15, 23, 31]),
        }
    }

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

impl Default for SamVitConfig {
    fn default() -> Self {
        Self {
            arch: Arch::Base,
            embed_dim: None,
            depth: None,
            num_heads: None,
            mlp_dim: None,
            global_attn_indexes: None,
            window_size: 14,
            image_size: 1024,
            patch_size: 16,
            out_channels: 256,
            out_indices: None,
            freeze: Freeze::None,
            lora: None,
            adapter: None,
            activation_checkpointing: false,
            attention_kernel: AttentionKernel::Auto,
        }
    }
}

/// All sizes, filled in and consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) embed_dim: i64,
    pub(super) depth: usize,
    pub(super) num_heads: i64,
    pub(super) mlp_dim: i64,
    pub(super) global_attn_indexes: Vec<usize>,
    pub(super) window_size: i64,
    pub(super) image_size: i64,
    pub(super) patch_size: i64,
    pub(super) out_channels: i64,
    pub(super) out_indices: Vec<usize>,
}

impl SamVitConfig {
    /// Fills in what `arch` gives and checks that the whole fits together.
    pub(super) fn sizes(&self) -> Result<Sizes> {
        let (embed_dim, depth, num_heads, global) = self.arch.sizes();
        let positive = |key: &str, value: i64| {
            if value > 0 {
                Ok(value)
            } else {
                fault(format!("backbone.{key} = {value}: must be positive"))
            }
        };
        let embed_dim = positive("embed_dim", self.embed_dim.unwrap_or(embed_dim))?;
        let depth = positive("depth", self.depth.unwrap_or(depth))? as usize;
        let num_heads = positive("num_heads", self.num_heads.unwrap_or(num_heads))?;
        let mlp_dim = positive("mlp_dim", self.mlp_dim.unwrap_or(4 * embed_dim))?;
        let patch_size = positive("patch_size", self.patch_size)?;
        let image_size = positive("image_size", self.image_size)?;
        let window_size = positive("window_size", self.window_size)?;
        if embed_dim % num_heads != 0 {
            return fault(format!(
                "backbone.embed_dim = {embed_dim} is not a multiple of num_heads = {num_heads}"
            ));
        }
        if image_size % patch_size != 0 {
            return fault(format!(
                "backbone.image_size = {image_size} is not a multiple of patch_size = {patch_size}"
            ));
        }
        let global_attn_indexes = match &self.global_attn_indexes {
            Some(indexes) => indexes.clone(),
            // The presets' blocks belong to the presets' depths.
            None if self.depth.is_none_or(|d| d == self.arch.sizes().1) => global.to_vec(),
            None => {
                return fault(format!(
                    "backbone.depth = {depth} differs from arch = \"{}\": give global_attn_indexes as well",
                    self.arch.name()
                ));
            }
        };
        let out_indices = match (&self.out_indices, self.out_channels) {
            (None, _) => vec![depth - 1],
            (Some(_), 1..) => {
                return fault(
                    "backbone.out_indices picks block outputs, but out_channels asks for the neck; set out_channels = 0".into(),
                );
            }
            (Some(indices), _) if indices.is_empty() => {
                return fault("backbone.out_indices is empty: name at least one block".into());
            }
            (Some(indices), _) => indices.clone(),
        };
        for (key, indexes) in
            [("global_attn_indexes", &global_attn_indexes), ("out_indices", &out_indices)]
        {
            if let Some(index) = indexes.iter().find(|&&i| i >= depth) {
                return fault(format!(
                    "backbone.{key} names block {index}, but there are {depth} (0 to {})",
                    depth - 1
                ));
            }
        }
        if self.out_channels < 0 {
            return fault(format!("backbone.out_channels = {}: 0 or more", self.out_channels));
        }
        peft::validate(&self.freeze, self.lora.as_ref(), self.adapter.as_ref(), embed_dim)?;
        Ok(Sizes {
            embed_dim,
            depth,
            num_heads,
            mlp_dim,
            global_attn_indexes,
            window_size,
            image_size,
            patch_size,
            out_channels: self.out_channels,
            out_indices,
        })
    }
}

inventory::submit! {
    sonotune_config::Summary::of("backbone", "sam_vit", "SAM's ViT: base, large, huge or sizes of your own; with neck, or block outputs as levels")
        .schema::<SamVitConfig>()
}

#[typetag::serde(name = "sam_vit")]
impl BackboneConfig for SamVitConfig {
    fn build(&self, vs: &nn::Path) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(ImageEncoder::new(vs, self)?))
    }

    fn other_sizes(&self, shapes: &BTreeMap<String, Vec<i64>>) -> Option<String> {
        let norm = |block: i64| shapes.get(&format!("backbone.blocks.{block}.norm1.weight"));
        let &[embed_dim] = norm(0)?.as_slice() else { return None };
        let depth = (0..).find(|&block| norm(block).is_none())?;
        let own = self.sizes().ok()?;
        if (own.embed_dim, own.depth as i64) == (embed_dim, depth) {
            return None;
        }
        let fits = |arch: &Arch| (arch.sizes().0, arch.sizes().1) == (embed_dim, depth);
        let Some(arch) = [Arch::Base, Arch::Large, Arch::Huge].into_iter().find(fits) else {
            return Some(format!("embed_dim = {embed_dim}, depth = {depth}"));
        };
        let has_sizes = self.embed_dim.or(self.depth).or(self.num_heads).or(self.mlp_dim).is_some()
            || self.global_attn_indexes.is_some();
        let alone = if has_sizes { " without sizes of its own" } else { "" };
        Some(format!("arch = \"{}\"{alone}", arch.name()))
    }

    fn merge(&self, variables: &mut BTreeMap<String, Tensor>) -> Result<usize> {
        self.lora.as_ref().map_or(Ok(0), |lora| lora.fold(variables))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let config: SamVitConfig = toml::from_str(text).unwrap();
        config.sizes().unwrap_err().to_string()
    }

    #[test]
    fn presets_are_the_published_sizes() {
        let huge: SamVitConfig = toml::from_str("arch = \"huge\"").unwrap();
        let sizes = huge.sizes().unwrap();
        assert_eq!(
            (sizes.embed_dim, sizes.depth, sizes.num_heads, sizes.mlp_dim),
            (1280, 32, 16, 5120)
        );
        assert_eq!(sizes.global_attn_indexes, [7, 15, 23, 31]);
    }

    #[test]
    fn a_file_of_another_size_names_its_arch() {
        let shapes = |width: i64, depth: usize| -> BTreeMap<String, Vec<i64>> {
            let name = |block| format!("backbone.blocks.{block}.norm1.weight");
            (0..depth).map(|block| (name(block), vec![width])).collect()
        };
        for (text, width, depth, expected) in [
            ("", 768, 12, None),
            ("", 1024, 24, Some("arch = \"large\"")),
            ("arch = \"large\"", 1280, 32, Some("arch = \"huge\"")),
            ("arch = \"huge\"", 768, 12, Some("arch = \"base\"")),
            ("embed_dim = 96", 768, 12, Some("arch = \"base\" without sizes of its own")),
            ("", 384, 12, Some("embed_dim = 384, depth = 12")),
            ("", 0, 0, None),
        ] {
            let config: SamVitConfig = toml::from_str(text).unwrap();
            assert_eq!(config.other_sizes(&shapes(width, depth)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn contradictions_name_the_key() {
        assert!(
            message("num_heads = 7").contains("embed_dim = 768 is not a multiple of num_heads = 7")
        );
        assert!(message("depth = 4").contains("global_attn_indexes"));
        assert!(message("depth = 4\nglobal_attn_indexes = [4]").contains("names block 4"));
        assert!(message("out_indices = [1]").contains("out_channels = 0"));
        assert!(message("image_size = 100").contains("patch_size"));
        assert!(message("lora = {}").contains("freeze = \"all\""));
        assert!(message("adapter = { ratio = 0.001 }\nfreeze = \"all\"").contains("adapter.ratio"));
        assert!(message("lora = { rank = 0 }\nfreeze = \"all\"").contains("lora.rank = 0"));
        assert!(message("lora = { targets = [] }\nfreeze = \"all\"").contains("lora.targets"));
        assert!(message("window_size = 0").contains("backbone.window_size = 0"));
        assert!(toml::from_str::<SamVitConfig>("embed_dimm = 4").is_err());
    }
}
