//! Names of the head's variables in other projects. Ours are named as in mmdetection's Mask2Former.

use sonotune_engine::prelude::*;

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

macro_rules! pixel_decoder {
    ($($rest:expr),*) => { concat!("panoptic_head.pixel_decoder.", $($rest),*) };
}

macro_rules! transformer_decoder {
    ($($rest:expr),*) => { concat!("panoptic_head.transformer_decoder.", $($rest),*) };
}

macro_rules! same {
    ($name:expr) => {
        rule($name, $name)
    };
}

/// mmdetection 3 uses the same names as we do. In mmdetection 2 the attentions of a layer are numbered
/// in the order of their use: cross attention first. Files are written under the newer names, so those
/// come first.
const MMDET: [Rule; 11] = [
    same!(pixel_decoder!("encoder.layers.{N}.self_attn.*")),
    same!(pixel_decoder!("encoder.layers.{N}.ffn.*")),
    same!(transformer_decoder!("layers.{N}.cross_attn.*")),
    same!(transformer_decoder!("layers.{N}.self_attn.*")),
    same!(transformer_decoder!("layers.{N}.ffn.*")),
    rule(
        pixel_decoder!("encoder.layers.{N}.attentions.0.*"),
        pixel_decoder!("encoder.layers.{N}.self_attn.*"),
    ),
    rule(pixel_decoder!("encoder.layers.{N}.ffns.0.*"), pixel_decoder!("encoder.layers.{N}.ffn.*")),
    rule(
        transformer_decoder!("layers.{N}.attentions.0.*"),
        transformer_decoder!("layers.{N}.cross_attn.*"),
    ),
    rule(
        transformer_decoder!("layers.{N}.attentions.1.*"),
        transformer_decoder!("layers.{N}.self_attn.*"),
    ),
    rule(transformer_decoder!("layers.{N}.ffns.0.*"), transformer_decoder!("layers.{N}.ffn.*")),
    same!("panoptic_head.*"),
];

inventory::submit! { RuleSet { convention: "mmdet_resnet", rules: &MMDET } }
inventory::submit! { RuleSet { convention: "mmpretrain_vit_sam", rules: &MMDET } }

/// Prefixes of the head's parts in the original code, and thus in every detectron2 file.
macro_rules! d2_pixels {
    ($($rest:expr),*) => { concat!("sem_seg_head.pixel_decoder.", $($rest),*) };
}

macro_rules! d2_predictor {
    ($($rest:expr),*) => { concat!("sem_seg_head.predictor.", $($rest),*) };
}

