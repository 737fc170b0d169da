//! The plain ViT against timm and transformers, each model from files under every name it is published with.

use std::path::PathBuf;

use serde_json::{Value, json};
use sonotune_engine::backbone::{Backbone, BackboneConfig};
use sonotune_testing::fixture;
use sonotune_testing_models::{
    model::merged,
    reference::{Tensors, assert_close, read, read_json},
    upstream::config,
};
use sonotune_weights::{self as weights, ConvertOptions};
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

/// fp32 through two blocks: orders of summation differ, which leaves about 1e-6.
const FEATURES: f64 = 2e-5;
/// Gradients sum over all tokens and images.
const GRADIENTS: f64 = 1e-4;

/// A model, and a file of its weights.
struct Case {
    title: String,
    backbone: Value,
    convention: String,
    file: PathBuf,
    io: Tensors,
}

fn cases() -> Vec<Case> {
    let folder = fixture("vit");
    let mut cases = Vec::new();
    for case in read_json(&folder.join("cases.json")).as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        for convention in case["conventions"].as_array().unwrap() {
            let convention = convention.as_str().unwrap();
            cases.push(Case {
                title: format!("{name} as {convention}"),
                backbone: case["backbone"].clone(),
                convention: convention.to_owned(),
                file: folder.join(format!("{name}.{convention}.safetensors")),
                io: read(&folder.join(format!("{name}.io.safetensors"))),
            });
        }
    }
    cases
}

fn build(config: Value) -> (VarStore, Box<dyn Backbone>) {
    let config: Box<dyn BackboneConfig> = serde_json::from_value(config).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let backbone = config.build(&(vs.root() / "backbone")).unwrap();
    (vs, backbone)
}

impl Case {
    /// The model with further keys, filled from the file: strictly, and recognised by its keys.
    fn load(&self, more: Value) -> (VarStore, Box<dyn Backbone>) {
        let (vs, backbone) = build(merged(self.backbone.clone(), more));
        let report = weights::load(&vs, &config(self.file.clone(), &[])).unwrap();
        assert_eq!(report.recognised.convention.name, self.convention, "{}", self.title);
        assert!(report.resized.is_empty(), "{}: {:?}", self.title, report.resized);
        (vs, backbone)
    }

    fn features(&self, more: Value, images: &str) -> Vec<Tensor> {
        let (_vs, backbone) = self.load(more);
        no_grad(|| backbone.forward(&self.io[images], false)).unwrap()
    }

    fn blocks(&self) {
        let more = json!({ "out_indices": [0, 1], "norm_out_indices": false });
        for (index, level) in self.features(more, "images").iter().enumerate() {
            let (b, c, h, w) = level.size4().unwrap();
            let tokens = &self.io[&format!("block.{index}")];
            let patches = tokens.narrow(1, tokens.size()[1] - h * w, h * w);
            let expected = patches.transpose(1, 2).reshape([b, c, h, w]);
            assert_close(&format!("{}: block {index}", self.title), level, &expected, FEATURES);
        }
    }

    fn output_and_gradients(&self) {
        let (vs, backbone) = self.load(json!({}));
        let images = self.io["images"].copy().set_requires_grad(true);
        let level = backbone.forward(&images, true).unwrap().remove(0);
        assert_close(&self.title, &level, &self.io["patch_tokens"], FEATURES);
        level.square().mean(Kind::Float).backward();
        assert_close(&self.title, &images.grad(), &self.io["grad.images"], GRADIENTS);
        let variables = vs.variables();
        let mut checked = 0;
        for (key, expected) in &self.io {
            let Some(name) = key.strip_prefix("grad.").filter(|name| *name != "images") else {
                continue;
            };
            let got = match variables.get(&format!("backbone.{name}")) {
                Some(variable) => variable.grad(),
                // DINOv3's file has one bias for all three.
                None => {
                    let (block, part) = name.rsplit_once('.').unwrap();
                    let first = if part == "q_bias" { 0 } else { 2 * expected.size()[0] };
                    let whole = variables[&format!("backbone.{block}.qkv.bias")].grad();
                    whole.narrow(0, first, expected.size()[0])
                }
            };
            assert_close(&format!("{}: {key}", self.title), &got, expected, GRADIENTS);
            checked += 1;
        }
        assert!(checked > 0, "{}", self.title);
    }

