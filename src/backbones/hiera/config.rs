//! The `[backbone]` table of `type = "hiera"`.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::encoder::ImageEncoder;
use sonotune_engine::backbone::{
    Backbone, BackboneConfig, Freeze, fault,
    peft::{self, AdapterConfig, LoraConfig},
};

/// SAM 2's image encoder. Absent sizes come from `arch`; names are upstream's.
///
/// ```toml
/// [backbone]
/// type = "hiera"
/// arch = "tiny"
/// out_channels = 0      # outputs of the four stages instead of the neck's 256-channel levels
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HieraConfig {
    /// `tiny` (`sam2.1_hiera_t`, MedSAM2: 96 wide, 12 blocks), `small` (`_s`: 96, 16), `base_plus` (`_b+`: 112,
    /// 24), `large` (`_l`: 144, 48).
    pub arch: Arch,
    /// Width of a token in the first stage; each further stage doubles it. A multiple of `num_heads`. If absent,
    /// that of `arch`.
    pub embed_dim: Option<i64>,
    /// Heads in the first stage; each further stage doubles them. If absent, that of `arch`.
    pub num_heads: Option<i64>,
    /// Number of blocks of each stage. If it differs from the preset's, also give `global_att_blocks`. If absent,
    /// that of `arch`.
    pub stages: Option<Vec<usize>>,
    /// Blocks, from 0 over all stages, whose attention is global; the others attend within windows. If absent,
    /// that of `arch`.
    pub global_att_blocks: Option<Vec<usize>>,
    /// Side of a window for each stage, tokens. If absent, that of `arch`.
    pub window_spec: Option<Vec<i64>>,
    /// Height and width of the stored position embedding, which is interpolated to every input size. If absent,
    /// that of `arch`.
    pub window_pos_embed_bkg_spatial_size: Option<[i64; 2]>,
    /// Channels of the neck's levels; 0: no neck, levels are the stages' outputs.
    pub out_channels: i64,
    /// Number of the neck's coarsest levels that are left out. With 1, levels have strides 4, 8 and 16. If
    /// absent, 1.
    pub scalp: Option<usize>,
    /// Levels of the neck, from the finest, to which the next coarser one is added. If absent, the two coarsest.
    pub fpn_top_down_levels: Option<Vec<usize>>,
    /// Without neck: stages, from 0, whose outputs become levels; strides 4, 8, 16, 32. If absent, all.
    pub out_indices: Option<Vec<usize>>,
    /// What does not learn: `"none"`, `"all"`, a number (the stem and that many blocks over all stages), or a
    /// list of patterns of variable names.
    pub freeze: Freeze,
    /// Low-rank updates that are trained instead of the frozen weights.
    pub lora: Option<LoraConfig>,
    /// Bottlenecks that are trained instead of the frozen weights.
    pub adapter: Option<AdapterConfig>,
    /// Recomputes each block in the backward pass: less memory for a third more time.
    pub activation_checkpointing: bool,
}

/// A published size of SAM 2's Hiera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// `sam2.1_hiera_t`, and MedSAM2: 96 wide, 12 blocks.
    #[default]
    Tiny,
    /// `sam2.1_hiera_s`: 96 wide, 16 blocks.
    Small,
    /// `sam2.1_hiera_b+`: 112 wide, 24 blocks.
    BasePlus,
    /// `sam2.1_hiera_l`: 144 wide, 48 blocks.
    Large,
}

/// What a preset gives.
struct Preset {
    name: &'static str,
    embed_dim: i64,
    num_heads: i64,
    stages: [usize; 4],
    global_att_blocks: [usize; 3],
    window_spec: [i64; 4],
    background: i64,
}

impl Arch {
    const ALL: [Self; 4] = [Self::Tiny, Self::Small, Self::BasePlus, Self::Large];

    fn preset(self) -> Preset {
        let tiny = Preset {
            name: "tiny",
            embed_dim: 96,
            num_heads: 1,
            stages: [1, 2, 7, 2],
            global_att_blocks: [5, 7, 9],
            window_spec: [8, 4, 14, 7],
            background: 7,
        };
        match self {
            Self::Tiny => tiny,
            Self::Small => Preset {
                name: "small",
                stages: [1, 2, 11, 2],
                global_att_blocks: [7, 10, 13],
                ..tiny
            },
            Self::BasePlus => Preset {
                name: "base_plus",
                embed_dim: 112,
                num_heads: 2,
                stages: [2, 3, 16, 3],
                global_att_blocks: [12, 16, 20],
                background: 14,
                ..tiny
            },
            Self::Large => Preset {
                name: "large",
                embed_dim: 144,
                num_heads: 2,
                stages: [2, 6, 36, 4],
                global_att_blocks: [23, 33, 43],
                window_spec: [8, 4, 16, 8],
                ..tiny
            },
        }
    }
}

