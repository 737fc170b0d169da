//! SAM 2.1's prompts and masks against facebookresearch/sam2, from a file under its own names.

use std::path::Path;

use sam_prompt::{
    Owners,
    mask_decoder::{MaskDecoder, MaskTokens},
    model::{Embedding, Sam},
    prompt_encoder::{Label, PromptEncoder, Prompts},
    sam2::ImageFeatures,
    transformer::TransformerSizes,
};
use serde_json::{from_value, json};
use sonotune_dataset::{ImagePrompts, ObjectPrompt, PointPrompt, Record};
use sonotune_engine::{loader::prepare_batch, task::TaskConfig};
use sonotune_weights as weights;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use sonotune_testing::fixture;
use sonotune_testing_models::{
    model::{categories, merged, plan},
    objects::record,
    reference::{Reference, Tensors, assert_close},
};

/// fp32 through backbone and decoder, relative to the largest logit.
const DECODER: f64 = 1e-4;

fn sam(reference: &Reference, file: &Path, convention: &str) -> (VarStore, Sam) {
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let decoder = &reference.json["config"]["task"]["decoder"];
    let size = |key: &str| decoder[key].as_i64().unwrap();
    let dim = reference.json["config"]["backbone"]["out_channels"].as_i64().unwrap();
    let sizes = TransformerSizes {
        dim,
        depth: 2,
        num_heads: size("num_heads"),
        mlp_dim: size("mlp_dim"),
        double_residual: false,
        dropout: 0.0,
    };
    let sam = Sam {
        backbone: reference.config(json!({})).build(&(&root / "backbone")).unwrap(),
        prompt_encoder: PromptEncoder::new(&(&root / "prompt_encoder"), dim),
        mask_decoder: MaskDecoder::sam2(&(&root / "mask_decoder"), sizes),
        image_features: Some(ImageFeatures::new(&root, dim)),
    };
    let source = from_value(json!({ "path": file })).unwrap();
    let report = weights::load(&vs, &source).unwrap();
    assert_eq!(report.recognised.convention.name, convention);
    assert_eq!(report.loaded.len(), vs.variables().len());
    (vs, sam)
}

fn embed(sam: &Sam, images: &Tensor) -> Embedding {
    let (_, _, h, w) = images.size4().unwrap();
    let levels = no_grad(|| sam.backbone.forward(images, false)).unwrap();
    no_grad(|| sam.embedding(levels, (h, w))).unwrap()
}

/// The prompts of a case: boxes, then points, then the filler that SAM 2 always adds.
fn prompts(io: &Tensors, case: &str) -> Prompts {
    let (points, boxes, mask) = match case {
        "box" => (false, true, false),
        "points" => (true, false, false),
        "mask" => (false, false, true),
        _ => (true, true, true),
    };
    let rows =
        |labels: [Label; 2]| Tensor::from_slice(&labels.map(|label| label as i64)).repeat([3, 1]);
    let mut coords = vec![Tensor::zeros([3, 0, 2], (Kind::Float, Device::Cpu))];
    let mut labels = vec![Tensor::zeros([3, 0], (Kind::Int64, Device::Cpu))];
    if boxes {
        coords.push(&io["boxes"] + 0.5);
        labels.push(rows([Label::BoxCornerA, Label::BoxCornerB]));
    }
    if points {
        coords.push(&io["points"] + 0.5);
        // 1 positive, 0 negative.
        labels.push(io["point_labels"].to_kind(Kind::Int64) + 1);
    }
    if points || boxes {
        coords.push(Tensor::zeros([3, 1, 2], (Kind::Float, Device::Cpu)));
        labels.push(rows([Label::NotAPoint; 2]).narrow(1, 0, 1));
    }
    Prompts {
        coords: Tensor::cat(&coords, 1),
        labels: Tensor::cat(&labels, 1),
        masks: mask.then(|| io["mask_input"].shallow_clone()),
    }
}

#[test]
fn parity_of_masks_iou_and_object_scores() {
    let reference = Reference::read(&fixture("sam2"));
    let io = &reference.io;
    let (_vs, sam) = sam(&reference, &fixture("sam2/weights.safetensors"), "sam2");
    let embedding = embed(&sam, &io["images"]);
    assert_close("embedding", &embedding.features, &io["image_embed"], DECODER);
    let owners = Owners::new(vec![3], &embedding.features);
    for case in ["box", "points", "mask", "all"] {
        let prompts = prompts(io, case);
        let decode =
            |wanted, train| no_grad(|| sam.decode(&embedding, &owners, &prompts, wanted, train));
        for (name, wanted) in [("single", MaskTokens::Single), ("multi", MaskTokens::Multi)] {
            let masks = decode(wanted, false);
            let score = masks.object_score.as_ref().unwrap();
            for (what, got) in
                [("logits", &masks.logits), ("iou", &masks.iou), ("object_score", score)]
            {
                let key = format!("{case}.{name}.{what}");
                assert_close(&key, got, &io[&key], DECODER);
            }
        }
        let key = format!("{case}.train.logits");
        assert_close(&key, &decode(MaskTokens::Single, true).logits, &io[&key], DECODER);
    }
    // The fixture has both outcomes of the choice between the single mask and the three.
    let differs = |case: &str| {
        let pair = ["single", "train"].map(|kind| &io[&format!("{case}.{kind}.logits")]);
        !pair[0].equal(pair[1])
    };
    assert!(differs("points") && !differs("mask"));
}

