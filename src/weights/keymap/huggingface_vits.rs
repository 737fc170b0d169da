//! Names of plain ViTs in Hugging Face's transformers, as its files spell them: queries, keys and values are
//! three tensors where ours are one.

use super::{Convention, Rule};

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

/// The part of a block that ViT, BEiT and DINOv2 share.
macro_rules! encoder {
    ($($more:expr),* $(,)?) => {
        [
            rule("embeddings.cls_token", "backbone.cls_token"),
            rule("embeddings.position_embeddings", "backbone.pos_embed"),
            rule("embeddings.patch_embeddings.projection.*", "backbone.patch_embed.proj.*"),
            rule(
                "encoder.layer.{N}.attention.attention.query.weight",
                "backbone.blocks.{N}.attn.qkv.weight[0/3]",
            ),
            rule(
                "encoder.layer.{N}.attention.attention.key.weight",
                "backbone.blocks.{N}.attn.qkv.weight[1/3]",
            ),
            rule(
                "encoder.layer.{N}.attention.attention.value.weight",
                "backbone.blocks.{N}.attn.qkv.weight[2/3]",
            ),
            rule("encoder.layer.{N}.attention.output.dense.*", "backbone.blocks.{N}.attn.proj.*"),
            rule("layernorm.*", "backbone.norm.*"),
            $($more,)*
        ]
    };
}

/// The biases of all three, and the rest of [`encoder`].
macro_rules! biased {
    ($($more:expr),* $(,)?) => {
        encoder![
            rule(
                "encoder.layer.{N}.attention.attention.query.bias",
                "backbone.blocks.{N}.attn.qkv.bias[0/3]",
            ),
            rule(
                "encoder.layer.{N}.attention.attention.key.bias",
                "backbone.blocks.{N}.attn.qkv.bias[1/3]",
            ),
            rule(
                "encoder.layer.{N}.attention.attention.value.bias",
                "backbone.blocks.{N}.attn.qkv.bias[2/3]",
            ),
            $($more,)*
        ]
    };
}

const VIT_RULES: &[Rule] = &biased![
    rule("encoder.layer.{N}.layernorm_before.*", "backbone.blocks.{N}.norm1.*"),
    rule("encoder.layer.{N}.layernorm_after.*", "backbone.blocks.{N}.norm2.*"),
    rule("encoder.layer.{N}.intermediate.dense.*", "backbone.blocks.{N}.mlp.fc1.*"),
    rule("encoder.layer.{N}.output.dense.*", "backbone.blocks.{N}.mlp.fc2.*"),
];

pub(super) const HUGGINGFACE_VIT: Convention = Convention {
    name: "huggingface_vit",
    title: "Hugging Face transformers' ViTModel and ViTMAE",
    marks: &[
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "encoder.layer.{N}.layernorm_before.weight",
    ],
    rules: VIT_RULES,
    known_parts: &["layernorm.*"],
    // Heads, and MAE's decoder.
    dropped: &["embeddings.mask_token", "pooler.*", "classifier.*", "decoder.*"],
    training_state: &[],
};

const BEIT_RULES: &[Rule] = &encoder![
    rule("encoder.layer.{N}.attention.attention.query.bias", "backbone.blocks.{N}.attn.q_bias"),
    rule("encoder.layer.{N}.attention.attention.value.bias", "backbone.blocks.{N}.attn.v_bias"),
    rule(
        "encoder.layer.{N}.attention.attention.relative_position_bias.relative_position_bias_table",
        "backbone.blocks.{N}.attn.relative_position_bias_table",
    ),
    rule(
        "encoder.relative_position_bias.relative_position_bias_table",
        "backbone.rel_pos_bias.relative_position_bias_table",
    ),
    rule("encoder.layer.{N}.layernorm_before.*", "backbone.blocks.{N}.norm1.*"),
    rule("encoder.layer.{N}.layernorm_after.*", "backbone.blocks.{N}.norm2.*"),
    rule("encoder.layer.{N}.lambda_{N}", "backbone.blocks.{N}.ls{N}.gamma"),
    rule("encoder.layer.{N}.intermediate.dense.*", "backbone.blocks.{N}.mlp.fc1.*"),
    rule("encoder.layer.{N}.output.dense.*", "backbone.blocks.{N}.mlp.fc2.*"),
    rule("pooler.layernorm.*", "backbone.fc_norm.*"),
];

