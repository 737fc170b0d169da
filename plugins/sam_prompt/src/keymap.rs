//! Names of the variables of prompt encoder and mask decoder in other projects. Ours are named as in
//! segment-anything.

use sonotune_engine::prelude::*;

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

inventory::submit! { RuleSet {
    convention: "segment_anything",
    rules: &[
        rule("prompt_encoder.*", "prompt_encoder.*"),
        rule("mask_decoder.*", "mask_decoder.*"),
    ],
} }

inventory::submit! { RuleSet {
    convention: "sam2",
    rules: &[
        rule("sam_prompt_encoder.*", "prompt_encoder.*"),
        rule(
            "sam_mask_decoder.transformer.layers.{N}.mlp.layers.0.*",
            "mask_decoder.transformer.layers.{N}.mlp.lin1.*",
        ),
        rule(
            "sam_mask_decoder.transformer.layers.{N}.mlp.layers.1.*",
            "mask_decoder.transformer.layers.{N}.mlp.lin2.*",
        ),
        rule("sam_mask_decoder.*", "mask_decoder.*"),
        rule("no_mem_embed", "no_mem_embed"),
    ],
} }

inventory::submit! { RuleSet {
    convention: "mobile_sam",
    rules: &[
        rule("prompt_encoder.*", "prompt_encoder.*"),
        rule("mask_decoder.*", "mask_decoder.*"),
    ],
} }

/// Rows of UltraSam's label embedding: 0 no mask, 1 negative and 2 positive point, 3 and 4 corners
/// of a box, 5 not a point, 6 to 9 mask tokens, 10 IoU token.
macro_rules! label_embedding {
    ($rows:literal) => {
        concat!("prompt_encoder.label_encoder.label_embedding.weight[", $rows, "/11]")
    };
}

/// One attention of mmcv's `MultiheadAttention`: three bare matrices, one bias for all three.
macro_rules! attention {
    ($theirs:literal, $ours:literal) => {
        [
            rule(concat!($theirs, ".attn.q_proj_weight"), concat!($ours, ".q_proj.weight")),
            rule(concat!($theirs, ".attn.k_proj_weight"), concat!($ours, ".k_proj.weight")),
            rule(concat!($theirs, ".attn.v_proj_weight"), concat!($ours, ".v_proj.weight")),
            rule(concat!($theirs, ".attn.in_proj_bias[0/3]"), concat!($ours, ".q_proj.bias")),
            rule(concat!($theirs, ".attn.in_proj_bias[1/3]"), concat!($ours, ".k_proj.bias")),
            rule(concat!($theirs, ".attn.in_proj_bias[2/3]"), concat!($ours, ".v_proj.bias")),
            rule(concat!($theirs, ".attn.out_proj.*"), concat!($ours, ".out_proj.*")),
        ]
    };
}

const SELF_ATTENTION: [Rule; 7] =
    attention!("decoder.layers.{N}.self_attn", "mask_decoder.transformer.layers.{N}.self_attn");
const TOKEN_TO_IMAGE: [Rule; 7] = attention!(
    "decoder.layers.{N}.cross_attn_token_to_image",
    "mask_decoder.transformer.layers.{N}.cross_attn_token_to_image"
);
const IMAGE_TO_TOKEN: [Rule; 7] = attention!(
    "decoder.layers.{N}.cross_attn_image_to_token",
    "mask_decoder.transformer.layers.{N}.cross_attn_image_to_token"
);
const FINAL_ATTENTION: [Rule; 7] = attention!(
    "decoder.final_attn_token_to_image",
    "mask_decoder.transformer.final_attn_token_to_image"
);

