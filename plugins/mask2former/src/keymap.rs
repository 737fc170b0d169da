//! Names of the head's variables in other projects. Ours are named as in mmdetection's Mask2Former.

use sonotune_engine::prelude::*;

/// A table in groups: within a group, all of their names and all of ours begin alike.
macro_rules! rules {
    ($($their_prefix:literal => $our_prefix:literal { $($theirs:literal = $ours:literal,)* })*) => {
        &[$($(Rule {
            theirs: concat!($their_prefix, $theirs),
            ours: concat!($our_prefix, $ours),
        },)*)*]
    };
}

/// mmdetection 3 uses the same names as we do. In mmdetection 2 the attentions of a layer are numbered
/// in the order of their use: cross attention first. Files are written under the newer names, so those
/// come first.
const MMDET: &[Rule] = rules! {
    "panoptic_head.pixel_decoder." => "panoptic_head.pixel_decoder." {
        "encoder.layers.{N}.self_attn.*" = "encoder.layers.{N}.self_attn.*",
        "encoder.layers.{N}.ffn.*" = "encoder.layers.{N}.ffn.*",
    }
    "panoptic_head.transformer_decoder." => "panoptic_head.transformer_decoder." {
        "layers.{N}.cross_attn.*" = "layers.{N}.cross_attn.*",
        "layers.{N}.self_attn.*" = "layers.{N}.self_attn.*",
        "layers.{N}.ffn.*" = "layers.{N}.ffn.*",
    }
    "panoptic_head.pixel_decoder." => "panoptic_head.pixel_decoder." {
        "encoder.layers.{N}.attentions.0.*" = "encoder.layers.{N}.self_attn.*",
        "encoder.layers.{N}.ffns.0.*" = "encoder.layers.{N}.ffn.*",
    }
    "panoptic_head.transformer_decoder." => "panoptic_head.transformer_decoder." {
        "layers.{N}.attentions.0.*" = "layers.{N}.cross_attn.*",
        "layers.{N}.attentions.1.*" = "layers.{N}.self_attn.*",
        "layers.{N}.ffns.0.*" = "layers.{N}.ffn.*",
    }
    "panoptic_head." => "panoptic_head." {
        "*" = "*",
    }
};

inventory::submit! { RuleSet { convention: "mmdet_resnet", rules: MMDET } }
inventory::submit! { RuleSet { convention: "mmpretrain_vit_sam", rules: MMDET } }

// The original code's names, and thus those in every detectron2 file.
inventory::submit! { RuleSet { convention: "detectron2", rules: rules! {
    "sem_seg_head.pixel_decoder." => "panoptic_head.pixel_decoder." {
        "input_proj.{N}.0.*" = "input_convs.{N}.conv.*",
        "input_proj.{N}.1.*" = "input_convs.{N}.gn.*",
        "transformer.level_embed" = "level_encoding.weight",
        "transformer.encoder.layers.{N}.self_attn.*" = "encoder.layers.{N}.self_attn.*",
        "transformer.encoder.layers.{N}.linear1.*" = "encoder.layers.{N}.ffn.layers.0.0.*",
        "transformer.encoder.layers.{N}.linear2.*" = "encoder.layers.{N}.ffn.layers.1.*",
        "transformer.encoder.layers.{N}.norm1.*" = "encoder.layers.{N}.norms.0.*",
        "transformer.encoder.layers.{N}.norm2.*" = "encoder.layers.{N}.norms.1.*",
        "mask_features.*" = "mask_feature.*",
        "adapter_1.norm.*" = "lateral_convs.0.gn.*",
        "adapter_1.weight" = "lateral_convs.0.conv.weight",
        "layer_1.norm.*" = "output_convs.0.gn.*",
        "layer_1.weight" = "output_convs.0.conv.weight",
    }
    "sem_seg_head.predictor." => "panoptic_head.transformer_decoder." {
        "transformer_cross_attention_layers.{N}.multihead_attn.*" = "layers.{N}.cross_attn.attn.*",
        "transformer_cross_attention_layers.{N}.norm.*" = "layers.{N}.norms.0.*",
        "transformer_self_attention_layers.{N}.self_attn.*" = "layers.{N}.self_attn.attn.*",
        "transformer_self_attention_layers.{N}.norm.*" = "layers.{N}.norms.1.*",
        "transformer_ffn_layers.{N}.linear1.*" = "layers.{N}.ffn.layers.0.0.*",
        "transformer_ffn_layers.{N}.linear2.*" = "layers.{N}.ffn.layers.1.*",
        "transformer_ffn_layers.{N}.norm.*" = "layers.{N}.norms.2.*",
        "decoder_norm.*" = "post_norm.*",
    }
    "sem_seg_head.predictor." => "panoptic_head." {
        "query_embed.weight" = "query_embed.weight",
        "query_feat.weight" = "query_feat.weight",
        // The published files predate the current name.
        "static_query.weight" = "query_feat.weight",
        "level_embed.weight" = "level_embed.weight",
        "class_embed.*" = "cls_embed.*",
        // Activations have no variables, but they are counted as layers here.
        "mask_embed.layers.0.*" = "mask_embed.0.*",
        "mask_embed.layers.1.*" = "mask_embed.2.*",
        "mask_embed.layers.2.*" = "mask_embed.4.*",
    }
} } }