pub(super) const HUGGINGFACE_BEIT: Convention = Convention {
    name: "huggingface_beit",
    title: "Hugging Face transformers' BeitModel",
    marks: &[
        "embeddings.cls_token",
        "encoder.layer.{N}.lambda_1",
        "encoder.layer.{N}.layernorm_before.weight",
    ],
    rules: BEIT_RULES,
    known_parts: &["layernorm.*", "pooler.layernorm.*"],
    dropped: &["embeddings.mask_token", "*relative_position_index", "classifier.*", "lm_head.*"],
    training_state: &[],
};

const DINOV2_RULES: &[Rule] = &biased![
    rule("embeddings.register_tokens", "backbone.reg_token"),
    rule("encoder.layer.{N}.norm{N}.*", "backbone.blocks.{N}.norm{N}.*"),
    rule("encoder.layer.{N}.layer_scale{N}.lambda1", "backbone.blocks.{N}.ls{N}.gamma"),
    rule("encoder.layer.{N}.mlp.fc{N}.*", "backbone.blocks.{N}.mlp.fc{N}.*"),
    rule("encoder.layer.{N}.mlp.weights_in.*", "backbone.blocks.{N}.mlp.w12.*"),
    rule("encoder.layer.{N}.mlp.weights_out.*", "backbone.blocks.{N}.mlp.w3.*"),
];

pub(super) const HUGGINGFACE_DINOV2: Convention = Convention {
    name: "huggingface_dinov2",
    title: "Hugging Face transformers' Dinov2Model, with registers as well",
    marks: &[
        "embeddings.position_embeddings",
        "encoder.layer.{N}.layer_scale1.lambda1",
        "encoder.layer.{N}.norm1.weight",
    ],
    rules: DINOV2_RULES,
    known_parts: &["layernorm.*"],
    dropped: &["embeddings.mask_token", "classifier.*"],
    training_state: &[],
};

/// DINOv3 up to its MLP, whose two forms share names.
macro_rules! dinov3 {
    ($($mlp:expr),* $(,)?) => {
        [
            rule("embeddings.cls_token", "backbone.cls_token"),
            rule("embeddings.register_tokens", "backbone.reg_token"),
            rule("embeddings.patch_embeddings.*", "backbone.patch_embed.proj.*"),
            rule("layer.{N}.norm{N}.*", "backbone.blocks.{N}.norm{N}.*"),
            rule("layer.{N}.attention.q_proj.weight", "backbone.blocks.{N}.attn.qkv.weight[0/3]"),
            rule("layer.{N}.attention.k_proj.weight", "backbone.blocks.{N}.attn.qkv.weight[1/3]"),
            rule("layer.{N}.attention.v_proj.weight", "backbone.blocks.{N}.attn.qkv.weight[2/3]"),
            rule("layer.{N}.attention.q_proj.bias", "backbone.blocks.{N}.attn.q_bias"),
            rule("layer.{N}.attention.v_proj.bias", "backbone.blocks.{N}.attn.v_bias"),
            rule("layer.{N}.attention.o_proj.*", "backbone.blocks.{N}.attn.proj.*"),
            rule("layer.{N}.layer_scale{N}.lambda1", "backbone.blocks.{N}.ls{N}.gamma"),
            rule("norm.*", "backbone.norm.*"),
            $($mlp,)*
        ]
    };
}

