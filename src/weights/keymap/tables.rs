//! The tables. Our names: ViT layers as in segment-anything, ResNet layers as in torchvision,
//! both under `backbone.`; a classification head as mmpretrain's `head.fc`.

use super::{Convention, Rule, hiera, huggingface_vits, resnets, tiny_vit, vits};

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

/// The ViT of mmpretrain's `ViTSAM`, which UltraSam's models keep under `backbone.`.
const VIT_SAM: [Rule; 9] = [
    rule("backbone.pos_embed", "backbone.pos_embed"),
    rule("backbone.patch_embed.projection.*", "backbone.patch_embed.proj.*"),
    rule("backbone.layers.{N}.ln1.*", "backbone.blocks.{N}.norm1.*"),
    rule("backbone.layers.{N}.attn.*", "backbone.blocks.{N}.attn.*"),
    rule("backbone.layers.{N}.ln2.*", "backbone.blocks.{N}.norm2.*"),
    rule("backbone.layers.{N}.ffn.layers.0.0.*", "backbone.blocks.{N}.mlp.lin1.*"),
    rule("backbone.layers.{N}.ffn.layers.1.*", "backbone.blocks.{N}.mlp.lin2.*"),
    rule("backbone.channel_reduction.*", "backbone.neck.*"),
    rule("head.*", "head.*"),
];

