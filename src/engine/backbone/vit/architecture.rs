//! A config with its preset filled in, consistent.

use anyhow::Result;
use sonotune_dataset::InputSpec;

use super::config::{FinalNorm, MlpKind, Output, PosEmbedKind, QkvBias, RelPosBiasKind, VitConfig};
use super::positions::Interpolation;
use crate::backbone::{fault, peft};

/// Everything that decides the network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Architecture {
    pub(super) embed_dim: i64,
    pub(super) depth: usize,
    pub(super) num_heads: i64,
    pub(super) mlp_dim: i64,
    pub(super) patch_size: i64,
    /// Side of the stored grid, patches.
    pub(super) grid_size: i64,
    pub(super) class_token: bool,
    pub(super) num_register_tokens: i64,
    pub(super) pos_embed: PosEmbedKind,
    pub(super) no_embed_class: bool,
    pub(super) interpolation: Interpolation,
    /// `None`: no rotary positions.
    pub(super) rope_base: Option<f64>,
    pub(super) rel_pos_bias: RelPosBiasKind,
    pub(super) pre_norm: bool,
    pub(super) patch_bias: bool,
    pub(super) qkv_bias: QkvBias,
    /// `None`: no factors.
    pub(super) layer_scale: Option<f64>,
    pub(super) mlp: MlpKind,
    pub(super) norm_eps: f64,
    pub(super) final_norm: FinalNorm,
    pub(super) output: Output,
    pub(super) out_indices: Option<Vec<usize>>,
    pub(super) norm_out_indices: bool,
    pub(super) input: InputSpec,
}

impl Architecture {
    /// Tokens before the patches.
    pub(super) fn prefix(&self) -> i64 {
        i64::from(self.class_token) + self.num_register_tokens
    }

    /// Whether `norm` is used.
    pub(super) fn has_norm(&self) -> bool {
        self.final_norm == FinalNorm::Norm && (self.out_indices.is_none() || self.norm_out_indices)
    }

    /// Whether `fc_norm` is used.
    pub(super) fn has_fc_norm(&self) -> bool {
        self.final_norm == FinalNorm::FcNorm && self.output != Output::PatchTokens
    }
}

impl VitConfig {
    /// Fills in what `variant` and `arch` give and checks that the whole fits together.
    pub(super) fn architecture(&self) -> Result<Architecture> {
        let preset = self.variant.preset();
        let (embed_dim, depth, num_heads) = self.arch.sizes();
        let positive = |key: &str, value: i64| {
            if value > 0 {
                Ok(value)
            } else {
                fault(format!("backbone.{key} = {value}: must be positive"))
            }
        };
        let embed_dim = positive("embed_dim", self.embed_dim.unwrap_or(embed_dim))?;
        let depth = positive("depth", self.depth.unwrap_or(depth))?;
        let num_heads = positive("num_heads", self.num_heads.unwrap_or(num_heads))?;
        let swiglu = if self.arch.is_swiglu() { MlpKind::Swiglu } else { MlpKind::Gelu };
        let mlp = self.mlp.unwrap_or(swiglu);
        let mlp_dim = self.mlp_dim.unwrap_or_else(|| self.variant.mlp_dim(embed_dim, mlp));
        let mlp_dim = positive("mlp_dim", mlp_dim)?;
        let patch_size = self.patch_size.unwrap_or_else(|| self.variant.patch_size(self.arch));
        let patch_size = positive("patch_size", patch_size)?;
        let image_size = positive("image_size", self.image_size.unwrap_or(preset.image_size))?;
        if image_size % patch_size != 0 {
            return fault(format!(
                "backbone.image_size = {image_size} is not a multiple of patch_size = {patch_size}"
            ));
        }
        let registers = self.num_register_tokens.unwrap_or(preset.num_register_tokens);
        let statistics = self.pixel_statistics.unwrap_or(preset.statistics());
        let rope_base = self.rope_base.unwrap_or(preset.rope_base);
        let layer_scale = self.layer_scale.unwrap_or(preset.layer_scale);
        let architecture = Architecture {
            embed_dim,
            depth: usize::try_from(depth)?,
            num_heads,
            mlp_dim,
            patch_size,
            grid_size: image_size / patch_size,
            class_token: self.class_token.unwrap_or(true),
            num_register_tokens: registers,
            pos_embed: self.pos_embed.unwrap_or(preset.pos_embed),
            no_embed_class: self.no_embed_class.unwrap_or(false),
            interpolation: Interpolation {
                antialias: self
                    .pos_embed_antialias
                    .unwrap_or_else(|| self.variant.antialias(registers)),
                offset: self.pos_embed_offset.unwrap_or_else(|| self.variant.offset(registers)),
            },
            rope_base: (rope_base != 0.0).then_some(rope_base),
            rel_pos_bias: self.rel_pos_bias.unwrap_or(preset.rel_pos_bias),
            pre_norm: self.pre_norm.unwrap_or(preset.pre_norm),
            patch_bias: self.patch_bias.unwrap_or(preset.patch_bias),
            qkv_bias: self.qkv_bias.unwrap_or(preset.qkv_bias),
            layer_scale: (layer_scale != 0.0).then_some(layer_scale),
            mlp,
            norm_eps: self.norm_eps.unwrap_or(preset.norm_eps),
            final_norm: self.final_norm.unwrap_or(preset.final_norm),
            output: self.output,
            out_indices: self.out_indices.clone(),
            norm_out_indices: self.norm_out_indices.unwrap_or(preset.norm_out_indices),
            input: statistics.input(patch_size)?,
        };
        architecture.check_numbers()?;
        architecture.check_tokens()?;
        architecture.check_output(self.norm_out_indices)?;
        peft::validate(&self.freeze, self.lora.as_ref(), self.adapter.as_ref(), embed_dim)?;
        Ok(architecture)
    }
}