pub(super) const HUGGINGFACE_DINOV3_GATED: Convention = Convention {
    name: "huggingface_dinov3_gated",
    title: "Hugging Face transformers' DINOv3ViTModel with a gated MLP",
    marks: &[
        "embeddings.register_tokens",
        "layer.{N}.layer_scale1.lambda1",
        "layer.{N}.mlp.gate_proj.weight",
    ],
    rules: &dinov3![
        rule("layer.{N}.mlp.gate_proj.weight", "backbone.blocks.{N}.mlp.w12.weight[0/2]"),
        rule("layer.{N}.mlp.up_proj.weight", "backbone.blocks.{N}.mlp.w12.weight[1/2]"),
        rule("layer.{N}.mlp.gate_proj.bias", "backbone.blocks.{N}.mlp.w12.bias[0/2]"),
        rule("layer.{N}.mlp.up_proj.bias", "backbone.blocks.{N}.mlp.w12.bias[1/2]"),
        rule("layer.{N}.mlp.down_proj.*", "backbone.blocks.{N}.mlp.w3.*"),
    ],
    known_parts: &["norm.*"],
    dropped: &["embeddings.mask_token"],
    training_state: &[],
};

pub(super) const HUGGINGFACE_DINOV3: Convention = Convention {
    name: "huggingface_dinov3",
    title: "Hugging Face transformers' DINOv3ViTModel",
    marks: &[
        "embeddings.register_tokens",
        "layer.{N}.layer_scale1.lambda1",
        "layer.{N}.mlp.up_proj.weight",
    ],
    rules: &dinov3![
        rule("layer.{N}.mlp.up_proj.*", "backbone.blocks.{N}.mlp.fc1.*"),
        rule("layer.{N}.mlp.down_proj.*", "backbone.blocks.{N}.mlp.fc2.*"),
    ],
    known_parts: &["norm.*"],
    dropped: &["embeddings.mask_token"],
    training_state: &[],
};

/// A tensor of a layer of CLIP's vision tower.
macro_rules! clip {
    ($rest:literal) => {
        concat!("vision_model.encoder.layers.{N}.", $rest)
    };
}

pub(super) const HUGGINGFACE_CLIP: Convention = Convention {
    name: "huggingface_clip",
    title: "Hugging Face transformers' CLIPVisionModel and CLIPModel",
    marks: &[
        "vision_model.embeddings.class_embedding",
        "vision_model.encoder.layers.{N}.layer_norm1.weight",
    ],
    rules: &[
        rule("vision_model.embeddings.class_embedding", "backbone.cls_token"),
        rule("vision_model.embeddings.position_embedding.weight", "backbone.pos_embed"),
        rule("vision_model.embeddings.patch_embedding.*", "backbone.patch_embed.proj.*"),
        rule("vision_model.pre_layrnorm.*", "backbone.norm_pre.*"),
        rule(clip!("layer_norm{N}.*"), "backbone.blocks.{N}.norm{N}.*"),
        rule(clip!("self_attn.q_proj.weight"), "backbone.blocks.{N}.attn.qkv.weight[0/3]"),
        rule(clip!("self_attn.k_proj.weight"), "backbone.blocks.{N}.attn.qkv.weight[1/3]"),
        rule(clip!("self_attn.v_proj.weight"), "backbone.blocks.{N}.attn.qkv.weight[2/3]"),
        rule(clip!("self_attn.q_proj.bias"), "backbone.blocks.{N}.attn.qkv.bias[0/3]"),
        rule(clip!("self_attn.k_proj.bias"), "backbone.blocks.{N}.attn.qkv.bias[1/3]"),
        rule(clip!("self_attn.v_proj.bias"), "backbone.blocks.{N}.attn.qkv.bias[2/3]"),
        rule(clip!("self_attn.out_proj.*"), "backbone.blocks.{N}.attn.proj.*"),
        rule(clip!("mlp.fc{N}.*"), "backbone.blocks.{N}.mlp.fc{N}.*"),
        rule("vision_model.post_layernorm.*", "backbone.norm.*"),
    ],
    known_parts: &["vision_model.post_layernorm.*"],
    // The text tower, and projections to the common space.
    dropped: &[
        "text_model.*",
        "visual_projection.*",
        "text_projection.*",
        "logit_scale",
        "vision_model.embeddings.position_ids",
    ],
    training_state: &[],
};
