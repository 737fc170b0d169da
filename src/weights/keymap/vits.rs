//! Names of plain ViTs. Ours are timm's; each other project has its own.

use super::{Convention, Rule};

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

/// What timm's `VisionTransformer` is called below a prefix.
macro_rules! timm {
    ($prefix:literal) => {
        [
            rule(concat!($prefix, "cls_token"), "backbone.cls_token"),
            rule(concat!($prefix, "reg_token"), "backbone.reg_token"),
            rule(concat!($prefix, "pos_embed"), "backbone.pos_embed"),
            rule(concat!($prefix, "patch_embed.proj.*"), "backbone.patch_embed.proj.*"),
            rule(concat!($prefix, "norm_pre.*"), "backbone.norm_pre.*"),
            rule(concat!($prefix, "blocks.{N}.norm{N}.*"), "backbone.blocks.{N}.norm{N}.*"),
            rule(
                concat!($prefix, "blocks.{N}.attn.qkv.weight"),
                "backbone.blocks.{N}.attn.qkv.weight",
            ),
            rule(concat!($prefix, "blocks.{N}.attn.qkv.bias"), "backbone.blocks.{N}.attn.qkv.bias"),
            rule(concat!($prefix, "blocks.{N}.attn.proj.*"), "backbone.blocks.{N}.attn.proj.*"),
            rule(concat!($prefix, "blocks.{N}.ls{N}.gamma"), "backbone.blocks.{N}.ls{N}.gamma"),
            rule(concat!($prefix, "blocks.{N}.mlp.fc{N}.*"), "backbone.blocks.{N}.mlp.fc{N}.*"),
            rule(concat!($prefix, "norm.*"), "backbone.norm.*"),
            rule(concat!($prefix, "fc_norm.*"), "backbone.fc_norm.*"),
            rule(concat!($prefix, "head.weight"), "head.fc.weight"),
            rule(concat!($prefix, "head.bias"), "head.fc.bias"),
        ]
    };
}

/// What is after the last block, and not every model has.
const ENDS: &[&str] = &["norm.*", "fc_norm.*", "head.*"];

pub(super) const TIMM_VIT: Convention = Convention {
    name: "timm_vit",
    title: "timm's ViT; MAE, USF-MAE, UltraFedFM, TinyUSFM",
    marks: &["patch_embed.proj.weight", "blocks.{N}.attn.qkv.weight", "blocks.{N}.mlp.fc1.weight"],
    rules: &timm!(""),
    known_parts: ENDS,
    // MAE's decoder.
    dropped: &["mask_token", "decoder_*"],
    training_state: &[],
};

pub(super) const OPEN_CLIP_TIMM: Convention = Convention {
    name: "open_clip_timm",
    title: "open_clip with timm's ViT; BiomedCLIP",
    marks: &["visual.trunk.patch_embed.proj.weight", "visual.trunk.blocks.{N}.mlp.fc1.weight"],
    rules: &timm!("visual.trunk."),
    known_parts: &["visual.trunk.norm.*", "visual.trunk.fc_norm.*", "visual.trunk.head.*"],
    // Projections to the common space, and the text tower.
    dropped: &["visual.head.*", "text.*", "logit_scale", "logit_bias"],
    training_state: &[],
};