impl Architecture {
    fn check_numbers(&self) -> Result<()> {
        let Self { embed_dim, num_heads, .. } = self;
        if embed_dim % num_heads != 0 {
            return fault(format!(
                "backbone.embed_dim = {embed_dim} is not a multiple of num_heads = {num_heads}"
            ));
        }
        let in_range = |key: &str, value: f64, lowest: f64| {
            if value.is_finite() && value >= lowest {
                return Ok(());
            }
            fault(format!("backbone.{key} = {value}: expected a number from {lowest}"))
        };
        in_range("norm_eps", self.norm_eps, 0.0)?;
        in_range("pos_embed_offset", self.interpolation.offset, 0.0)?;
        in_range("layer_scale", self.layer_scale.unwrap_or(0.0), 0.0)?;
        if let Some(base) = self.rope_base {
            in_range("rope_base", base, 1.0)?;
            if embed_dim / num_heads % 4 != 0 {
                return fault(format!(
                    "backbone.rope_base rotates pairs of channels for two axes, but a head has {} channels, which is not a multiple of 4; change num_heads, or set rope_base = 0",
                    embed_dim / num_heads
                ));
            }
        }
        if self.pos_embed == PosEmbedKind::Sincos && embed_dim % 4 != 0 {
            return fault(format!(
                "backbone.pos_embed = \"sincos\" needs an embed_dim that is a multiple of 4, not {embed_dim}"
            ));
        }
        Ok(())
    }

    fn check_tokens(&self) -> Result<()> {
        if self.num_register_tokens < 0 {
            return fault(format!(
                "backbone.num_register_tokens = {}: 0 or more",
                self.num_register_tokens
            ));
        }
        let is_beit = self.class_token && self.num_register_tokens == 0;
        if self.rel_pos_bias != RelPosBiasKind::None && !is_beit {
            return fault(
                "backbone.rel_pos_bias has entries for one class token and no register: set class_token = true and num_register_tokens = 0, or rel_pos_bias = \"none\"".into(),
            );
        }
        Ok(())
    }

