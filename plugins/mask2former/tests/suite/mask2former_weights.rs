//! Mask2Former under every naming it is published in: one small model of transformers, written by
//! `scripts/mask2former_checkpoints.py`, computes the same here from each of the files.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use mask2former::{
    head::{HeadSizes, Mask2FormerHead},
    pixel_decoder::PixelDecoderSizes,
    transformer_decoder::TransformerDecoderSizes,
};
use serde_json::{Value, from_value, json};
use sonotune_engine::backbone::{Backbone, BackboneConfig};
use sonotune_weights as weights;
use sonotune_weights::{Container, ConvertOptions, LoadReport, WeightsConfig, WeightsPartConfig};
use tch::{Device, Tensor, nn::VarStore, no_grad};

use sonotune_testing::python;
use sonotune_testing_models::{
    reference::{assert_close, read},
    upstream::config,
};

/// Both sides compute in fp64; only the order of sums differs, and positions that transformers
/// rounds to fp32.
const LOGITS: f64 = 1e-4;

const FILES: [(&str, &str); 4] = [
    ("huggingface/model.safetensors", "huggingface_mask2former"),
    ("detectron2.pkl", "detectron2"),
    ("mmdet3.pth", "mmdet_resnet"),
    ("mmdet2.pth", "mmdet_resnet"),
];

/// The files, if the Python packages are there.
fn files() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let python = python(&["torch", "transformers", "numpy", "safetensors"])?;
        let folder = tempfile::tempdir().unwrap();
        let script = sonotune_testing::root().join("scripts/mask2former_checkpoints.py");
        let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(folder)
    });
    folder.as_ref().map(tempfile::TempDir::path)
}

struct Model {
    vs: VarStore,
    backbone: Box<dyn Backbone>,
    head: Mask2FormerHead,
}

/// The same size as the script's model.
fn model(num_classes: i64, num_queries: i64) -> Model {
    model_on(json!({ "type": "resnet", "depth": 50, "base_channels": 8 }), num_classes, num_queries)
}

fn model_on(backbone: Value, num_classes: i64, num_queries: i64) -> Model {
    let vs = VarStore::new(Device::Cpu);
    let backbone: Box<dyn BackboneConfig> = from_value(backbone).unwrap();
    let backbone = backbone.build(&(vs.root() / "backbone")).unwrap();
    let sizes = HeadSizes {
        pixel_decoder: PixelDecoderSizes {
            in_channels: backbone.spec().levels.iter().map(|level| level.channels).collect(),
            feat_channels: 64,
            num_heads: 8,
            num_layers: 2,
            feedforward_channels: 128,
            num_levels: 3,
            num_points: 4,
        },
        transformer_decoder: TransformerDecoderSizes {
            feat_channels: 64,
            num_heads: 8,
            num_layers: 4,
            feedforward_channels: 96,
        },
        num_queries,
        num_classes,
    };
    let head = Mask2FormerHead::new(&(vs.root() / "panoptic_head"), &sizes);
    Model { vs, backbone, head }
}

impl Model {
    fn load(&self, config: &WeightsConfig) -> anyhow::Result<LoadReport> {
        weights::load(&self.vs, config)
    }
}

#[test]
fn parity_mask2former_huggingface() {
    let Some(folder) = files() else { return };
    let io = read(&folder.join("io.safetensors"));
    for (file, convention) in FILES {
        let mut model = model(5, 12);
        let report = model.load(&config(folder.join(file), &[])).unwrap();
        assert_eq!(report.recognised.convention.name, convention, "{file}");
        let mut names: Vec<_> = report.loaded.iter().map(|l| l.variable.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), model.vs.variables().len(), "{file}");
        assert!(report.unused.is_empty() && report.missing.is_empty(), "{file}: {report:?}");
        model.vs.double();
        no_grad(|| {
            let features = model.backbone.forward(&io["images"], false).unwrap();
            let pixels = model.head.pixel_decoder.forward(&features).unwrap();
            let mut layers = 0;
            model
                .head
                .decode(&pixels, &mut |i, output| {
                    let classes = format!("classes.{i}");
                    assert_close(
                        &format!("{file}: {classes}"),
                        &output.classes,
                        &io[&classes],
                        LOGITS,
                    );
                    let masks = format!("masks.{i}");
                    let got = output.masks(&pixels.mask_features);
                    assert_close(&format!("{file}: {masks}"), &got, &io[&masks], LOGITS);
                    layers += 1;
                    Ok(())
                })
                .unwrap();
            assert_eq!(layers, 5);
        });
    }
}