/// Meta's DINOv2, with all blocks in one list, or in the chunks that its training with FSDP makes, where
/// a block keeps its number.
macro_rules! dinov2 {
    ($($chunk:literal),*) => {
        [
            rule("cls_token", "backbone.cls_token"),
            rule("register_tokens", "backbone.reg_token"),
            rule("pos_embed", "backbone.pos_embed"),
            rule("patch_embed.proj.*", "backbone.patch_embed.proj.*"),
            rule("norm.*", "backbone.norm.*"),
            rule("head.weight", "head.fc.weight"),
            rule("head.bias", "head.fc.bias"),
            $(
                rule(concat!("blocks.", $chunk, "{N}.norm{N}.*"), "backbone.blocks.{N}.norm{N}.*"),
                rule(concat!("blocks.", $chunk, "{N}.attn.qkv.weight"), "backbone.blocks.{N}.attn.qkv.weight"),
                rule(concat!("blocks.", $chunk, "{N}.attn.qkv.bias"), "backbone.blocks.{N}.attn.qkv.bias"),
                rule(concat!("blocks.", $chunk, "{N}.attn.proj.*"), "backbone.blocks.{N}.attn.proj.*"),
                rule(concat!("blocks.", $chunk, "{N}.ls{N}.gamma"), "backbone.blocks.{N}.ls{N}.gamma"),
                rule(concat!("blocks.", $chunk, "{N}.mlp.fc{N}.*"), "backbone.blocks.{N}.mlp.fc{N}.*"),
                rule(concat!("blocks.", $chunk, "{N}.mlp.w12.*"), "backbone.blocks.{N}.mlp.w12.*"),
                rule(concat!("blocks.", $chunk, "{N}.mlp.w3.*"), "backbone.blocks.{N}.mlp.w3.*"),
            )*
        ]
    };
}

pub(super) const DINOV2: Convention = Convention {
    name: "dinov2",
    title: "Meta's DINOv2",
    marks: &["mask_token", "pos_embed", "blocks.{N}.ls1.gamma"],
    rules: &dinov2![""],
    known_parts: ENDS,
    dropped: &["mask_token"],
    training_state: &[],
};

pub(super) const DINOV2_CHUNKED: Convention = Convention {
    name: "dinov2_chunked",
    title: "a checkpoint of DINOv2's training, its blocks in chunks",
    marks: &["mask_token", "pos_embed", "blocks.{N}.{N}.ls1.gamma"],
    rules: &dinov2!["0.", "1.", "2.", "3.", "4.", "5.", "6.", "7."],
    known_parts: ENDS,
    dropped: &["mask_token"],
    training_state: &[],
};

pub(super) const DINOV3: Convention = Convention {
    name: "dinov3",
    title: "Meta's DINOv3",
    marks: &["storage_tokens", "blocks.{N}.attn.qkv.weight", "blocks.{N}.ls1.gamma"],
    rules: &[
        rule("cls_token", "backbone.cls_token"),
        rule("storage_tokens", "backbone.reg_token"),
        rule("patch_embed.proj.*", "backbone.patch_embed.proj.*"),
        rule("blocks.{N}.norm{N}.*", "backbone.blocks.{N}.norm{N}.*"),
        rule("blocks.{N}.attn.qkv.*", "backbone.blocks.{N}.attn.qkv.*"),
        rule("blocks.{N}.attn.proj.*", "backbone.blocks.{N}.attn.proj.*"),
        rule("blocks.{N}.ls{N}.gamma", "backbone.blocks.{N}.ls{N}.gamma"),
        rule("blocks.{N}.mlp.fc{N}.*", "backbone.blocks.{N}.mlp.fc{N}.*"),
        rule("blocks.{N}.mlp.w1.weight", "backbone.blocks.{N}.mlp.w12.weight[0/2]"),
        rule("blocks.{N}.mlp.w2.weight", "backbone.blocks.{N}.mlp.w12.weight[1/2]"),
        rule("blocks.{N}.mlp.w1.bias", "backbone.blocks.{N}.mlp.w12.bias[0/2]"),
        rule("blocks.{N}.mlp.w2.bias", "backbone.blocks.{N}.mlp.w12.bias[1/2]"),
        rule("blocks.{N}.mlp.w3.*", "backbone.blocks.{N}.mlp.w3.*"),
        rule("norm.*", "backbone.norm.*"),
    ],
    known_parts: ENDS,
    // The periods follow from the base; the second norm is that of pretraining's small crops.
    dropped: &["mask_token", "rope_embed.periods", "local_cls_norm.*"],
    training_state: &[],
};