impl Default for HieraConfig {
    fn default() -> Self {
        Self {
            arch: Arch::Tiny,
            embed_dim: None,
            num_heads: None,
            stages: None,
            global_att_blocks: None,
            window_spec: None,
            window_pos_embed_bkg_spatial_size: None,
            out_channels: 256,
            scalp: None,
            fpn_top_down_levels: None,
            out_indices: None,
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
    pub(super) embed_dim: i64,
    pub(super) num_heads: i64,
    pub(super) stages: Vec<usize>,
    pub(super) global_att_blocks: Vec<usize>,
    pub(super) window_spec: Vec<i64>,
    pub(super) background: [i64; 2],
    pub(super) levels: Levels,
}

/// Where levels come from; stages are counted from the finest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Levels {
    Stages(Vec<usize>),
    Neck {
        channels: i64,
        /// Number of levels that are handed out, the finest.
        count: usize,
        top_down: Vec<usize>,
    },
}

impl Sizes {
    /// Width of a stage's tokens.
    pub(super) fn channels(&self, stage: usize) -> i64 {
        self.embed_dim << stage
    }

    pub(super) fn depth(&self) -> usize {
        self.stages.iter().sum()
    }

    /// What both sides of an input must be multiples of, pixels: every stage halves the map, and the
    /// windows of the position embedding tile the first one.
    pub(super) fn divisor(&self) -> i64 {
        let (halvings, window) = (1 << (self.stages.len() - 1), self.window_spec[0]);
        let multiple = (1..).map(|n| n * halvings).find(|n| n % window == 0);
        super::trunk::PATCH_STRIDE * multiple.unwrap_or(halvings * window)
    }
}

/// More stages would leave no map of any image.
const MOST_STAGES: usize = 6;

impl HieraConfig {
    /// Fills in what `arch` gives and checks that the whole fits together.
    pub(super) fn sizes(&self) -> Result<Sizes> {
        let preset = self.arch.preset();
        let embed_dim = positive("embed_dim", self.embed_dim.unwrap_or(preset.embed_dim))?;
        let num_heads = positive("num_heads", self.num_heads.unwrap_or(preset.num_heads))?;
        if embed_dim % num_heads != 0 {
            return fault(format!(
                "backbone.embed_dim = {embed_dim} is not a multiple of num_heads = {num_heads}"
            ));
        }
        let stages = self.stages.clone().unwrap_or(preset.stages.to_vec());
        if !(1..=MOST_STAGES).contains(&stages.len()) || stages.contains(&0) {
            return fault(format!(
                "backbone.stages = {stages:?}: expected the number of blocks, at least 1, of each of 1 to {MOST_STAGES} stages"
            ));
        }
        let background = self.window_pos_embed_bkg_spatial_size.unwrap_or([preset.background; 2]);
        for side in background {
            positive("window_pos_embed_bkg_spatial_size", side)?;
        }
        peft::validate(&self.freeze, self.lora.as_ref(), self.adapter.as_ref(), embed_dim)?;
        Ok(Sizes {
            embed_dim,
            num_heads,
            global_att_blocks: self.global_att_blocks(&preset, &stages)?,
            window_spec: self.window_spec(&preset, &stages)?,
            background,
            levels: self.levels(stages.len())?,
            stages,
        })
    }

    fn window_spec(&self, preset: &Preset, stages: &[usize]) -> Result<Vec<i64>> {
        let windows = self.window_spec.clone().unwrap_or(preset.window_spec.to_vec());
        if windows.len() != stages.len() {
            return fault(format!(
                "backbone.window_spec = {windows:?}: expected one side for each of the {} stages",
                stages.len()
            ));
        }
        for &side in &windows {
            positive("window_spec", side)?;
        }
        // The block that pools works on the windows of the stage before, and halves them.
        let pooled = &windows[..windows.len() - 1];
        if let Some(side) = pooled.iter().find(|&side| side % 2 != 0) {
            return fault(format!(
                "backbone.window_spec = {windows:?}: {side} is odd, but every window except the last stage's is halved by the next stage"
            ));
        }
        Ok(windows)
    }

