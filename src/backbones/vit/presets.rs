//! The published models: what each family chose, and its sizes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    config::{FinalNorm, MlpKind, PosEmbedKind, QkvBias, RelPosBiasKind},
    pixel_statistics::{Named, PixelStatistics},
};

/// A family of published models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Supervised ViT (Dosovitskiy et al. 2021) as in timm.
    #[default]
    Vit,
    /// Masked autoencoder (He et al. 2022): also USF-MAE, UltraFedFM, TinyUSFM.
    Mae,
    /// Oquab et al. 2024; with registers (Darcet et al. 2024) by `num_register_tokens = 4`.
    Dinov2,
    /// Siméoni et al. 2025.
    Dinov3,
    /// Bao et al. 2022: also USFM.
    Beit,
    /// Radford et al. 2021, as in open_clip: also FetalCLIP.
    Clip,
}

/// A published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 192 wide, 12 blocks of 3 heads.
    Tiny,
    /// 384 wide, 12 blocks of 6 heads.
    Small,
    /// `Small` with a SwiGLU (DINOv3).
    SmallPlus,
    /// 768 wide, 12 blocks of 12 heads.
    #[default]
    Base,
    /// 1024 wide, 24 blocks of 16 heads.
    Large,
    /// 1280 wide, 32 blocks of 16 heads.
    Huge,
    /// 1280 wide, 32 blocks of 20 heads with a SwiGLU (DINOv3).
    HugePlus,
    /// 1536 wide, 40 blocks of 24 heads with a SwiGLU (DINOv2).
    Giant,
}

impl Arch {
    pub(super) const ALL: [Self; 8] = [
        Self::Tiny,
        Self::Small,
        Self::SmallPlus,
        Self::Base,
        Self::Large,
        Self::Huge,
        Self::HugePlus,
        Self::Giant,
    ];

    /// Width, depth and heads.
    pub(super) fn sizes(self) -> (i64, i64, i64) {
        match self {
            Self::Tiny => (192, 12, 3),
            Self::Small | Self::SmallPlus => (384, 12, 6),
            Self::Base => (768, 12, 12),
            Self::Large => (1024, 24, 16),
            Self::Huge => (1280, 32, 16),
            Self::HugePlus => (1280, 32, 20),
            Self::Giant => (1536, 40, 24),
        }
    }

    pub(super) fn is_swiglu(self) -> bool {
        matches!(self, Self::SmallPlus | Self::HugePlus | Self::Giant)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::SmallPlus => "small_plus",
            Self::Base => "base",
            Self::Large => "large",
            Self::Huge => "huge",
            Self::HugePlus => "huge_plus",
            Self::Giant => "giant",
        }
    }
}

/// What a family chose, but for sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    pub(super) image_size: i64,
    pub(super) num_register_tokens: i64,
    pub(super) pos_embed: PosEmbedKind,
    pub(super) rope_base: f64,
    pub(super) rel_pos_bias: RelPosBiasKind,
    pub(super) pre_norm: bool,
    pub(super) patch_bias: bool,
    pub(super) qkv_bias: QkvBias,
    pub(super) layer_scale: f64,
    pub(super) norm_eps: f64,
    pub(super) final_norm: FinalNorm,
    pub(super) norm_out_indices: bool,
    pub(super) pixel_statistics: Named,
}

impl Variant {
    pub(super) fn preset(self) -> Preset {
        let plain = Preset {
            image_size: 224,
            num_register_tokens: 0,
            pos_embed: PosEmbedKind::Learned,
            rope_base: 0.0,
            rel_pos_bias: RelPosBiasKind::None,
            pre_norm: false,
            patch_bias: true,
            qkv_bias: QkvBias::All,
            layer_scale: 0.0,
            norm_eps: 1e-6,
            final_norm: FinalNorm::Norm,
            norm_out_indices: false,
            pixel_statistics: Named::Imagenet,
        };
        match self {
            Self::Vit => Preset { pixel_statistics: Named::Half, ..plain },
            Self::Mae => plain,
            // `get_intermediate_layers` normalises every level.
            Self::Dinov2 => {
                Preset { image_size: 518, layer_scale: 1e-5, norm_out_indices: true, ..plain }
            }
            Self::Dinov3 => Preset {
                num_register_tokens: 4,
                pos_embed: PosEmbedKind::None,
                rope_base: 100.0,
                qkv_bias: QkvBias::Masked,
                layer_scale: 1e-5,
                norm_eps: 1e-5,
                norm_out_indices: true,
                ..plain
            },
            Self::Beit => Preset {
                pos_embed: PosEmbedKind::None,
                rel_pos_bias: RelPosBiasKind::PerBlock,
                qkv_bias: QkvBias::QueryValue,
                layer_scale: 0.1,
                final_norm: FinalNorm::FcNorm,
                pixel_statistics: Named::Half,
                ..plain
            },
            Self::Clip => Preset {
                pre_norm: true,
                patch_bias: false,
                norm_eps: 1e-5,
                pixel_statistics: Named::Clip,
                ..plain
            },
        }
    }

    /// Side of a patch, pixels.
    pub(super) fn patch_size(self, arch: Arch) -> i64 {
        match (self, arch) {
            (Self::Dinov2, _) | (Self::Vit | Self::Mae, Arch::Huge) => 14,
            (Self::Clip, Arch::Large | Arch::Huge) => 14,
            _ => 16,
        }
    }

    /// Whether the original resizes positions with antialiasing. DINOv2 does with registers only.
    pub(super) fn antialias(self, num_register_tokens: i64) -> bool {
        match self {
            Self::Vit | Self::Clip => true,
            Self::Dinov2 => num_register_tokens > 0,
            Self::Mae | Self::Dinov3 | Self::Beit => false,
        }
    }

    /// The original's offset when it resizes positions.
    pub(super) fn offset(self, num_register_tokens: i64) -> f64 {
        if self == Self::Dinov2 && num_register_tokens == 0 { 0.1 } else { 0.0 }
    }

    /// Hidden width of an MLP.
    pub(super) fn mlp_dim(self, embed_dim: i64, mlp: MlpKind) -> i64 {
        match (self, mlp) {
            // Two thirds of the usual width, in steps of eight: as many values as without the gate.
            (Self::Dinov2, MlpKind::Swiglu) => (4 * embed_dim * 2 / 3 + 7) / 8 * 8,
            _ => 4 * embed_dim,
        }
    }
}

impl Preset {
    pub(super) fn statistics(self) -> PixelStatistics {
        PixelStatistics::Named(self.pixel_statistics)
    }
}