/// timm's DINOv3 up to its MLP, whose two forms share the name `mlp.fc2`.
macro_rules! timm_dinov3 {
    ($($mlp:expr),*) => {
        [
            rule("cls_token", "backbone.cls_token"),
            rule("reg_token", "backbone.reg_token"),
            rule("patch_embed.proj.*", "backbone.patch_embed.proj.*"),
            rule("blocks.{N}.norm{N}.*", "backbone.blocks.{N}.norm{N}.*"),
            rule("blocks.{N}.attn.qkv.weight", "backbone.blocks.{N}.attn.qkv.weight"),
            rule("blocks.{N}.attn.q_bias", "backbone.blocks.{N}.attn.q_bias"),
            rule("blocks.{N}.attn.v_bias", "backbone.blocks.{N}.attn.v_bias"),
            rule("blocks.{N}.attn.proj.*", "backbone.blocks.{N}.attn.proj.*"),
            rule("blocks.{N}.gamma_{N}", "backbone.blocks.{N}.ls{N}.gamma"),
            $($mlp,)*
            rule("norm.*", "backbone.norm.*"),
            rule("fc_norm.*", "backbone.fc_norm.*"),
            rule("head.weight", "head.fc.weight"),
            rule("head.bias", "head.fc.bias"),
        ]
    };
}

pub(super) const TIMM_DINOV3_PLUS: Convention = Convention {
    name: "timm_dinov3_plus",
    title: "timm's DINOv3 with SwiGLU",
    marks: &["reg_token", "blocks.{N}.gamma_1", "blocks.{N}.mlp.fc1_g.weight"],
    rules: &timm_dinov3![
        rule("blocks.{N}.mlp.fc1_g.weight", "backbone.blocks.{N}.mlp.w12.weight[0/2]"),
        rule("blocks.{N}.mlp.fc1_x.weight", "backbone.blocks.{N}.mlp.w12.weight[1/2]"),
        rule("blocks.{N}.mlp.fc1_g.bias", "backbone.blocks.{N}.mlp.w12.bias[0/2]"),
        rule("blocks.{N}.mlp.fc1_x.bias", "backbone.blocks.{N}.mlp.w12.bias[1/2]"),
        rule("blocks.{N}.mlp.fc2.*", "backbone.blocks.{N}.mlp.w3.*")
    ],
    known_parts: ENDS,
    dropped: &[],
    training_state: &[],
};

pub(super) const TIMM_DINOV3: Convention = Convention {
    name: "timm_dinov3",
    title: "timm's DINOv3",
    marks: &["reg_token", "blocks.{N}.gamma_1", "blocks.{N}.mlp.fc1.weight"],
    rules: &timm_dinov3![rule("blocks.{N}.mlp.fc{N}.*", "backbone.blocks.{N}.mlp.fc{N}.*")],
    known_parts: ENDS,
    dropped: &[],
    training_state: &[],
};

const BEIT_RULES: [Rule; 17] = [
    rule("cls_token", "backbone.cls_token"),
    rule("pos_embed", "backbone.pos_embed"),
    rule("patch_embed.proj.*", "backbone.patch_embed.proj.*"),
    rule(
        "rel_pos_bias.relative_position_bias_table",
        "backbone.rel_pos_bias.relative_position_bias_table",
    ),
    rule("blocks.{N}.norm{N}.*", "backbone.blocks.{N}.norm{N}.*"),
    rule("blocks.{N}.attn.qkv.weight", "backbone.blocks.{N}.attn.qkv.weight"),
    rule("blocks.{N}.attn.q_bias", "backbone.blocks.{N}.attn.q_bias"),
    rule("blocks.{N}.attn.v_bias", "backbone.blocks.{N}.attn.v_bias"),
    rule(
        "blocks.{N}.attn.relative_position_bias_table",
        "backbone.blocks.{N}.attn.relative_position_bias_table",
    ),
    rule("blocks.{N}.attn.proj.*", "backbone.blocks.{N}.attn.proj.*"),
    rule("blocks.{N}.gamma_1", "backbone.blocks.{N}.ls1.gamma"),
    rule("blocks.{N}.gamma_2", "backbone.blocks.{N}.ls2.gamma"),
    rule("blocks.{N}.mlp.fc{N}.*", "backbone.blocks.{N}.mlp.fc{N}.*"),
    rule("norm.*", "backbone.norm.*"),
    rule("fc_norm.*", "backbone.fc_norm.*"),
    rule("head.weight", "head.fc.weight"),
    rule("head.bias", "head.fc.bias"),
];