/// Asserts that `got` has every tensor of `expected` except `lacking` under its name, bit for bit, and
/// no others.
fn assert_same(got: &Path, expected: &Path, lacking: &[&str]) {
    let (got, expected) = (weights::open(got).unwrap(), weights::open(expected).unwrap());
    let skip = |name: &str| lacking.iter().any(|p| sonotune_base::pattern::matches(p, name));
    let wanted: Vec<_> = expected.entries().iter().filter(|e| !skip(&e.name)).collect();
    assert_eq!(got.entries().len(), wanted.len());
    for entry in wanted {
        let (a, b): (Tensor, Tensor) =
            (got.read(&entry.name).unwrap(), expected.read(&entry.name).unwrap());
        assert!(a.equal(&b), "{}", entry.name);
    }
}

#[test]
fn mask2former_converts_from_any_naming_to_any_other() {
    let Some(folder) = files() else { return };
    let out = tempfile::tempdir().unwrap();
    let convert = |from: &Path, to: &str, name: &str| -> PathBuf {
        let path = out.path().join(name);
        let options = ConvertOptions { to: Some(to.to_owned()), ..ConvertOptions::default() };
        weights::convert(from, &path, &options).unwrap();
        path
    };
    let counts = ["*.num_batches_tracked", "criterion.empty_weight"];
    let mmdet = folder.join("mmdet3.pth");
    for (i, (file, _)) in FILES.iter().enumerate() {
        let from = folder.join(file);
        // mmdetection 2 and 3 are one convention, within which names stay.
        if *file != "mmdet2.pth" {
            let lacking: &[&str] = if *file == "mmdet3.pth" { &[] } else { &counts };
            let path = convert(&from, "mmdet_resnet", &format!("{i}.pth"));
            assert_same(&path, &mmdet, lacking);
        }
        let path = convert(&from, "huggingface_mask2former", &format!("{i}.safetensors"));
        if i > 0 {
            assert_same(&path, &folder.join(FILES[0].0), &counts);
        }
        let path = convert(&from, "sonotune", &format!("{i}.ours.safetensors"));
        assert_same(&path, &mmdet, &counts);
    }
}

#[test]
fn a_head_for_other_classes_loads_but_for_its_last_layer() {
    let Some(folder) = files() else { return };
    for (file, _) in FILES {
        let model = model(2, 12);
        let mut config = config(folder.join(file), &[]);
        let error = model.load(&config).unwrap_err().to_string();
        assert!(error.contains("panoptic_head.cls_embed"), "{error}");
        assert!(error.contains("allow_misshapen = [\"panoptic_head.cls_embed.*\"]"), "{error}");
        config.allow_misshapen = vec!["panoptic_head.cls_embed.*".to_owned()];
        let report = model.load(&config).unwrap();
        let random: Vec<_> = report.allowed_misshapen.iter().map(|m| m.variable.as_str()).collect();
        assert_eq!(random.len(), 2, "{file}: {random:?}");
        assert!(random.iter().all(|name| name.starts_with("panoptic_head.cls_embed.")));
    }
}

/// Variables of a ResNet's head that cannot be used with a ViT and other classes.
const ANEW: [&str; 6] = [
    "panoptic_head.cls_embed.bias",
    "panoptic_head.cls_embed.weight",
    "panoptic_head.pixel_decoder.input_convs.0.conv.weight",
    "panoptic_head.pixel_decoder.input_convs.1.conv.weight",
    "panoptic_head.pixel_decoder.input_convs.2.conv.weight",
    "panoptic_head.pixel_decoder.lateral_convs.0.conv.weight",
];