inventory::submit! { RuleSet { convention: "detectron2", rules: &[
    rule(d2_pixels!("input_proj.{N}.0.*"), pixel_decoder!("input_convs.{N}.conv.*")),
    rule(d2_pixels!("input_proj.{N}.1.*"), pixel_decoder!("input_convs.{N}.gn.*")),
    rule(d2_pixels!("transformer.level_embed"), pixel_decoder!("level_encoding.weight")),
    rule(
        d2_pixels!("transformer.encoder.layers.{N}.self_attn.*"),
        pixel_decoder!("encoder.layers.{N}.self_attn.*"),
    ),
    rule(
        d2_pixels!("transformer.encoder.layers.{N}.linear1.*"),
        pixel_decoder!("encoder.layers.{N}.ffn.layers.0.0.*"),
    ),
    rule(
        d2_pixels!("transformer.encoder.layers.{N}.linear2.*"),
        pixel_decoder!("encoder.layers.{N}.ffn.layers.1.*"),
    ),
    rule(
        d2_pixels!("transformer.encoder.layers.{N}.norm1.*"),
        pixel_decoder!("encoder.layers.{N}.norms.0.*"),
    ),
    rule(
        d2_pixels!("transformer.encoder.layers.{N}.norm2.*"),
        pixel_decoder!("encoder.layers.{N}.norms.1.*"),
    ),
    rule(d2_pixels!("mask_features.*"), pixel_decoder!("mask_feature.*")),
    rule(d2_pixels!("adapter_1.norm.*"), pixel_decoder!("lateral_convs.0.gn.*")),
    rule(d2_pixels!("adapter_1.weight"), pixel_decoder!("lateral_convs.0.conv.weight")),
    rule(d2_pixels!("layer_1.norm.*"), pixel_decoder!("output_convs.0.gn.*")),
    rule(d2_pixels!("layer_1.weight"), pixel_decoder!("output_convs.0.conv.weight")),
    rule(
        d2_predictor!("transformer_cross_attention_layers.{N}.multihead_attn.*"),
        transformer_decoder!("layers.{N}.cross_attn.attn.*"),
    ),
    rule(
        d2_predictor!("transformer_cross_attention_layers.{N}.norm.*"),
        transformer_decoder!("layers.{N}.norms.0.*"),
    ),
    rule(
        d2_predictor!("transformer_self_attention_layers.{N}.self_attn.*"),
        transformer_decoder!("layers.{N}.self_attn.attn.*"),
    ),
    rule(
        d2_predictor!("transformer_self_attention_layers.{N}.norm.*"),
        transformer_decoder!("layers.{N}.norms.1.*"),
    ),
    rule(
        d2_predictor!("transformer_ffn_layers.{N}.linear1.*"),
        transformer_decoder!("layers.{N}.ffn.layers.0.0.*"),
    ),
    rule(
        d2_predictor!("transformer_ffn_layers.{N}.linear2.*"),
        transformer_decoder!("layers.{N}.ffn.layers.1.*"),
    ),
    rule(
        d2_predictor!("transformer_ffn_layers.{N}.norm.*"),
        transformer_decoder!("layers.{N}.norms.2.*"),
    ),
    rule(d2_predictor!("decoder_norm.*"), transformer_decoder!("post_norm.*")),
    rule(d2_predictor!("query_embed.weight"), "panoptic_head.query_embed.weight"),
    rule(d2_predictor!("query_feat.weight"), "panoptic_head.query_feat.weight"),
    // The published files predate the current name.
    rule(d2_predictor!("static_query.weight"), "panoptic_head.query_feat.weight"),
    rule(d2_predictor!("level_embed.weight"), "panoptic_head.level_embed.weight"),
    rule(d2_predictor!("class_embed.*"), "panoptic_head.cls_embed.*"),
    // Activations have no variables, but they are counted as layers here.
    rule(d2_predictor!("mask_embed.layers.0.*"), "panoptic_head.mask_embed.0.*"),
    rule(d2_predictor!("mask_embed.layers.1.*"), "panoptic_head.mask_embed.2.*"),
    rule(d2_predictor!("mask_embed.layers.2.*"), "panoptic_head.mask_embed.4.*"),
] } }

macro_rules! hf_pixels {
    ($($rest:expr),*) => { concat!("model.pixel_level_module.decoder.", $($rest),*) };
}

macro_rules! hf_decoder {
    ($($rest:expr),*) => { concat!("model.transformer_module.decoder.", $($rest),*) };
}

/// Three matrices and three biases there are one matrix and one bias here.
macro_rules! self_attention {
    ($($projection:literal = $part:literal),*) => {
        [$(
            rule(
                hf_decoder!("layers.{N}.self_attn.", $projection, ".weight"),
                transformer_decoder!("layers.{N}.self_attn.attn.in_proj_weight", $part),
            ),
            rule(
                hf_decoder!("layers.{N}.self_attn.", $projection, ".bias"),
                transformer_decoder!("layers.{N}.self_attn.attn.in_proj_bias", $part),
            ),
        )*]
    };
}

const HUGGINGFACE_SELF_ATTENTION: [Rule; 6] =
    self_attention!["q_proj" = "[0/3]", "k_proj" = "[1/3]", "v_proj" = "[2/3]"];

inventory::submit! { RuleSet {
    convention: "huggingface_mask2former",
    rules: &HUGGINGFACE_SELF_ATTENTION,
} }