/// Our conventions, in the order in which they are tried.
pub const CONVENTIONS: &[Convention] = &[
    Convention {
        name: "sonotune",
        title: "Sonotune's own checkpoints",
        marks: &["backbone.blocks.{N}.norm1.weight"],
        rules: &[rule("*", "*")],
        known_parts: &["backbone.neck.*", "prompt_encoder.*", "mask_decoder.*"],
        dropped: &[],
        training_state: &["optimizer.*", "ema.*"],
    },
    Convention {
        name: "segment_anything",
        title: "Meta's segment-anything; MedSAM",
        marks: &["image_encoder.blocks.{N}.norm1.weight"],
        rules: &[rule("image_encoder.*", "backbone.*")],
        known_parts: &["image_encoder.neck.*", "prompt_encoder.*", "mask_decoder.*"],
        // Normalisation belongs to the preprocessing here.
        dropped: &["pixel_mean", "pixel_std"],
        training_state: &[],
    },
    Convention {
        name: "huggingface_sam",
        title: "Hugging Face transformers' SamModel",
        marks: &["vision_encoder.layers.{N}.layer_norm1.weight"],
        rules: &[
            rule("vision_encoder.pos_embed", "backbone.pos_embed"),
            rule("vision_encoder.patch_embed.projection.*", "backbone.patch_embed.proj.*"),
            rule("vision_encoder.layers.{N}.layer_norm1.*", "backbone.blocks.{N}.norm1.*"),
            rule("vision_encoder.layers.{N}.layer_norm2.*", "backbone.blocks.{N}.norm2.*"),
            rule("vision_encoder.layers.{N}.attn.*", "backbone.blocks.{N}.attn.*"),
            rule("vision_encoder.layers.{N}.mlp.*", "backbone.blocks.{N}.mlp.*"),
            rule("vision_encoder.neck.conv1.*", "backbone.neck.0.*"),
            rule("vision_encoder.neck.layer_norm1.*", "backbone.neck.1.*"),
            rule("vision_encoder.neck.conv2.*", "backbone.neck.2.*"),
            rule("vision_encoder.neck.layer_norm2.*", "backbone.neck.3.*"),
        ],
        known_parts: &[
            "vision_encoder.neck.*",
            "prompt_encoder.*",
            "mask_decoder.*",
            "shared_image_embedding.*",
        ],
        dropped: &[],
        training_state: &[],
    },
    Convention {
        name: "ultrasam",
        title: "UltraSam's promptable model (mmdetection naming)",
        marks: &["backbone.layers.{N}.ln1.weight", "prompt_encoder.*"],
        rules: &VIT_SAM,
        known_parts: &[
            "backbone.channel_reduction.*",
            "prompt_encoder.*",
            "decoder.*",
            "bbox_head.*",
        ],
        dropped: &["data_preprocessor.*"],
        training_state: &[],
    },
    Convention {
        name: "mmpretrain_vit_sam",
        title: "mmpretrain's and mmdetection's models on a ViTSAM backbone",
        marks: &["backbone.layers.{N}.ln1.weight"],
        rules: &VIT_SAM,
        known_parts: &["backbone.channel_reduction.*", "head.*", "panoptic_head.*"],
        dropped: &["data_preprocessor.*"],
        training_state: &[],
    },
    Convention {
        name: "sam_image_encoder",
        title: "the image encoder of segment-anything alone",
        marks: &["blocks.{N}.attn.rel_pos_h", "blocks.{N}.mlp.lin1.weight"],
        rules: &[
            rule("pos_embed", "backbone.pos_embed"),
            rule("patch_embed.*", "backbone.patch_embed.*"),
            rule("blocks.{N}.*", "backbone.blocks.{N}.*"),
            rule("neck.*", "backbone.neck.*"),
        ],
        known_parts: &["neck.*"],
        dropped: &[],
        training_state: &[],
    },
    Convention {
        name: "mmdet_resnet",
        title: "mmpretrain's and mmdetection's models on a ResNet backbone",
        marks: &["backbone.conv1.weight", "backbone.layer1.0.conv1.weight"],
        rules: &[rule("backbone.*", "backbone.*"), rule("head.*", "head.*")],
        known_parts: &["head.*", "panoptic_head.*"],
        dropped: &["*.num_batches_tracked", "data_preprocessor.*"],
        training_state: &[],
    },
    Convention {
        name: "detectron2",
        title: "detectron2's models on a ResNet backbone",
        marks: &["backbone.stem.conv1.weight", "backbone.res2.0.conv1.weight"],
        rules: &resnets::DETECTRON2,
        known_parts: &["sem_seg_head.*"],
        // Class weights of the loss are the config's; normalisation belongs to the preprocessing.
        dropped: &["*.num_batches_tracked", "criterion.empty_weight", "pixel_mean", "pixel_std"],
        training_state: &[],
    },
    Convention {
        name: "huggingface_mask2former",
        title: "Hugging Face transformers' Mask2FormerForUniversalSegmentation",
        marks: &["model.pixel_level_module.decoder.level_embed", "model.transformer_module.*"],
        rules: &resnets::HUGGINGFACE,
        known_parts: &[
            "model.pixel_level_module.decoder.*",
            "model.transformer_module.*",
            "class_predictor.*",
        ],
        dropped: &["*.num_batches_tracked", "criterion.empty_weight"],
        training_state: &[],
    },
    Convention {
        name: "torchvision_resnet",
        title: "torchvision's ResNet",
        marks: &["conv1.weight", "layer1.0.conv1.weight"],
        // The inner names are ours. Rows per part: a catch-all would swallow unknown keys.
        rules: &[
            rule("conv1.*", "backbone.conv1.*"),
            rule("bn1.*", "backbone.bn1.*"),
            rule("layer{N}.*", "backbone.layer{N}.*"),
            rule("fc.*", "head.fc.*"),
        ],
        known_parts: &["fc.*"],
        dropped: &["*.num_batches_tracked"],
        training_state: &[],
    },
    tiny_vit::MOBILE_SAM,
    tiny_vit::TINY_VIT,
    tiny_vit::TIMM,
    hiera::SAM2,
    hiera::HUGGINGFACE_SAM2,
    // A family comes before one whose marks its files have as well.
    vits::DINOV3,
    vits::TIMM_DINOV3_PLUS,
    vits::TIMM_DINOV3,
    vits::DINOV2,
    vits::DINOV2_CHUNKED,
    vits::BEIT,
    vits::BEIT_SHARED,
    vits::OPEN_CLIP,
    vits::OPEN_CLIP_TIMM,
    vits::TIMM_VIT,
    huggingface_vits::HUGGINGFACE_BEIT,
    huggingface_vits::HUGGINGFACE_DINOV2,
    huggingface_vits::HUGGINGFACE_DINOV3_GATED,
    huggingface_vits::HUGGINGFACE_DINOV3,
    huggingface_vits::HUGGINGFACE_CLIP,
    huggingface_vits::HUGGINGFACE_VIT,
];