    fn global_att_blocks(&self, preset: &Preset, stages: &[usize]) -> Result<Vec<usize>> {
        let depth: usize = stages.iter().sum();
        let blocks = match &self.global_att_blocks {
            Some(blocks) => blocks.clone(),
            // The presets' blocks belong to the presets' stages.
            None if *stages == preset.stages => preset.global_att_blocks.to_vec(),
            None => {
                return fault(format!(
                    "backbone.stages = {stages:?} differs from arch = \"{}\": give global_att_blocks as well",
                    preset.name
                ));
            }
        };
        if let Some(block) = blocks.iter().find(|&&block| block >= depth) {
            return fault(format!(
                "backbone.global_att_blocks names block {block}, but there are {depth} (0 to {})",
                depth - 1
            ));
        }
        let starts =
            |block: &usize| (1..stages.len()).any(|n| stages[..n].iter().sum::<usize>() == *block);
        if let Some(block) = blocks.iter().find(|block| starts(block)) {
            return fault(format!(
                "backbone.global_att_blocks names block {block}, the first of a stage, which pools within windows; name another block"
            ));
        }
        Ok(blocks)
    }

    fn levels(&self, stages: usize) -> Result<Levels> {
        let within = |key: &str, indices: &[usize]| match indices.iter().find(|&&i| i >= stages) {
            None => Ok(()),
            Some(index) => fault(format!(
                "backbone.{key} names stage {index}, but there are {stages} (0 to {})",
                stages - 1
            )),
        };
        if self.out_channels < 0 {
            return fault(format!("backbone.out_channels = {}: 0 or more", self.out_channels));
        }
        if self.out_channels == 0 {
            let of_neck = [("scalp", self.scalp.is_some())];
            let of_neck = of_neck
                .into_iter()
                .chain([("fpn_top_down_levels", self.fpn_top_down_levels.is_some())]);
            if let Some((key, _)) = of_neck.into_iter().find(|(_, is_set)| *is_set) {
                return fault(format!(
                    "backbone.{key} is about the neck, but out_channels = 0 leaves it out; remove one of the two"
                ));
            }
            let indices = self.out_indices.clone().unwrap_or((0..stages).collect());
            within("out_indices", &indices)?;
            if indices.is_empty() || !indices.is_sorted_by(|a, b| a < b) {
                return fault(format!(
                    "backbone.out_indices = {indices:?}: expected stages in ascending order, at least one"
                ));
            }
            return Ok(Levels::Stages(indices));
        }
        if self.out_indices.is_some() {
            return fault(
                "backbone.out_indices picks outputs of stages, but out_channels asks for the neck; set out_channels = 0".into(),
            );
        }
        let scalp = self.scalp.unwrap_or(usize::from(stages > 1));
        if scalp >= stages {
            return fault(format!(
                "backbone.scalp = {scalp} leaves none of the {stages} levels; expected 0 to {}",
                stages - 1
            ));
        }
        let top_down = self.fpn_top_down_levels.clone();
        let top_down = top_down.unwrap_or((stages.saturating_sub(2)..stages).collect());
        within("fpn_top_down_levels", &top_down)?;
        Ok(Levels::Neck { channels: self.out_channels, count: stages - scalp, top_down })
    }
}

fn positive(key: &str, value: i64) -> Result<i64> {
    if value > 0 { Ok(value) } else { fault(format!("backbone.{key} = {value}: must be positive")) }
}

inventory::submit! {
    sonotune_config::Summary::of("backbone", "hiera", "SAM 2's Hiera: tiny, small, base_plus, large or sizes of your own; with its feature pyramid, or stage outputs as levels")
        .schema::<HieraConfig>()
}

#[typetag::serde(name = "hiera")]
impl BackboneConfig for HieraConfig {
    fn build(&self, vs: &nn::Path) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(ImageEncoder::new(vs, self)?))
    }

    fn other_sizes(&self, shapes: &BTreeMap<String, Vec<i64>>) -> Option<String> {
        // The second norm has a block's own width; the first one has that of the block before.
        let width = |block: usize| {
            let shape = shapes.get(&format!("backbone.trunk.blocks.{block}.norm2.weight"))?;
            shape.first().copied()
        };
        let widths: Vec<i64> = (0..).map_while(width).collect();
        let embed_dim = *widths.first()?;
        let stages: Vec<usize> = widths.chunk_by(|a, b| a == b).map(<[i64]>::len).collect();
        let own = self.sizes().ok()?;
        if (own.embed_dim, &own.stages) == (embed_dim, &stages) {
            return None;
        }
        let fits = |arch: &Arch| {
            let preset = arch.preset();
            preset.embed_dim == embed_dim && preset.stages == stages[..]
        };
        let Some(arch) = Arch::ALL.into_iter().find(fits) else {
            return Some(format!("embed_dim = {embed_dim}, stages = {stages:?}"));
        };
        let has_sizes = self.embed_dim.or(self.num_heads).is_some()
            || self.stages.is_some()
            || self.window_spec.is_some()
            || self.global_att_blocks.is_some()
            || self.window_pos_embed_bkg_spatial_size.is_some();
        let alone = if has_sizes { " without sizes of its own" } else { "" };
        Some(format!("arch = \"{}\"{alone}", arch.preset().name))
    }

    fn merge(&self, variables: &mut BTreeMap<String, Tensor>) -> Result<usize> {
        self.lora.as_ref().map_or(Ok(0), |lora| lora.fold(variables))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let config: HieraConfig = toml::from_str(text).unwrap();
        config.sizes().unwrap_err().to_string()
    }

    #[test]
    fn presets_are_the_published_sizes() {
        let sizes = |arch: &str| {
            let config: HieraConfig = toml::from_str(&format!("arch = \"{arch}\"")).unwrap();
            config.sizes().unwrap()
        };
        let large = sizes("large");
        assert_eq!((large.channels(3), large.depth(), large.num_heads), (1152, 48, 2));
        assert_eq!(large.window_spec, [8, 4, 16, 8]);
        assert_eq!(sizes("base_plus").background, [14, 14]);
        assert_eq!(sizes("tiny").divisor(), 32);
        let tiny = Levels::Neck { channels: 256, count: 3, top_down: vec![2, 3] };
        assert_eq!(sizes("tiny").levels, tiny);
    }

    #[test]
    fn a_file_of_another_size_names_its_arch() {
        let shapes = |width: i64, stages: &[usize]| -> BTreeMap<String, Vec<i64>> {
            let widths = stages.iter().enumerate().flat_map(|(s, &n)| vec![width << s; n]);
            let name = |block| format!("backbone.trunk.blocks.{block}.norm2.weight");
            widths.enumerate().map(|(block, width)| (name(block), vec![width])).collect()
        };
        for (text, width, stages, expected) in [
            ("", 96, vec![1, 2, 7, 2], None),
            ("", 96, vec![1, 2, 11, 2], Some("arch = \"small\"")),
            ("arch = \"large\"", 112, vec![2, 3, 16, 3], Some("arch = \"base_plus\"")),
            (
                "embed_dim = 48",
                96,
                vec![1, 2, 7, 2],
                Some("arch = \"tiny\" without sizes of its own"),
            ),
            ("", 64, vec![1, 1], Some("embed_dim = 64, stages = [1, 1]")),
            ("", 0, vec![], None),
        ] {
            let config: HieraConfig = toml::from_str(text).unwrap();
            assert_eq!(config.other_sizes(&shapes(width, &stages)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn contradictions_name_the_key() {
        for (text, expected) in [
            ("num_heads = 7", "embed_dim = 96 is not a multiple of num_heads = 7"),
            ("stages = [1, 0, 7, 2]", "backbone.stages"),
            ("stages = []", "backbone.stages"),
            ("stages = [1, 2, 3, 4]", "give global_att_blocks"),
            ("global_att_blocks = [12]", "names block 12"),
            ("global_att_blocks = [3]", "the first of a stage"),
            ("window_spec = [8, 4]", "each of the 4 stages"),
            ("window_spec = [8, 3, 14, 7]", "3 is odd"),
            ("window_spec = [8, 0, 14, 7]", "window_spec = 0"),
            ("window_pos_embed_bkg_spatial_size = [7, 0]", "bkg_spatial_size = 0"),
            ("out_indices = [1]", "out_channels = 0"),
            ("out_channels = 0\nout_indices = [4]", "names stage 4"),
            ("out_channels = 0\nout_indices = [2, 1]", "ascending order"),
            ("out_channels = 0\nscalp = 1", "backbone.scalp"),
            ("scalp = 4", "0 to 3"),
            ("fpn_top_down_levels = [4]", "names stage 4"),
            ("lora = {}", "freeze = \"all\""),
        ] {
            assert!(message(text).contains(expected), "{text}: {}", message(text));
        }
        assert!(toml::from_str::<HieraConfig>("embed_dimm = 4").is_err());
    }
}
