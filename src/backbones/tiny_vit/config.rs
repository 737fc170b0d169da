//! The `[backbone]` table of `type = "tiny_vit"`.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::encoder::TinyVit;
use sonotune_engine::backbone::{
    Backbone, BackboneConfig, Freeze, fault,
    peft::{self, AdapterConfig, LoraConfig},
};

/// TinyViT. Absent sizes come from `arch`; the defaults are MobileSAM's.
///
/// ```toml
/// [backbone]
/// type = "tiny_vit"
/// patch_size = 1        # LiteMedSAM
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TinyVitConfig {
    /// `5m` (64, 128, 160, 320 channels; MobileSAM, LiteMedSAM), `11m` (64, 128, 256, 448) or `21m` (96, 192,
    /// 384, 576).
    pub arch: Arch,
    /// Channels of each of the four stages. If absent, that of `arch`.
    pub embed_dims: Option<[i64; 4]>,
    /// Blocks of each stage. If absent, `[2, 2, 6, 2]`.
    pub depths: Option<[usize; 4]>,
    /// Heads of each stage; the first stage has none. If absent, that of `arch`.
    pub num_heads: Option<[i64; 4]>,
    /// Side of a window of each stage, tokens; the first stage has none. Files for 384 pixels have `[12, 12, 24,
    /// 12]`, for 512 `[16, 16, 32, 16]`.
    pub window_sizes: [i64; 4],
    /// Input pixels per token of the first stage: 4, or 1 (LiteMedSAM).
    pub patch_size: i64,
    /// Whether the last stage has half the resolution of the one before. Strides of the stages are 1, 2, 4 and 4
    /// times `patch_size`, or with it 1, 2, 4 and 8 times.
    pub last_merging_halves: bool,
    /// Channels of the neck's output, which is then the only level; 0: no neck, levels are stage outputs.
    pub out_channels: i64,
    /// Without neck: stages, from 0, whose outputs become levels, ascending. If absent, `[3]`.
    pub out_indices: Option<Vec<usize>>,
    /// Keeps the statistics of batch norms as they were loaded, which small batches need. `false`: training
    /// normalises by each batch and moves the statistics, except in frozen layers; for a random start, which has
    /// no statistics. Not with several processes or `activation_checkpointing`.
    pub norm_eval: bool,
    /// What does not learn: `"none"`, `"all"`, a number (the stem and that many stages), or a list of patterns of
    /// variable names.
    pub freeze: Freeze,
    /// Low-rank updates that are trained instead of the frozen weights, in the stages with attention.
    pub lora: Option<LoraConfig>,
    /// Bottlenecks that are trained instead of the frozen weights, in the stages with attention.
    pub adapter: Option<AdapterConfig>,
    /// Recomputes each block in the backward pass: less memory for a third more time.
    pub activation_checkpointing: bool,
}

/// A published size of TinyViT, by its millions of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Arch {
    /// 64, 128, 160 and 320 channels; MobileSAM and LiteMedSAM.
    #[default]
    #[serde(rename = "5m")]
    M5,
    /// 64, 128, 256 and 448 channels.
    #[serde(rename = "11m")]
    M11,
    /// 96, 192, 384 and 576 channels.
    #[serde(rename = "21m")]
    M21,
}

impl Arch {
    const ALL: [Self; 3] = [Self::M5, Self::M11, Self::M21];

    /// Channels and heads of each stage.
    fn sizes(self) -> ([i64; 4], [i64; 4]) {
        match self {
            Self::M5 => ([64, 128, 160, 320], [2, 4, 5, 10]),
            Self::M11 => ([64, 128, 256, 448], [2, 4, 8, 14]),
            Self::M21 => ([96, 192, 384, 576], [3, 6, 12, 18]),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::M5 => "5m",
            Self::M11 => "11m",
            Self::M21 => "21m",
        }
    }
}

impl Default for TinyVitConfig {
    fn default() -> Self {
        Self {
            arch: Arch::M5,
            embed_dims: None,
            depths: None,
            num_heads: None,
            window_sizes: [7, 7, 14, 7],
            patch_size: 4,
            last_merging_halves: false,
            out_channels: 256,
            out_indices: None,
            norm_eval: true,
            freeze: Freeze::None,
            lora: None,
            adapter: None,
            activation_checkpointing: false,
        }
    }
}

/// All sizes, filled in and consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) embed_dims: [i64; 4],
    pub(super) depths: [usize; 4],
    pub(super) num_heads: [i64; 4],
    pub(super) window_sizes: [i64; 4],
    pub(super) patch_size: i64,
    /// Strides of the three mergings between stages.
    pub(super) merging: [i64; 3],
    pub(super) out_channels: i64,
    pub(super) out_indices: Vec<usize>,
}