/// Indices follow from the grid; the rest belongs to pretraining.
const BEIT_DROPPED: &[&str] = &["mask_token", "*relative_position_index", "lm_head.*", "decoder.*"];

pub(super) const BEIT: Convention = Convention {
    name: "beit",
    title: "BEiT, in timm as well; USFM fine-tuned",
    marks: &["cls_token", "blocks.{N}.attn.relative_position_bias_table", "blocks.{N}.attn.q_bias"],
    rules: &BEIT_RULES,
    known_parts: ENDS,
    dropped: BEIT_DROPPED,
    training_state: &[],
};

pub(super) const BEIT_SHARED: Convention = Convention {
    name: "beit_shared",
    title: "BEiT with one table of relative positions, as it is pretrained; USFM",
    marks: &["cls_token", "rel_pos_bias.relative_position_bias_table", "blocks.{N}.attn.q_bias"],
    rules: &BEIT_RULES,
    known_parts: ENDS,
    dropped: BEIT_DROPPED,
    training_state: &[],
};

pub(super) const OPEN_CLIP: Convention = Convention {
    name: "open_clip",
    title: "open_clip's and OpenAI's CLIP; FetalCLIP",
    marks: &["visual.conv1.weight", "visual.transformer.resblocks.{N}.ln_1.weight"],
    rules: &[
        rule("visual.class_embedding", "backbone.cls_token"),
        rule("visual.positional_embedding", "backbone.pos_embed"),
        rule("visual.conv1.weight", "backbone.patch_embed.proj.weight"),
        rule("visual.ln_pre.*", "backbone.norm_pre.*"),
        rule("visual.transformer.resblocks.{N}.ln_{N}.*", "backbone.blocks.{N}.norm{N}.*"),
        rule(
            "visual.transformer.resblocks.{N}.attn.in_proj_weight",
            "backbone.blocks.{N}.attn.qkv.weight",
        ),
        rule(
            "visual.transformer.resblocks.{N}.attn.in_proj_bias",
            "backbone.blocks.{N}.attn.qkv.bias",
        ),
        rule("visual.transformer.resblocks.{N}.attn.out_proj.*", "backbone.blocks.{N}.attn.proj.*"),
        rule("visual.transformer.resblocks.{N}.ls_{N}.gamma", "backbone.blocks.{N}.ls{N}.gamma"),
        rule("visual.transformer.resblocks.{N}.mlp.c_fc.*", "backbone.blocks.{N}.mlp.fc1.*"),
        rule("visual.transformer.resblocks.{N}.mlp.c_proj.*", "backbone.blocks.{N}.mlp.fc2.*"),
        rule("visual.ln_post.*", "backbone.norm.*"),
    ],
    known_parts: &["visual.ln_post.*", "visual.proj"],
    // The text tower.
    dropped: &[
        "transformer.*",
        "text.*",
        "token_embedding.weight",
        "positional_embedding",
        "ln_final.*",
        "text_projection*",
        "logit_scale",
        "logit_bias",
        "attn_mask",
        "input_resolution",
        "context_length",
        "vocab_size",
    ],
    training_state: &[],
};

/// Tensors that a convention keeps without the leading axes of one that ours have: a token of `[C]` is ours of
/// `[1, 1, C]`.
pub(super) const FLAT: [(&str, &str); 4] = [
    ("open_clip", "visual.class_embedding"),
    ("open_clip", "visual.positional_embedding"),
    ("huggingface_clip", "vision_model.embeddings.class_embedding"),
    ("huggingface_clip", "vision_model.embeddings.position_embedding.weight"),
];