#[test]
fn objects_of_several_images_get_the_features_of_their_own() {
    let reference = Reference::read(&fixture("sam2"));
    let io = &reference.io;
    let (_vs, sam) = sam(&reference, &fixture("sam2/weights.safetensors"), "sam2");
    let other = io["images"].flip([3]);
    let both = embed(&sam, &Tensor::cat(&[&io["images"], &other], 0));
    let prompts = prompts(io, "box");
    let decode = |embedding: &Embedding, counts: Vec<i64>| {
        let owners = Owners::new(counts, &embedding.features);
        no_grad(|| sam.decode(embedding, &owners, &prompts, MaskTokens::Multi, false)).logits
    };
    let got = decode(&both, vec![1, 2]);
    for (image, first, count) in [(0, 0, 1), (1, 1, 2)] {
        let alone = decode(&both.of_image(image), vec![3]);
        let part = |x: &Tensor| x.narrow(0, first, count);
        assert_close("masks", &part(&got), &part(&alone), DECODER);
    }
}

/// Meta's names to transformers' and back: every tensor that a single image needs survives, and the model is
/// the same.
#[test]
fn both_namings_convert_into_each_other() {
    let reference = Reference::read(&fixture("sam2"));
    let folder = tempfile::tempdir().unwrap();
    let convert = |from: &Path, name: &str, to: &str| {
        let out = folder.path().join(name);
        let options = weights::ConvertOptions { to: Some(to.to_owned()), ..Default::default() };
        weights::convert(from, &out, &options).unwrap();
        out
    };
    let original = fixture("sam2/weights.safetensors");
    let theirs = convert(&original, "model.safetensors", "huggingface_sam2");
    let names = weights::open(&theirs).unwrap();
    let point = names.entries().iter().find(|e| e.name == "prompt_encoder.point_embed.weight");
    assert_eq!(point.unwrap().shape, [4, 16]);
    let back = convert(&theirs, "sam2.pth", "sam2");
    let images = &reference.io["images"];
    let embedding = |file: &Path, convention: &str| {
        let (_vs, sam) = sam(&reference, file, convention);
        embed(&sam, images).features
    };
    let expected = embedding(&original, "sam2");
    assert!(embedding(&theirs, "huggingface_sam2").equal(&expected));
    assert!(embedding(&back, "sam2").equal(&expected));
}

/// From an image file and prompts in its pixels to masks of its size, as `SAM2ImagePredictor` answers.
#[test]
fn parity_of_answers_with_the_image_predictor() {
    let reference = Reference::read(&fixture("sam2"));
    let io = &reference.io;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    let image = &io["file.image"];
    tch::vision::image::save(&image.permute([2, 0, 1]), &path).unwrap();
    let point = |x, y, positive| PointPrompt { x, y, positive };
    let bbox = Some([5.0, 8.0, 40.0, 31.0]);
    let prompts = [
        ("click", vec![point(20.0, 11.0, true)], None),
        ("box", vec![], bbox),
        ("both", vec![point(20.0, 11.0, true), point(50.0, 35.0, false)], bbox),
    ];
    let objects = prompts.iter().map(|(_, points, bbox)| ObjectPrompt {
        points: points.clone(),
        bbox: *bbox,
        ..ObjectPrompt::default()
    });
    let record = Record {
        prompts: Some(ImagePrompts::Objects(objects.collect())),
        ..record(folder.path(), "unused.png", 64, vec![])
    };
    let record = Record { path, size: None, ..record };
    for multimask in ["always", "ambiguous"] {
        let vs = VarStore::new(Device::Cpu);
        let backbone = reference.config(json!({})).build(&(vs.root() / "backbone")).unwrap();
        let spec = backbone.spec().input.clone();
        let table = json!({
            "convention": "sam2",
            "evaluation": { "multimask": multimask, "postprocess": "direct" },
        });
        let table = merged(reference.json["config"]["task"].clone(), table);
        let config: Box<dyn TaskConfig> = from_value(table).unwrap();
        let task = config.build(&vs.root(), backbone, &categories(&["object"])).unwrap();
        let file = fixture("sam2/weights.safetensors");
        weights::load(&vs, &from_value(json!({ "path": file })).unwrap()).unwrap();
        let preprocess =
            json!({ "image_size": 64, "size_rule": "stretch", "resample": "reference_float" });
        let plan = plan(preprocess, spec, task.eval_needs());
        let batch = prepare_batch(std::slice::from_ref(&record), &plan).unwrap();
        assert_eq!(batch.images.size(), [1, 3, 64, 64]);
        let answers = no_grad(|| task.predict(&batch)).unwrap().remove(0).instances;
        for ((case, ..), answer) in prompts.iter().zip(answers) {
            let is_single = multimask == "ambiguous" && *case != "click";
            let key = format!("file.{case}.{}", if is_single { "single" } else { "multi" });
            let iou = io[&format!("{key}.iou")].double_value(&[0]);
            assert!((answer.score - iou).abs() < DECODER, "{key}: {} for {iou}", answer.score);
            let logits = &io[&format!("{key}.logits")];
            let bytes = answer.mask.unwrap().to_mask();
            let got = Tensor::from_slice(&bytes).view(logits.size().as_slice()).to_kind(Kind::Bool);
            // A logit within rounding of zero may fall on either side.
            let margin = DECODER * logits.abs().max().double_value(&[]);
            let sure = got.logical_xor(&logits.gt(0.0)).logical_and(&logits.abs().gt(margin));
            assert_eq!(sure.sum(Kind::Int64).int64_value(&[]), 0, "{key}: pixels differ");
        }
    }
}
