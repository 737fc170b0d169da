//! Complete models of PyPI's segment_anything and transformers, read from their own files: image and
//! prompts in, masks out.

use std::path::Path;

use sam_prompt::{
    Frame, Owners, Postprocess,
    mask_decoder::{MaskDecoder, MaskTokens},
    model::{Embedding, Sam},
    prompt_encoder::{Label, PromptEncoder, Prompts},
    transformer::TransformerSizes,
};
use serde_json::from_value;
use sonotune_engine::backbone::BackboneConfig;
use sonotune_weights as weights;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use sonotune_testing_models::{
    reference::{Tensors, read},
    upstream::{config, upstream, vit},
};

/// For logits of about 10: sums in another order, through the backbone and a decoder. Measured: 3e-5 for
/// ViT-B at 1024, 1e-5 for the tiny one.
const LOGITS: f64 = 1e-4;

/// SAM's decoder on ViT-B or the tiny backbone, filled from `file`.
fn sam(file: &Path, convention: &str) -> (VarStore, Sam) {
    let vs = VarStore::new(Device::Cpu);
    let backbone: Box<dyn BackboneConfig> =
        from_value(vit(serde_json::json!({ "out_channels": 256 }))).unwrap();
    let sizes = TransformerSizes {
        dim: 256,
        depth: 2,
        num_heads: 8,
        mlp_dim: 2048,
        double_residual: false,
        dropout: 0.0,
    };
    let sam = Sam {
        backbone: backbone.build(&(vs.root() / "backbone")).unwrap(),
        prompt_encoder: PromptEncoder::new(&(vs.root() / "prompt_encoder"), sizes.dim),
        mask_decoder: MaskDecoder::new(&(vs.root() / "mask_decoder"), sizes),
        image_features: None,
    };
    let report = weights::load(&vs, &config(file.to_owned(), &[])).unwrap();
    assert_eq!(report.recognised.convention.name, convention);
    assert_eq!(report.loaded.len(), vs.variables().len());
    // The second of two tied tensors is not needed; a file may or may not have it.
    assert!(
        report.unused.iter().all(|unused| format!("{unused:?}").contains("shared_embedding")),
        "{:?}",
        report.unused
    );
    (vs, sam)
}

/// The prompts of a case of `scripts/upstream_checkpoints.py`.
fn prompts(io: &Tensors, case: &str) -> Prompts {
    let (points, boxes, mask) = match case {
        "box" => (false, true, false),
        "points" => (true, false, false),
        "mask" => (false, false, true),
        _ => (true, true, true),
    };
    let ints = |values: &[i64]| Tensor::from_slice(values).repeat([2, 1]);
    let mut coords = vec![Tensor::zeros([2, 0, 2], (Kind::Float, Device::Cpu))];
    let mut labels = vec![Tensor::zeros([2, 0], (Kind::Int64, Device::Cpu))];
    if points {
        coords.push(&io["points"] + 0.5);
        // 1 positive, 0 negative.
        labels.push(io["labels"].to_kind(Kind::Int64) + 1);
        if !boxes {
            coords.push(Tensor::zeros([2, 1, 2], (Kind::Float, Device::Cpu)));
            labels.push(ints(&[Label::NotAPoint as i64]));
        }
    }
    if boxes {
        coords.push(&io["boxes"].view([2, 2, 2]) + 0.5);
        labels.push(ints(&[Label::BoxCornerA as i64, Label::BoxCornerB as i64]));
    }
    Prompts {
        coords: Tensor::cat(&coords, 1),
        labels: Tensor::cat(&labels, 1),
        masks: mask.then(|| io["mask_input"].shallow_clone()),
    }
}

fn size(io: &Tensors, name: &str) -> (i64, i64) {
    (io[name].int64_value(&[0]), io[name].int64_value(&[1]))
}

#[track_caller]
fn assert_answers(file: &str, sam: &Sam, embedding: &Embedding, io: &Tensors) {
    let frame = Frame {
        padded: embedding.image_size,
        input: size(io, "input_size"),
        original: size(io, "original_size"),
    };
    let owners = Owners::new(vec![2], &embedding.features);
    for case in ["box", "points", "mask", "all"] {
        let prompts = prompts(io, case);
        for (name, wanted) in [("single", MaskTokens::Single), ("multi", MaskTokens::Multi)] {
            let key = format!("{case}.{name}");
            let masks = no_grad(|| sam.decode(embedding, &owners, &prompts, wanted, false));
            let expected = |what: &str| &io[&format!("{key}.{what}")];
            let largest = |t: Tensor| t.abs().max().double_value(&[]);
            assert_eq!(masks.logits.size(), expected("logits").size(), "{file}: {key}");
            let off = largest(&masks.logits - expected("logits"));
            assert!(off < LOGITS, "{file}: {key}: logits differ by {off:e}");
            let iou_off = largest(&masks.iou - expected("iou"));
            assert!(iou_off < LOGITS, "{file}: {key}: IoU differs by {iou_off:e}");

            let enlarged = expected("enlarged");
            let (n, m, h, w) = masks.logits.size4().unwrap();
            let got = Postprocess::Logits.masks(&masks.logits.view([n * m, 1, h, w]), frame);
            let (_, _, h, w) = enlarged.size4().unwrap();
            let differs = got.view([n, m, h, w]).ne_tensor(&enlarged.gt(0.0));
            let count = |t: Tensor| t.sum(Kind::Int64).int64_value(&[]);
            let sure = differs.logical_and(&enlarged.abs().gt(LOGITS));
            assert_eq!(count(sure), 0, "{file}: {key}: pixels off zero differ");
            println!(
                "{file}: {key}: logits up to {:.1} differ by {off:.1e}; {} pixels near zero differ",
                largest(expected("logits").shallow_clone()),
                count(differs)
            );
        }
    }
}

fn assert_parity(io: &str, files: &[&str], convention: &str) {
    let Some(folder) = upstream() else { return };
    let io = read(&folder.join(io));
    for file in files {
        let (_vs, sam) = sam(&folder.join(file), convention);
        let images = &io["images"];
        let (_, _, height, width) = images.size4().unwrap();
        let features = no_grad(|| sam.backbone.forward(images, false)).unwrap().remove(0);
        assert_answers(file, &sam, &sam.embedding(vec![features], (height, width)).unwrap(), &io);
    }
}

#[test]
fn parity_of_masks_with_segment_anything() {
    assert_parity("sam.io.safetensors", &["sam.pth"], "segment_anything");
}

#[test]
fn parity_of_masks_with_hugging_face() {
    // The second file holds the tied positional encoding twice, like those on the Hub.
    let files = ["huggingface_sam/model.safetensors", "huggingface_sam/tied_twice.safetensors"];
    assert_parity("huggingface_sam.io.safetensors", &files, "huggingface_sam");
}