impl Sizes {
    /// Input pixels per token of each stage.
    pub(super) fn strides(&self) -> [i64; 4] {
        let mut strides = [self.patch_size; 4];
        for stage in 1..4 {
            strides[stage] = strides[stage - 1] * self.merging[stage - 1];
        }
        strides
    }
}

impl TinyVitConfig {
    /// Fills in what `arch` gives and checks that the whole fits together.
    pub(super) fn sizes(&self) -> Result<Sizes> {
        let (embed_dims, num_heads) = self.arch.sizes();
        let embed_dims = self.embed_dims.unwrap_or(embed_dims);
        let num_heads = self.num_heads.unwrap_or(num_heads);
        let depths = self.depths.unwrap_or([2, 2, 6, 2]);
        for (key, values) in [
            ("embed_dims", embed_dims),
            ("num_heads", num_heads),
            ("window_sizes", self.window_sizes),
            ("depths", depths.map(|depth| depth as i64)),
        ] {
            if values.iter().any(|&value| value < 1) {
                return fault(format!("backbone.{key} = {values:?}: all must be positive"));
            }
        }
        for stage in 1..4 {
            if embed_dims[stage] % num_heads[stage] != 0 {
                return fault(format!(
                    "backbone.embed_dims = {embed_dims:?}: {} of stage {stage} is not a multiple of its \
                     num_heads = {}",
                    embed_dims[stage], num_heads[stage]
                ));
            }
        }
        if embed_dims[0] % 2 != 0 {
            return fault(format!(
                "backbone.embed_dims = {embed_dims:?}: the first must be even, since the first convolution \
                 has half as many channels"
            ));
        }
        if !matches!(self.patch_size, 1 | 4) {
            return fault(format!(
                "backbone.patch_size = {}: 4 (MobileSAM, TinyViT) or 1 (LiteMedSAM)",
                self.patch_size
            ));
        }
        if self.out_channels < 0 {
            return fault(format!("backbone.out_channels = {}: 0 or more", self.out_channels));
        }
        if self.activation_checkpointing && !self.norm_eval {
            return fault(
                "backbone.norm_eval = false contradicts activation_checkpointing, which would move the \
                 statistics of batch norms twice a step; set one of them to the other value"
                    .into(),
            );
        }
        // The narrowest stage that has attention.
        let narrowest = embed_dims[1..].iter().copied().min().unwrap_or_default();
        peft::validate(&self.freeze, self.lora.as_ref(), self.adapter.as_ref(), narrowest)?;
        Ok(Sizes {
            embed_dims,
            depths,
            num_heads,
            window_sizes: self.window_sizes,
            patch_size: self.patch_size,
            merging: [2, 2, if self.last_merging_halves { 2 } else { 1 }],
            out_channels: self.out_channels,
            out_indices: self.levels()?,
        })
    }

    /// Stages whose outputs become levels.
    fn levels(&self) -> Result<Vec<usize>> {
        let Some(indices) = &self.out_indices else { return Ok(vec![3]) };
        if self.out_channels > 0 {
            return fault(
                "backbone.out_indices picks stage outputs, but out_channels asks for the neck; set \
                 out_channels = 0"
                    .into(),
            );
        }
        let ascending = indices.windows(2).all(|pair| pair[0] < pair[1]);
        if indices.is_empty() || !ascending || indices.iter().any(|&index| index > 3) {
            return fault(format!(
                "backbone.out_indices = {indices:?}: stages from 0 to 3, ascending, at least one"
            ));
        }
        Ok(indices.clone())
    }

    /// Heads of the layer with this name: `backbone.layers.2.blocks.0.attn.qkv`.
    fn heads_of(&self, layer: &str) -> i64 {
        let mut parts = layer.split('.').skip_while(|part| *part != "layers");
        let stage = parts.nth(1).and_then(|stage| stage.parse::<usize>().ok());
        let num_heads = self.num_heads.unwrap_or(self.arch.sizes().1);
        stage.and_then(|stage| num_heads.get(stage)).copied().unwrap_or(1)
    }
}

inventory::submit! {
    sonotune_config::Summary::of("backbone", "tiny_vit", "TinyViT 5m, 11m, 21m; with SAM's neck the encoder of MobileSAM and LiteMedSAM, or stage outputs as levels")
        .schema::<TinyVitConfig>()
}