    /// One vector per image: as the original pools.
    fn pooled(&self) {
        let one = |output: &str| {
            let level = self.features(json!({ "output": output }), "images").remove(0);
            assert_eq!(level.size()[2..], [1, 1], "{}", self.title);
            level.flatten(1, 3)
        };
        if let Some(expected) = self.io.get("mean") {
            return assert_close(
                &format!("{}: mean", self.title),
                &one("mean"),
                expected,
                FEATURES,
            );
        }
        let patches = self.io["patch_tokens"].mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        assert_close(&format!("{}: mean", self.title), &one("mean"), &patches, FEATURES);
        if let Some(class_token) = self.io.get("class_token") {
            let title = format!("{}: class token", self.title);
            assert_close(&title, &one("class_token"), class_token, FEATURES);
            let both = Tensor::cat(&[class_token, &patches], 1);
            assert_close(&title, &one("class_and_mean"), &both, FEATURES);
        }
    }

    /// Positions that are resized in the forward pass.
    fn other_size(&self) -> bool {
        let Some(expected) = self.io.get("other.patch_tokens") else { return false };
        let level = self.features(json!({}), "other.images").remove(0);
        assert_close(&format!("{}: other size", self.title), &level, expected, FEATURES);
        true
    }
}

#[test]
fn parity_with_timm_and_transformers() {
    let cases = cases();
    assert!(cases.len() >= 20, "{}", cases.len());
    let mut resized = 0;
    for case in cases {
        case.blocks();
        case.output_and_gradients();
        case.pooled();
        resized += usize::from(case.other_size());
    }
    assert!(resized >= 15, "{resized}");
}

#[test]
fn parity_of_fixed_positions_with_mae() {
    let sizes = json!({ "type": "vit", "variant": "mae", "embed_dim": 16, "depth": 1, "num_heads": 2,
        "patch_size": 4, "image_size": 16, "pos_embed": "sincos" });
    let (vs, _) = build(sizes);
    let pos_embed = &vs.variables()["backbone.pos_embed"];
    assert!(!pos_embed.requires_grad());
    let expected = &read(&fixture("vit").join("sincos.safetensors"))["pos_embed"];
    assert_close("sincos", pos_embed, expected, 1e-6);
}

#[test]
fn every_naming_survives_a_conversion_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let convert = |from: PathBuf, to: PathBuf, naming: &str| {
        let to_naming = Some(naming.to_owned());
        let options =
            ConvertOptions { to: to_naming, overwrite: true, ..ConvertOptions::default() };
        weights::convert(&from, &to, &options).unwrap()
    };
    for case in cases() {
        let title = &case.title;
        let ours = convert(case.file.clone(), path("ours.safetensors"), "sonotune");
        convert(path("ours.safetensors"), path("back.safetensors"), &case.convention);
        let (original, back) = (read(&case.file), read(&path("back.safetensors")));
        // What is not the model's own, and prefixes, are gone.
        let prefix = ours.from.unwrap().prefix;
        for (name, tensor) in &back {
            // In which chunk a block was is not kept.
            let name = match case.convention.as_str() {
                "dinov2_chunked" => name.replace("blocks.0.1.", "blocks.1.1."),
                _ => name.clone(),
            };
            let stored = &original[&format!("{prefix}{name}")];
            assert_eq!(stored.size(), tensor.size(), "{title}: {name}");
            assert!(stored.equal(tensor), "{title}: {name}");
        }
        let left = ours.left_out.len();
        assert_eq!(back.len() + left, original.len(), "{title}: {:?}", ours.left_out);
        let (vs, _) = build(case.backbone.clone());
        weights::load(&vs, &config(path("back.safetensors"), &[])).unwrap();
    }
}

#[test]
fn positions_of_another_image_size_are_resized_on_loading() {
    let case = cases().into_iter().find(|case| case.convention == "open_clip").unwrap();
    let keys = json!({ "image_size": 24, "pos_embed_antialias": false });
    let (vs, larger) = build(merged(case.backbone.clone(), keys));
    let report = weights::load(&vs, &config(case.file.clone(), &[])).unwrap();
    let [resized] = report.resized.as_slice() else { panic!("{:?}", report.resized) };
    assert_eq!(
        (resized.from.as_slice(), resized.to.as_slice()),
        (&[1, 17, 16][..], &[1, 37, 16][..])
    );
    let (_vs, stored) = case.load(json!({ "pos_embed_antialias": false }));
    let images = Tensor::randn([1, 3, 24, 24], (Kind::Float, Device::Cpu));
    let [got, expected] =
        [larger, stored].map(|model| no_grad(|| model.forward(&images, false)).unwrap().remove(0));
    assert_close("resized on loading", &got, &expected, 1e-6);
}