inventory::submit! { RuleSet { convention: "huggingface_mask2former", rules: rules! {
    // Three matrices and three biases there are one matrix and one bias here.
    "model.transformer_module.decoder.layers.{N}.self_attn." =>
    "panoptic_head.transformer_decoder.layers.{N}.self_attn.attn." {
        "q_proj.weight" = "in_proj_weight[0/3]",
        "q_proj.bias" = "in_proj_bias[0/3]",
        "k_proj.weight" = "in_proj_weight[1/3]",
        "k_proj.bias" = "in_proj_bias[1/3]",
        "v_proj.weight" = "in_proj_weight[2/3]",
        "v_proj.bias" = "in_proj_bias[2/3]",
    }
    "model.pixel_level_module.decoder." => "panoptic_head.pixel_decoder." {
        "input_projections.{N}.0.*" = "input_convs.{N}.conv.*",
        "input_projections.{N}.1.*" = "input_convs.{N}.gn.*",
        "level_embed" = "level_encoding.weight",
        "encoder.layers.{N}.self_attn.*" = "encoder.layers.{N}.self_attn.*",
        "encoder.layers.{N}.fc1.*" = "encoder.layers.{N}.ffn.layers.0.0.*",
        "encoder.layers.{N}.fc2.*" = "encoder.layers.{N}.ffn.layers.1.*",
        "encoder.layers.{N}.self_attn_layer_norm.*" = "encoder.layers.{N}.norms.0.*",
        "encoder.layers.{N}.final_layer_norm.*" = "encoder.layers.{N}.norms.1.*",
        "mask_projection.*" = "mask_feature.*",
        "adapter_1.0.weight" = "lateral_convs.0.conv.weight",
        "adapter_1.1.*" = "lateral_convs.0.gn.*",
        "layer_1.0.weight" = "output_convs.0.conv.weight",
        "layer_1.1.*" = "output_convs.0.gn.*",
    }
    "model.transformer_module.decoder." => "panoptic_head.transformer_decoder." {
        "layers.{N}.self_attn.out_proj.*" = "layers.{N}.self_attn.attn.out_proj.*",
        "layers.{N}.cross_attn.*" = "layers.{N}.cross_attn.attn.*",
        "layers.{N}.cross_attn_layer_norm.*" = "layers.{N}.norms.0.*",
        "layers.{N}.self_attn_layer_norm.*" = "layers.{N}.norms.1.*",
        "layers.{N}.fc1.*" = "layers.{N}.ffn.layers.0.0.*",
        "layers.{N}.fc2.*" = "layers.{N}.ffn.layers.1.*",
        "layers.{N}.final_layer_norm.*" = "layers.{N}.norms.2.*",
        "layernorm.*" = "post_norm.*",
    }
    "model.transformer_module.decoder." => "panoptic_head." {
        "mask_predictor.mask_embedder.0.0.*" = "mask_embed.0.*",
        "mask_predictor.mask_embedder.1.0.*" = "mask_embed.2.*",
        "mask_predictor.mask_embedder.2.0.*" = "mask_embed.4.*",
    }
    "model.transformer_module." => "panoptic_head." {
        "queries_embedder.weight" = "query_embed.weight",
        "queries_features.weight" = "query_feat.weight",
        "level_embed.weight" = "level_embed.weight",
    }
    "" => "panoptic_head." {
        "class_predictor.*" = "cls_embed.*",
    }
} } }