#[test]
fn a_head_from_one_file_goes_behind_a_vit_from_another() {
    let Some(folder) = files() else { return };
    let out = tempfile::tempdir().unwrap();
    let convert = |from: &Path, to: &str, name: &str| -> PathBuf {
        let path = out.path().join(name);
        let options = ConvertOptions { to: Some(to.to_owned()), ..ConvertOptions::default() };
        weights::convert(from, &path, &options).unwrap();
        path
    };
    let on_vit = || {
        let vit = json!({
            "type": "sam_vit", "embed_dim": 48, "depth": 4, "num_heads": 2, "mlp_dim": 64,
            "window_size": 3, "global_attn_indexes": [1, 3], "image_size": 64, "out_channels": 0,
            "out_indices": [0, 1, 2, 3],
        });
        model_on(vit, 2, 12)
    };
    // A ViT as Meta publishes it.
    let vit: Vec<_> = on_vit().vs.variables().into_iter().collect();
    let vit: Vec<_> = vit.into_iter().filter(|(name, _)| name.starts_with("backbone.")).collect();
    let ours = out.path().join("vit.safetensors");
    let says = BTreeMap::from([(weights::keymap::CONVENTION_KEY.to_owned(), "sonotune".into())]);
    weights::save_safetensors(&ours, &vit, &says).unwrap();
    let vit_file = convert(&ours, "segment_anything", "vit.pth");

    for (file, convention) in FILES {
        let model = on_vit();
        let before: BTreeMap<_, _> = model
            .vs
            .variables()
            .into_iter()
            .map(|(name, value)| (name, value.detach().copy()))
            .collect();
        let mut config = config(vit_file.clone(), &[]);
        config.parts = vec![WeightsPartConfig {
            path: folder.join(file),
            variables: vec!["panoptic_head.*".to_owned()],
            state_dict: None,
            convention: None,
            ignore: Vec::new(),
            allow_missing: Vec::new(),
            allow_unexpected: Vec::new(),
            allow_misshapen: Vec::new(),
        }];
        let error = model.load(&config).unwrap_err().to_string();
        let allow = "[[weights.parts]] allow_misshapen = [";
        for words in [allow, "\"panoptic_head.cls_embed.*\"", "\"panoptic_head.pixel_decoder.*\""] {
            assert!(error.contains(words), "{words} not in {error}");
        }
        config.parts[0].allow_misshapen = vec![
            "panoptic_head.cls_embed.*".to_owned(),
            "panoptic_head.pixel_decoder.input_convs.*".to_owned(),
            "panoptic_head.pixel_decoder.lateral_convs.*".to_owned(),
        ];
        let report = model.load(&config).unwrap();
        let part = &report.parts[0];
        assert_eq!(part.recognised.convention.name, convention);
        let mut anew: Vec<_> = part.allowed_misshapen.iter().map(|m| m.variable.as_str()).collect();
        anew.sort_unstable();
        assert_eq!(anew, ANEW, "{file}");
        assert!(part.unused.is_empty() && part.warnings.is_empty(), "{file}: {part:?}");
        assert!(!part.left.is_empty() && report.left.is_empty());

        // Bit for bit: the ViT from its file, the head from the other, and the rest as initialised.
        let name = format!("{}.safetensors", file.replace('/', "."));
        let head = weights::open(&convert(&folder.join(file), "sonotune", &name)).unwrap();
        let vit: BTreeMap<_, _> = vit.iter().map(|(name, value)| (name, value)).collect();
        for (name, got) in model.vs.variables() {
            let want = match vit.get(&name) {
                Some(value) => value.shallow_clone(),
                None if ANEW.contains(&name.as_str()) => before[&name].shallow_clone(),
                None => head.read(&name).unwrap(),
            };
            assert!(got.equal(&want), "{file}: {name}");
        }
    }
}

#[test]
fn another_number_of_queries_is_refused_by_name_and_number() {
    let Some(folder) = files() else { return };
    for (file, _) in FILES {
        let error = model(5, 20).load(&config(folder.join(file), &[])).unwrap_err().to_string();
        for part in ["panoptic_head.query_feat.weight", "expected [20, 64], got [12, 64]"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn half_an_attention_is_refused() {
    let Some(folder) = files() else { return };
    let whole = weights::open(&folder.join(FILES[0].0)).unwrap();
    let lacking = "model.transformer_module.decoder.layers.1.self_attn.k_proj.weight";
    let tensors: Vec<_> = whole
        .entries()
        .iter()
        .filter(|entry| entry.name != lacking)
        .map(|entry| (entry.name.clone(), whole.read(&entry.name).unwrap()))
        .collect();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("half.pth");
    weights::save_torch(&path, &tensors).unwrap();
    let error = model(5, 12).load(&config(path, &["*"])).unwrap_err().to_string();
    for part in
        ["layers.1.self_attn.attn.in_proj_weight", "only", "layers.1.self_attn.q_proj.weight"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_published_pickle_is_named_for_what_it_is() {
    let Some(folder) = files() else { return };
    let file = weights::open(&folder.join("detectron2.pkl")).unwrap();
    assert_eq!((file.container(), file.found_at()), (Container::NumpyPickle, "model"));
    assert!(file.others().iter().any(|other| other.name == "__author__"));
}