const REST: [Rule; 16] = [
    rule(label_embedding!("0"), "prompt_encoder.no_mask_embed.weight"),
    rule(label_embedding!("1"), "prompt_encoder.point_embeddings.0.weight"),
    rule(label_embedding!("2"), "prompt_encoder.point_embeddings.1.weight"),
    rule(label_embedding!("3"), "prompt_encoder.point_embeddings.2.weight"),
    rule(label_embedding!("4"), "prompt_encoder.point_embeddings.3.weight"),
    rule(label_embedding!("5"), "prompt_encoder.not_a_point_embed.weight"),
    rule(label_embedding!("6-9"), "mask_decoder.mask_tokens.weight"),
    rule(label_embedding!("10"), "mask_decoder.iou_token.weight"),
    rule("prompt_encoder.pe_layer.*", "prompt_encoder.pe_layer.*"),
    rule("prompt_encoder.mask_downscaling.*", "prompt_encoder.mask_downscaling.*"),
    rule("decoder.layers.{N}.norm{N}.*", "mask_decoder.transformer.layers.{N}.norm{N}.*"),
    rule("decoder.layers.{N}.mlp.layers.0.0.*", "mask_decoder.transformer.layers.{N}.mlp.lin1.*"),
    rule("decoder.layers.{N}.mlp.layers.1.*", "mask_decoder.transformer.layers.{N}.mlp.lin2.*"),
    rule("decoder.post_norm.*", "mask_decoder.transformer.norm_final_attn.*"),
    rule("bbox_head.iou_prediction_head.*", "mask_decoder.iou_prediction_head.*"),
    rule("bbox_head.output_*", "mask_decoder.output_*"),
];

inventory::submit! { RuleSet { convention: "ultrasam", rules: &SELF_ATTENTION } }
inventory::submit! { RuleSet { convention: "ultrasam", rules: &TOKEN_TO_IMAGE } }
inventory::submit! { RuleSet { convention: "ultrasam", rules: &IMAGE_TO_TOKEN } }
inventory::submit! { RuleSet { convention: "ultrasam", rules: &FINAL_ATTENTION } }
inventory::submit! { RuleSet { convention: "ultrasam", rules: &REST } }