inventory::submit! { RuleSet { convention: "huggingface_mask2former", rules: &[
    rule(hf_pixels!("input_projections.{N}.0.*"), pixel_decoder!("input_convs.{N}.conv.*")),
    rule(hf_pixels!("input_projections.{N}.1.*"), pixel_decoder!("input_convs.{N}.gn.*")),
    rule(hf_pixels!("level_embed"), pixel_decoder!("level_encoding.weight")),
    rule(
        hf_pixels!("encoder.layers.{N}.self_attn.*"),
        pixel_decoder!("encoder.layers.{N}.self_attn.*"),
    ),
    rule(
        hf_pixels!("encoder.layers.{N}.fc1.*"),
        pixel_decoder!("encoder.layers.{N}.ffn.layers.0.0.*"),
    ),
    rule(
        hf_pixels!("encoder.layers.{N}.fc2.*"),
        pixel_decoder!("encoder.layers.{N}.ffn.layers.1.*"),
    ),
    rule(
        hf_pixels!("encoder.layers.{N}.self_attn_layer_norm.*"),
        pixel_decoder!("encoder.layers.{N}.norms.0.*"),
    ),
    rule(
        hf_pixels!("encoder.layers.{N}.final_layer_norm.*"),
        pixel_decoder!("encoder.layers.{N}.norms.1.*"),
    ),
    rule(hf_pixels!("mask_projection.*"), pixel_decoder!("mask_feature.*")),
    rule(hf_pixels!("adapter_1.0.weight"), pixel_decoder!("lateral_convs.0.conv.weight")),
    rule(hf_pixels!("adapter_1.1.*"), pixel_decoder!("lateral_convs.0.gn.*")),
    rule(hf_pixels!("layer_1.0.weight"), pixel_decoder!("output_convs.0.conv.weight")),
    rule(hf_pixels!("layer_1.1.*"), pixel_decoder!("output_convs.0.gn.*")),
    rule(
        hf_decoder!("layers.{N}.self_attn.out_proj.*"),
        transformer_decoder!("layers.{N}.self_attn.attn.out_proj.*"),
    ),
    rule(
        hf_decoder!("layers.{N}.cross_attn.*"),
        transformer_decoder!("layers.{N}.cross_attn.attn.*"),
    ),
    rule(
        hf_decoder!("layers.{N}.cross_attn_layer_norm.*"),
        transformer_decoder!("layers.{N}.norms.0.*"),
    ),
    rule(
        hf_decoder!("layers.{N}.self_attn_layer_norm.*"),
        transformer_decoder!("layers.{N}.norms.1.*"),
    ),
    rule(hf_decoder!("layers.{N}.fc1.*"), transformer_decoder!("layers.{N}.ffn.layers.0.0.*")),
    rule(hf_decoder!("layers.{N}.fc2.*"), transformer_decoder!("layers.{N}.ffn.layers.1.*")),
    rule(
        hf_decoder!("layers.{N}.final_layer_norm.*"),
        transformer_decoder!("layers.{N}.norms.2.*"),
    ),
    rule(hf_decoder!("layernorm.*"), transformer_decoder!("post_norm.*")),
    rule(hf_decoder!("mask_predictor.mask_embedder.0.0.*"), "panoptic_head.mask_embed.0.*"),
    rule(hf_decoder!("mask_predictor.mask_embedder.1.0.*"), "panoptic_head.mask_embed.2.*"),
    rule(hf_decoder!("mask_predictor.mask_embedder.2.0.*"), "panoptic_head.mask_embed.4.*"),
    rule("model.transformer_module.queries_embedder.weight", "panoptic_head.query_embed.weight"),
    rule("model.transformer_module.queries_features.weight", "panoptic_head.query_feat.weight"),
    rule("model.transformer_module.level_embed.weight", "panoptic_head.level_embed.weight"),
    rule("class_predictor.*", "panoptic_head.cls_embed.*"),
] } }
