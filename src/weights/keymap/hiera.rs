//! Names of SAM 2: Meta's own and those of transformers' `Sam2Model`. Ours are Meta's, with `backbone.` for
//! `image_encoder.`; the rows of prompt encoder and mask decoder come with the promptable task.

use super::{Convention, Rule};

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

pub(super) const SAM2: Convention = Convention {
    name: "sam2",
    title: "Meta's SAM 2 and 2.1; MedSAM2",
    marks: &["image_encoder.trunk.blocks.{N}.norm1.weight"],
    rules: &[
        rule("image_encoder.trunk.*", "backbone.trunk.*"),
        rule("image_encoder.neck.convs.{N}.conv.*", "backbone.neck.convs.{N}.conv.*"),
    ],
    known_parts: &[
        "image_encoder.neck.*",
        "sam_prompt_encoder.*",
        "sam_mask_decoder.*",
        "no_mem_embed",
        // What a video needs beside its first image.
        "memory_attention.*",
        "memory_encoder.*",
        "maskmem_tpos_enc",
        "mask_downsample.*",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "no_obj_embed_spatial",
        "obj_ptr_proj.*",
        "obj_ptr_tpos_proj.*",
    ],
    dropped: &[],
    training_state: &[],
};

pub(super) const HUGGINGFACE_SAM2: Convention = Convention {
    name: "huggingface_sam2",
    title: "Hugging Face transformers' Sam2Model and Sam2VideoModel",
    marks: &["vision_encoder.backbone.blocks.{N}.layer_norm1.weight"],
    rules: &[
        rule("vision_encoder.backbone.pos_embed", "backbone.trunk.pos_embed"),
        rule("vision_encoder.backbone.pos_embed_window", "backbone.trunk.pos_embed_window"),
        rule(
            "vision_encoder.backbone.patch_embed.projection.*",
            "backbone.trunk.patch_embed.proj.*",
        ),
        rule(
            "vision_encoder.backbone.blocks.{N}.layer_norm{N}.*",
            "backbone.trunk.blocks.{N}.norm{N}.*",
        ),
        rule("vision_encoder.backbone.blocks.{N}.attn.*", "backbone.trunk.blocks.{N}.attn.*"),
        rule("vision_encoder.backbone.blocks.{N}.proj.*", "backbone.trunk.blocks.{N}.proj.*"),
        rule(
            "vision_encoder.backbone.blocks.{N}.mlp.proj_in.*",
            "backbone.trunk.blocks.{N}.mlp.layers.0.*",
        ),
        rule(
            "vision_encoder.backbone.blocks.{N}.mlp.proj_out.*",
            "backbone.trunk.blocks.{N}.mlp.layers.1.*",
        ),
        rule("vision_encoder.neck.convs.{N}.*", "backbone.neck.convs.{N}.conv.*"),
    ],
    known_parts: &[
        "vision_encoder.neck.*",
        "prompt_encoder.*",
        "mask_decoder.*",
        "shared_image_embedding.*",
        "no_memory_embedding",
        "memory_*",
        "mask_downsample.*",
        "no_memory_positional_encoding",
        "no_object_pointer",
        "object_pointer_proj.*",
        "occlusion_spatial_embedding_parameter",
        "temporal_positional_encoding_projection_layer.*",
    ],
    dropped: &[],
    training_state: &[],
};