/// What transformers' `SamModel` and `Sam2Model` have in common.
const HUGGINGFACE: [Rule; 19] = [
    rule(
        "shared_image_embedding.positional_embedding",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    rule("prompt_encoder.no_mask_embed.weight", "prompt_encoder.no_mask_embed.weight"),
    rule("prompt_encoder.not_a_point_embed.weight", "prompt_encoder.not_a_point_embed.weight"),
    rule("prompt_encoder.mask_embed.conv1.*", "prompt_encoder.mask_downscaling.0.*"),
    rule("prompt_encoder.mask_embed.layer_norm1.*", "prompt_encoder.mask_downscaling.1.*"),
    rule("prompt_encoder.mask_embed.conv2.*", "prompt_encoder.mask_downscaling.3.*"),
    rule("prompt_encoder.mask_embed.layer_norm2.*", "prompt_encoder.mask_downscaling.4.*"),
    rule("prompt_encoder.mask_embed.conv3.*", "prompt_encoder.mask_downscaling.6.*"),
    rule("mask_decoder.iou_token.weight", "mask_decoder.iou_token.weight"),
    rule("mask_decoder.mask_tokens.weight", "mask_decoder.mask_tokens.weight"),
    rule("mask_decoder.upscale_conv1.*", "mask_decoder.output_upscaling.0.*"),
    rule("mask_decoder.upscale_layer_norm.*", "mask_decoder.output_upscaling.1.*"),
    rule("mask_decoder.upscale_conv2.*", "mask_decoder.output_upscaling.3.*"),
    rule(
        "mask_decoder.output_hypernetworks_mlps.{N}.proj_in.*",
        "mask_decoder.output_hypernetworks_mlps.{N}.layers.0.*",
    ),
    rule(
        "mask_decoder.output_hypernetworks_mlps.{N}.layers.0.*",
        "mask_decoder.output_hypernetworks_mlps.{N}.layers.1.*",
    ),
    rule(
        "mask_decoder.output_hypernetworks_mlps.{N}.proj_out.*",
        "mask_decoder.output_hypernetworks_mlps.{N}.layers.2.*",
    ),
    rule(
        "mask_decoder.iou_prediction_head.proj_in.*",
        "mask_decoder.iou_prediction_head.layers.0.*",
    ),
    rule(
        "mask_decoder.iou_prediction_head.layers.0.*",
        "mask_decoder.iou_prediction_head.layers.1.*",
    ),
    rule(
        "mask_decoder.iou_prediction_head.proj_out.*",
        "mask_decoder.iou_prediction_head.layers.2.*",
    ),
];

/// The norms of the two-way transformer, and everything else in it by our names.
macro_rules! transformer {
    ($($first:expr,)*) => {
        [
            $($first,)*
            rule(
                "mask_decoder.transformer.layers.{N}.layer_norm{N}.*",
                "mask_decoder.transformer.layers.{N}.norm{N}.*",
            ),
            rule(
                "mask_decoder.transformer.layer_norm_final_attn.*",
                "mask_decoder.transformer.norm_final_attn.*",
            ),
            rule("mask_decoder.transformer.*", "mask_decoder.transformer.*"),
        ]
    };
}

inventory::submit! { RuleSet { convention: "huggingface_sam", rules: &HUGGINGFACE } }
inventory::submit! { RuleSet { convention: "huggingface_sam", rules: &transformer!() } }
inventory::submit! { RuleSet {
    convention: "huggingface_sam",
    rules: &[rule("prompt_encoder.point_embed.{N}.weight", "prompt_encoder.point_embeddings.{N}.weight")],
} }

/// The output projection of one attention of `Sam2Model`.
macro_rules! out_proj {
    ($attention:literal) => {
        rule(
            concat!("mask_decoder.transformer.", $attention, ".o_proj.*"),
            concat!("mask_decoder.transformer.", $attention, ".out_proj.*"),
        )
    };
}

inventory::submit! { RuleSet { convention: "huggingface_sam2", rules: &HUGGINGFACE } }
inventory::submit! { RuleSet {
    convention: "huggingface_sam2",
    rules: &transformer!(
        out_proj!("layers.{N}.self_attn"),
        out_proj!("layers.{N}.cross_attn_token_to_image"),
        out_proj!("layers.{N}.cross_attn_image_to_token"),
        out_proj!("final_attn_token_to_image"),
        rule(
            "mask_decoder.transformer.layers.{N}.mlp.proj_in.*",
            "mask_decoder.transformer.layers.{N}.mlp.lin1.*",
        ),
        rule(
            "mask_decoder.transformer.layers.{N}.mlp.proj_out.*",
            "mask_decoder.transformer.layers.{N}.mlp.lin2.*",
        ),
    ),
} }
inventory::submit! { RuleSet {
    convention: "huggingface_sam2",
    rules: &[
        rule("prompt_encoder.point_embed.weight[0/4]", "prompt_encoder.point_embeddings.0.weight"),
        rule("prompt_encoder.point_embed.weight[1/4]", "prompt_encoder.point_embeddings.1.weight"),
        rule("prompt_encoder.point_embed.weight[2/4]", "prompt_encoder.point_embeddings.2.weight"),
        rule("prompt_encoder.point_embed.weight[3/4]", "prompt_encoder.point_embeddings.3.weight"),
        rule("mask_decoder.conv_s0.*", "mask_decoder.conv_s0.*"),
        rule("mask_decoder.conv_s1.*", "mask_decoder.conv_s1.*"),
        rule("mask_decoder.obj_score_token.weight", "mask_decoder.obj_score_token.weight"),
        rule("mask_decoder.pred_obj_score_head.proj_in.*", "mask_decoder.pred_obj_score_head.layers.0.*"),
        rule("mask_decoder.pred_obj_score_head.layers.0.*", "mask_decoder.pred_obj_score_head.layers.1.*"),
        rule("mask_decoder.pred_obj_score_head.proj_out.*", "mask_decoder.pred_obj_score_head.layers.2.*"),
        rule("no_memory_embedding", "no_mem_embed"),
    ],
} }
