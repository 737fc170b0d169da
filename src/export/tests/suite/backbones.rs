//! Every backbone is exported, under a classifier and, where its features are maps, under SAM's decoder.

use crate::models::{CLASSIFICATION, SAM, exported, tiny, trained};

const RESNET: &str = "type = \"resnet\"\ndepth = 18\nbase_channels = 8\n";

const TINY_VIT: &str = "type = \"tiny_vit\"\nembed_dims = [8, 16, 16, 32]\ndepths = [1, 1, 1, 1]\n\
    num_heads = [1, 2, 2, 4]\nwindow_sizes = [7, 7, 7, 7]\npatch_size = 1\n";

const HIERA: &str = "type = \"hiera\"\nembed_dim = 16\nnum_heads = 1\nstages = [1, 1, 2, 1]\n\
    global_att_blocks = [3]\nwindow_spec = [4, 2, 6, 3]\nwindow_pos_embed_bkg_spatial_size = [3, 3]\n";

const VIT: &str = "type = \"vit\"\nembed_dim = 32\ndepth = 3\nnum_heads = 2\nmlp_dim = 48\npatch_size = 8\n\
    image_size = 32\n";

fn exports(task: &str, backbone: &str, more: &str) {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny(folder.path(), task).without("backbone");
    let tiny = tiny.with(&format!("[backbone]\n{backbone}")).with(more);
    let record = exported(&trained(&tiny), &folder.path().join("out"));
    assert!(record.files.len() >= 2);
}

#[test]
fn a_resnet() {
    exports(CLASSIFICATION, RESNET, "");
}

#[test]
fn a_tiny_vit() {
    exports(CLASSIFICATION, TINY_VIT, "preprocess.pad_order = \"pad_then_normalize\"");
    exports(SAM, &format!("{TINY_VIT}out_channels = 32"), "preprocess.normalize = \"min_max\"");
}

#[test]
fn a_hiera_with_the_decoder_of_sam2() {
    exports(CLASSIFICATION, HIERA, "");
    let task = SAM.replace("\"segment_anything\"", "\"sam2\"");
    let task = task.replace("multimask", "postprocess = \"direct\"\nmultimask");
    let more = "preprocess.size_rule = \"stretch\"";
    exports(&task, &format!("{HIERA}out_channels = 32\nscalp = 1"), more);
}

#[test]
fn plain_vits_of_every_kind() {
    for variant in [
        "variant = \"dinov2\"\nnum_register_tokens = 2\nlayer_scale = 0.5\n",
        "variant = \"dinov3\"\nqkv_bias = \"query_value\"\nmlp = \"swiglu\"\nlayer_scale = 0.5\n",
        "variant = \"beit\"\n",
    ] {
        exports(CLASSIFICATION, &format!("{VIT}{variant}"), "");
    }
}

#[test]
fn low_rank_updates() {
    let folder = tempfile::tempdir().unwrap();
    let lora = "backbone.lora = { rank = 2, targets = [\"q\", \"v\"] }\nbackbone.freeze = \"all\"";
    let tiny = tiny(folder.path(), CLASSIFICATION).with(lora);
    exported(&trained(&tiny), &folder.path().join("out"));
}
