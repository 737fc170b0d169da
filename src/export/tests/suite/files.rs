//! Files of tiny models predict what the program predicts.

use std::fs;

use prost::Message;
use sonotune_export::{ExportRecord, Precision, export, proto::ModelProto};
use sonotune_testing::{MASK2FORMER, Tiny, assert_contains};
use tch::{CModule, IValue, Kind, Tensor};

use crate::models::{CLASSIFICATION, SAM, SIDE, exported, options, python, tiny, trained};

fn names(record: &ExportRecord) -> Vec<&str> {
    record.files.iter().map(|file| file.name.as_str()).collect()
}

fn model(path: &std::path::Path) -> ModelProto {
    ModelProto::decode(fs::read(path).unwrap().as_slice()).unwrap()
}

/// Every value that a node takes exists before it.
fn assert_in_order(model: &ModelProto) {
    let graph = model.graph.as_ref().unwrap();
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let mut known: std::collections::HashSet<_> = inputs.chain(constants).collect();
    known.insert("");
    for node in &graph.node {
        for input in &node.input {
            assert!(known.contains(input.as_str()), "{} takes {input}", node.name);
        }
        for output in &node.output {
            assert!(known.insert(output), "{output} exists twice");
        }
    }
    assert!(graph.output.iter().all(|output| known.contains(output.name.as_str())));
}

#[test]
fn a_classifier_is_exported_with_its_card() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = trained(&tiny(folder.path(), CLASSIFICATION));
    let out = folder.path().join("out");
    let record = exported(&loaded, &out);
    assert_eq!(names(&record), ["classifier.onnx", "model.pt"]);
    assert_eq!(record.checked, python().is_some());
    let onnx = model(&out.join("classifier.onnx"));
    assert_in_order(&onnx);
    let graph = onnx.graph.unwrap();
    let weight = "backbone.blocks.0.attn.qkv.weight.transposed";
    assert!(graph.initializer.iter().any(|tensor| tensor.name == weight), "weights keep names");
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    let hash = &record.files[0].sha256;
    assert_contains(&card, &["benign", "subtract the mean", "pad with zeros", "unknown", hash]);
    assert_eq!(card.contains("Not checked"), python().is_none());
    // A folder with an export is not overwritten by accident.
    let error = export(&loaded, &options(&out, None)).unwrap_err().to_string();
    assert_contains(&error, &["exists already", "--overwrite"]);
}

#[test]
fn a_sam_is_exported_as_encoder_and_decoder() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = trained(&tiny(folder.path(), SAM));
    let out = folder.path().join("out");
    let record = exported(&loaded, &out);
    assert_eq!(names(&record), ["encoder.onnx", "decoder.onnx", "x_anylabeling.yaml", "model.pt"]);
    let decoder = model(&out.join("decoder.onnx"));
    assert_in_order(&decoder);
    let graph = decoder.graph.unwrap();
    let inputs: Vec<_> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let expected = [
        "image_embeddings",
        "point_coords",
        "point_labels",
        "mask_input",
        "has_mask_input",
        "orig_im_size",
    ];
    assert_eq!(inputs, expected);
    let outputs: Vec<_> = graph.output.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(outputs, ["masks", "iou_predictions", "low_res_masks"]);
    let yaml = fs::read_to_string(out.join("x_anylabeling.yaml")).unwrap();
    assert_contains(&yaml, &["type: segment_anything\n", "encoder_model_path: \"encoder.onnx\""]);

    // Prompts of any number of tokens.
    let module = CModule::load(out.join("model.pt")).unwrap();
    let image = Tensor::zeros([1, 3, SIDE.into(), SIDE.into()], (Kind::Float, tch::Device::Cpu));
    let embedding = module.method_ts("encode", &[&image]).unwrap();
    for tokens in [1, 2, 9] {
        let coords = Tensor::full([1, tokens, 2], 20.0, (Kind::Float, tch::Device::Cpu));
        let labels = Tensor::ones([1, tokens], (Kind::Int64, tch::Device::Cpu));
        let mask = Tensor::zeros([1, 1, 16, 16], (Kind::Float, tch::Device::Cpu));
        let inputs = [embedding.shallow_clone(), coords, labels, mask, Tensor::from_slice(&[0f32])];
        let outputs = module.method_is("decode", &inputs.map(IValue::Tensor)).unwrap();
        assert!(matches!(outputs, IValue::Tuple(parts) if parts.len() == 2));
    }
}

#[test]
fn a_second_pass_and_the_published_cut_are_part_of_the_decoder() {
    for extra in ["refinement = true", "convention = \"ultrasam\"\nrefinement = true"] {
        let task = SAM.replace("convention = \"segment_anything\"", extra).replace(
            "multimask = \"ambiguous\"",
            "multimask = \"always\"\npostprocess = \"as_published\"",
        );
        let folder = tempfile::tempdir().unwrap();
        let loaded = trained(&tiny(folder.path(), &task).set("preprocess.size_rule=\"truncate\""));
        let record = exported(&loaded, &folder.path().join("out"));
        assert_contains(&record.words(), &["encode, decode, refine"]);
    }
}

#[test]
fn instances_are_exported_as_probabilities_and_masks() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = trained(&tiny(folder.path(), MASK2FORMER));
    let record = exported(&loaded, &folder.path().join("out"));
    assert_eq!(names(&record), ["segmenter.onnx", "model.pt"]);
}

#[test]
fn smaller_precisions_state_what_they_cost() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let wide = |tiny: Tiny| tiny.set("backbone.embed_dim=64").set("seed=5");
    let loaded = trained(&wide(tiny(folder.path(), SAM)));
    let size = |precision, name: &str| {
        let out = folder.path().join(name);
        let options = sonotune_export::ExportOptions {
            precision,
            formats: vec![sonotune_export::Format::Onnx],
            ..options(&out, Some(python.clone()))
        };
        let record = export(&loaded, &options).unwrap();
        assert_in_order(&model(&out.join("encoder.onnx")));
        let loss = record.loss.clone();
        if precision == Precision::Fp32 {
            assert!(loss.is_none());
        } else {
            let loss = loss.unwrap();
            assert!(loss.mean_iou.unwrap() > 0.8, "{loss:?}");
            assert!(loss.max_score_difference < 0.1, "{loss:?}");
            let card = fs::read_to_string(out.join("README.md")).unwrap();
            assert_contains(&card, &[name, "IoU with fp32 masks"]);
        }
        record.files[0].bytes
    };
    let [fp32, fp16, int8] = [
        size(Precision::Fp32, "fp32"),
        size(Precision::Fp16, "fp16"),
        size(Precision::Int8, "int8"),
    ];
    assert!(fp16 < fp32 * 3 / 4 && int8 < fp32 * 3 / 4, "{fp32} {fp16} {int8}");
}
