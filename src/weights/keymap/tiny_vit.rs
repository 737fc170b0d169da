//! Names of TinyViT. Ours are MobileSAM's, which are those of TinyViT's own code, below `backbone.`.

use super::{Convention, Rule};

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

/// Buffers that follow from sizes, and counters that nothing needs.
macro_rules! dropped {
    ($($more:literal),*) => {
        &["*.num_batches_tracked", "*.attention_bias_idxs", $($more),*]
    };
}

/// The encoder beside prompt encoder and mask decoder.
pub(super) const MOBILE_SAM: Convention = Convention {
    name: "mobile_sam",
    title: "MobileSAM; LiteMedSAM",
    marks: &["image_encoder.patch_embed.seq.{N}.c.weight", "image_encoder.layers.{N}.blocks.{N}.*"],
    rules: &[rule("image_encoder.*", "backbone.*")],
    known_parts: &["image_encoder.neck.*", "prompt_encoder.*", "mask_decoder.*"],
    // MobileSAM's encoder has kept TinyViT's classifier, which it does not use.
    dropped: dropped!(
        "image_encoder.norm_head.*",
        "image_encoder.head.*",
        "pixel_mean",
        "pixel_std"
    ),
    training_state: &[],
};

/// TinyViT's own files, and an encoder saved on its own.
pub(super) const TINY_VIT: Convention = Convention {
    name: "tiny_vit",
    title: "Microsoft's TinyViT; the image encoder of MobileSAM or LiteMedSAM alone",
    marks: &["patch_embed.seq.{N}.c.weight", "layers.{N}.blocks.{N}.*"],
    rules: &[
        rule("patch_embed.seq.*", "backbone.patch_embed.seq.*"),
        rule("layers.{N}.*", "backbone.layers.{N}.*"),
        rule("neck.*", "backbone.neck.*"),
    ],
    known_parts: &["neck.*"],
    // The classifier normalises the mean of the tokens; ours does not.
    dropped: dropped!("norm_head.*", "head.*"),
    training_state: &[],
};

/// A merging, which timm has at the start of the stage after it.
macro_rules! merging {
    ($theirs:literal, $ours:literal) => {
        [
            rule(
                concat!("stages.", $theirs, ".downsample.conv{N}.conv.*"),
                concat!("backbone.layers.", $ours, ".downsample.conv{N}.c.*"),
            ),
            rule(
                concat!("stages.", $theirs, ".downsample.conv{N}.bn.*"),
                concat!("backbone.layers.", $ours, ".downsample.conv{N}.bn.*"),
            ),
        ]
    };
}

const MERGING: [[Rule; 2]; 3] = [merging!("1", "0"), merging!("2", "1"), merging!("3", "2")];

/// timm's models.
pub(super) const TIMM: Convention = Convention {
    name: "timm_tiny_vit",
    title: "timm's TinyViT",
    marks: &["patch_embed.conv1.conv.weight", "stages.{N}.blocks.{N}.local_conv.conv.weight"],
    rules: &[
        rule("patch_embed.conv1.conv.*", "backbone.patch_embed.seq.0.c.*"),
        rule("patch_embed.conv1.bn.*", "backbone.patch_embed.seq.0.bn.*"),
        rule("patch_embed.conv2.conv.*", "backbone.patch_embed.seq.2.c.*"),
        rule("patch_embed.conv2.bn.*", "backbone.patch_embed.seq.2.bn.*"),
        MERGING[0][0],
        MERGING[0][1],
        MERGING[1][0],
        MERGING[1][1],
        MERGING[2][0],
        MERGING[2][1],
        rule("stages.{N}.blocks.{N}.conv{N}.conv.*", "backbone.layers.{N}.blocks.{N}.conv{N}.c.*"),
        rule("stages.{N}.blocks.{N}.conv{N}.bn.*", "backbone.layers.{N}.blocks.{N}.conv{N}.bn.*"),
        rule(
            "stages.{N}.blocks.{N}.local_conv.conv.*",
            "backbone.layers.{N}.blocks.{N}.local_conv.c.*",
        ),
        rule(
            "stages.{N}.blocks.{N}.local_conv.bn.*",
            "backbone.layers.{N}.blocks.{N}.local_conv.bn.*",
        ),
        rule("stages.{N}.blocks.{N}.attn.*", "backbone.layers.{N}.blocks.{N}.attn.*"),
        rule("stages.{N}.blocks.{N}.mlp.*", "backbone.layers.{N}.blocks.{N}.mlp.*"),
    ],
    known_parts: &[],
    // As above.
    dropped: dropped!("head.*"),
    training_state: &[],
};