#[typetag::serde(name = "tiny_vit")]
impl BackboneConfig for TinyVitConfig {
    fn build(&self, vs: &nn::Path) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(TinyVit::new(vs, self)?))
    }

    fn other_sizes(&self, shapes: &BTreeMap<String, Vec<i64>>) -> Option<String> {
        let shape = |name: &str| shapes.get(&format!("backbone.{name}")).map(Vec::as_slice);
        let channels = |stage: usize| match stage {
            0 => Some(shape("layers.0.blocks.0.conv3.bn.weight")?.first().copied()?),
            _ => Some(
                shape(&format!("layers.{stage}.blocks.0.attn.norm.weight"))?.first().copied()?,
            ),
        };
        let found = [channels(0)?, channels(1)?, channels(2)?, channels(3)?];
        let own = self.sizes().ok()?;
        let patch = shape("patch_embed.seq.0.c.weight").and_then(|shape| shape.last().copied());
        let patch_size = if patch == Some(1) { 1 } else { 4 };
        let mut lines = Vec::new();
        if found != own.embed_dims {
            match Arch::ALL.into_iter().find(|arch| arch.sizes().0 == found) {
                Some(arch) if self.embed_dims.is_none() => {
                    lines.push(format!("arch = \"{}\"", arch.name()));
                }
                Some(arch) => {
                    lines.push(format!("arch = \"{}\" without sizes of its own", arch.name()));
                }
                None => lines.push(format!("embed_dims = {found:?}")),
            }
        }
        if patch.is_some() && patch_size != own.patch_size {
            lines.push(format!("patch_size = {patch_size}"));
        }
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    fn merge(&self, variables: &mut BTreeMap<String, Tensor>) -> Result<usize> {
        let fold = |lora: &LoraConfig| lora.fold_by_head(variables, |layer| self.heads_of(layer));
        self.lora.as_ref().map_or(Ok(0), fold)
    }

    fn batch_statistics(&self) -> Option<&'static str> {
        (!self.norm_eval && self.freeze != Freeze::All).then_some("backbone.norm_eval = false")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let config: TinyVitConfig = toml::from_str(text).unwrap();
        config.sizes().unwrap_err().to_string()
    }

    #[test]
    fn strides_are_those_of_the_published_encoders() {
        for (text, expected) in [
            ("", [4, 8, 16, 16]),
            ("patch_size = 1", [1, 2, 4, 4]),
            ("last_merging_halves = true", [4, 8, 16, 32]),
        ] {
            let config: TinyVitConfig = toml::from_str(text).unwrap();
            assert_eq!(config.sizes().unwrap().strides(), expected, "{text}");
        }
    }

    #[test]
    fn contradictions_name_the_key() {
        for (text, expected) in [
            ("num_heads = [2, 3, 5, 10]", "128 of stage 1 is not a multiple of its num_heads = 3"),
            ("depths = [2, 0, 6, 2]", "backbone.depths = [2, 0, 6, 2]"),
            ("embed_dims = [63, 128, 160, 320]", "must be even"),
            ("patch_size = 2", "backbone.patch_size = 2"),
            ("out_channels = -1", "backbone.out_channels = -1"),
            ("out_indices = [1]", "out_channels = 0"),
            ("out_channels = 0\nout_indices = [2, 1]", "ascending"),
            ("norm_eval = false\nactivation_checkpointing = true", "backbone.norm_eval = false"),
            ("lora = {}", "freeze = \"all\""),
            ("lora = { rank = 129 }\nfreeze = \"all\"", "1 to embed_dim = 128"),
            ("window_sizes = [7, 7, 0, 7]", "backbone.window_sizes"),
        ] {
            let message = message(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(toml::from_str::<TinyVitConfig>("embed_dimms = 4").is_err());
    }

    #[test]
    fn a_file_of_another_size_names_its_keys() {
        let shapes = |dims: [i64; 4], patch: i64| -> BTreeMap<String, Vec<i64>> {
            let name = |stage: usize| match stage {
                0 => "backbone.layers.0.blocks.0.conv3.bn.weight".to_owned(),
                _ => format!("backbone.layers.{stage}.blocks.0.attn.norm.weight"),
            };
            let kernel =
                ("backbone.patch_embed.seq.0.c.weight".to_owned(), vec![32, 3, patch, patch]);
            (0..4).map(|stage| (name(stage), vec![dims[stage]])).chain([kernel]).collect()
        };
        let (m5, m11) = (Arch::M5.sizes().0, Arch::M11.sizes().0);
        for (text, dims, patch, expected) in [
            ("", m5, 3, None),
            ("", m11, 3, Some("arch = \"11m\"")),
            ("", m5, 1, Some("patch_size = 1")),
            ("patch_size = 1", m11, 3, Some("arch = \"11m\", patch_size = 4")),
            ("", [8, 8, 8, 8], 3, Some("embed_dims = [8, 8, 8, 8]")),
            (
                "embed_dims = [8, 8, 8, 8]\nnum_heads = [1, 1, 1, 1]",
                m5,
                3,
                Some("arch = \"5m\" without sizes of its own"),
            ),
        ] {
            let config: TinyVitConfig = toml::from_str(text).unwrap();
            assert_eq!(config.other_sizes(&shapes(dims, patch)).as_deref(), expected, "{text}");
        }
        assert_eq!(TinyVitConfig::default().other_sizes(&BTreeMap::new()), None);
    }
}