    fn check_output(&self, norm_out_indices: Option<bool>) -> Result<()> {
        if matches!(self.output, Output::ClassToken | Output::ClassAndMean) && !self.class_token {
            return fault(
                "backbone.output needs the class token, but class_token = false; set output = \"mean\" or \"patch_tokens\"".into(),
            );
        }
        let Some(indices) = &self.out_indices else { return Ok(()) };
        if self.output != Output::PatchTokens {
            return fault(
                "backbone.out_indices makes maps of block outputs, but output asks for one vector per image; leave one of them out".into(),
            );
        }
        if indices.is_empty() {
            return fault("backbone.out_indices is empty: name at least one block".into());
        }
        if let Some(index) = indices.iter().find(|&&index| index >= self.depth) {
            return fault(format!(
                "backbone.out_indices names block {index}, but there are {} (0 to {})",
                self.depth,
                self.depth - 1
            ));
        }
        if norm_out_indices == Some(true) && self.final_norm != FinalNorm::Norm {
            return fault(
                "backbone.norm_out_indices = true, but there is no norm of tokens; set final_norm = \"norm\", or norm_out_indices = false".into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Architecture> {
        toml::from_str::<VitConfig>(text).unwrap().architecture()
    }

    #[test]
    fn presets_are_the_published_models() {
        let giant = parse("variant = \"dinov2\"\narch = \"giant\"").unwrap();
        assert_eq!((giant.embed_dim, giant.depth, giant.num_heads), (1536, 40, 24));
        assert_eq!((giant.mlp, giant.mlp_dim, giant.grid_size), (MlpKind::Swiglu, 4096, 37));
        assert_eq!(giant.interpolation, Interpolation { antialias: false, offset: 0.1 });
        let reg4 = parse("variant = \"dinov2\"\nnum_register_tokens = 4").unwrap();
        assert_eq!(reg4.interpolation, Interpolation { antialias: true, offset: 0.0 });
        assert_eq!(reg4.prefix(), 5);
        let plus = parse("variant = \"dinov3\"\narch = \"huge_plus\"").unwrap();
        assert_eq!((plus.mlp_dim, plus.num_heads, plus.rope_base), (5120, 20, Some(100.0)));
        let fetal_clip = parse("variant = \"clip\"\narch = \"large\"").unwrap();
        assert_eq!((fetal_clip.patch_size, fetal_clip.grid_size), (14, 16));
        let beit = parse("variant = \"beit\"").unwrap();
        assert!((beit.input.pixel_mean[0] - 127.5).abs() < 1e-12 && !beit.has_fc_norm());
        assert!(parse("variant = \"beit\"\noutput = \"mean\"").unwrap().has_fc_norm());
    }

    #[test]
    fn six_numbers_are_pixel_statistics() {
        let own = parse("pixel_statistics = [0.2, 0.2, 0.2, 0.1, 0.1, 0.1]").unwrap();
        assert_eq!((own.input.pixel_mean, own.input.pixel_std), ([51.0; 3], [25.5; 3]));
        let error = toml::from_str::<VitConfig>("pixel_statistics = [0.5]").unwrap_err();
        assert!(error.to_string().contains("six numbers"), "{error}");
    }

    #[test]
    fn contradictions_name_the_key() {
        for (text, expected) in [
            ("num_heads = 7", "embed_dim = 768 is not a multiple of num_heads = 7"),
            ("image_size = 100", "image_size = 100 is not a multiple of patch_size = 16"),
            ("depth = 0", "backbone.depth = 0"),
            ("num_register_tokens = -1", "num_register_tokens = -1"),
            ("rel_pos_bias = \"shared\"\nclass_token = false", "class_token = true"),
            ("class_token = false\noutput = \"class_token\"", "output = \"mean\""),
            ("out_indices = [12]", "names block 12"),
            ("out_indices = []", "at least one block"),
            ("out_indices = [1]\noutput = \"mean\"", "leave one of them out"),
            ("out_indices = [1]\nfinal_norm = \"none\"\nnorm_out_indices = true", "final_norm"),
            ("rope_base = 100\nembed_dim = 36\nnum_heads = 6", "multiple of 4"),
            ("rope_base = 0.5", "rope_base = 0.5"),
            ("pos_embed = \"sincos\"\nembed_dim = 6\nnum_heads = 1", "sincos"),
            ("layer_scale = -1", "layer_scale = -1"),
            ("pixel_statistics = [120, 1, 1, 1, 1, 1]", "by 255"),
            ("pixel_statistics = [0, 0, 0, 0, 1, 1]", "standard deviation 0"),
            ("lora = {}", "freeze = \"all\""),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(toml::from_str::<VitConfig>("embed_dimm = 4").is_err());
    }
}
