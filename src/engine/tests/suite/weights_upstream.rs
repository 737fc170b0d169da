//! Checkpoints that upstream's Python packages write and read, both ways.

use std::{path::Path, process::Command};

use serde_json::{self, Value, json};
use sha2::{Digest, Sha256};
use sonotune_engine::backbone::{Backbone, BackboneConfig};
use sonotune_weights as weights;
use sonotune_weights::{ConvertOptions, Dtype};
use tch::{Device, Kind, nn::VarStore, no_grad};

use sonotune_testing::{fixture, python};
use sonotune_testing_models::{
    reference::{assert_close, read_json},
    upstream::{config, published_sizes, run, upstream, vit},
};

fn build(config: Value) -> (VarStore, Box<dyn Backbone>) {
    let config: Box<dyn BackboneConfig> = serde_json::from_value(config).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let backbone = config.build(&(vs.root() / "backbone")).unwrap();
    (vs, backbone)
}

#[test]
fn upstream_checkpoints_read_bit_for_bit() {
    let Some(folder) = upstream() else { return };
    let index = read_json(&folder.join("checkpoints.json"));
    let checkpoints = index.as_object().unwrap();
    assert_eq!(checkpoints.len(), 6);
    for (name, checkpoint) in checkpoints {
        let file = weights::open(&folder.join(checkpoint["file"].as_str().unwrap())).unwrap();
        let mut expected = checkpoint["tensors"].as_object().unwrap().clone();
        for tied in checkpoint["tied"].as_array().into_iter().flatten() {
            expected.remove(tied.as_str().unwrap());
        }
        for entry in file.entries() {
            let Some(expected) = expected.remove(&entry.name) else {
                panic!("{name}: {} was not saved", entry.name)
            };
            assert_eq!(json!(entry.shape), expected["shape"], "{name}: {}", entry.name);
            assert_eq!(entry.dtype.name(), expected["dtype"], "{name}: {}", entry.name);
            let tensor = file.read(&entry.name).unwrap();
            let mut bytes = vec![0; entry.nbytes() as usize];
            tensor.copy_data_u8(&mut bytes, tensor.numel());
            let digest: String =
                Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, expected["sha256"], "{name}: {}", entry.name);
        }
        assert!(expected.is_empty(), "{name}: {:?} not found", expected.keys());
    }
}

/// Loads each file into a backbone and compares its features with upstream's on the same images.
fn assert_features(
    folder: &Path,
    io: &str,
    files: &[&str],
    convention: &str,
    cases: &[(Value, &[&str])],
) {
    let io = weights::open(&folder.join(io)).unwrap();
    let images = io.read("images").unwrap();
    for file in files {
        for (backbone, levels) in cases {
            let (vs, backbone) = build(backbone.clone());
            let report = weights::load(&vs, &config(folder.join(file), &[])).unwrap();
            assert_eq!(report.recognised.convention.name, convention, "{file}");
            assert_eq!(report.loaded.len(), vs.variables().len(), "{file}");
            let features = no_grad(|| backbone.forward(&images, false)).unwrap();
            assert_eq!(features.len(), levels.len());
            for (got, level) in features.iter().zip(*levels) {
                // fp32 with other orders of summation: about 1e-6 through a few blocks.
                assert_close(&format!("{file}: {level}"), got, &io.read(level).unwrap(), 2e-5);
            }
        }
    }
}

#[test]
fn parity_of_features_with_segment_anything_and_hugging_face() {
    let Some(folder) = upstream() else { return };
    let neck = vit(json!({ "out_channels": 256 }));
    let (indices, levels): (_, &[&str]) = if published_sizes() {
        (json!([0, 2, 5, 8, 11]), &["block0", "block2", "block5", "block8", "block11"])
    } else {
        (json!([0, 1, 3]), &["block0", "block1", "block3"])
    };
    let blocks = vit(json!({ "out_channels": 0, "out_indices": indices }));
    assert_features(
        folder,
        "sam.io.safetensors",
        &["sam.pth", "sam_legacy.pth"],
        "segment_anything",
        &[(neck.clone(), &["embedding"]), (blocks, levels)],
    );
    assert_features(
        folder,
        "huggingface_sam.io.safetensors",
        &["huggingface_sam/model.safetensors"],
        "huggingface_sam",
        &[(neck, &["embedding"])],
    );
}

#[test]
fn parity_of_features_with_torchvision() {
    let Some(folder) = upstream() else { return };
    assert_features(
        folder,
        "resnet.io.safetensors",
        &["resnet.pth", "resnet_legacy.pth"],
        "torchvision_resnet",
        &[(
            json!({ "type": "resnet", "depth": if published_sizes() { 50 } else { 18 } }),
            &["layer1", "layer2", "layer3", "layer4"],
        )],
    );
}

#[test]
fn an_mmengine_checkpoint_with_optimizer_and_message_hub_fills_a_resnet() {
    let Some(folder) = upstream() else { return };
    let (vs, _) = build(json!({ "type": "resnet", "depth": 18 }));
    let report = weights::load(&vs, &config(folder.join("mmengine.pth"), &[])).unwrap();
    assert_eq!(report.recognised.convention.name, "mmdet_resnet");
    assert_eq!(report.state_dict, "state_dict");
    assert_eq!(report.loaded.len(), vs.variables().len());
    assert!(report.dropped.iter().all(|dropped| dropped.key.ends_with("num_batches_tracked")));
}

#[test]
fn imagenet_classes_give_way_to_a_new_head() {
    let Some(folder) = upstream() else { return };
    let (vs, _) = build(json!({ "type": "resnet", "depth": 18 }));
    let _ = (vs.root() / "head" / "fc").zeros("weight", &[3, 512]);
    let _ = (vs.root() / "head" / "fc").zeros("bias", &[3]);
    let path = folder.join("resnet.pth");
    let error = weights::load(&vs, &config(path.clone(), &[])).unwrap_err().to_string();
    assert!(error.contains("head.fc.weight: expected [3, 512], got [1000, 512]"), "{error}");
    let report = weights::load(&vs, &config(path, &["head.*"])).unwrap();
    assert_eq!(report.allowed_missing.len(), 2);
    assert_eq!(report.unused.len(), 2);
}

/// Opens converted files as a user of upstream's packages would.
const READER: &str = r#"
import sys, torch, torchvision, safetensors.torch
from transformers import SamModel, SamConfig
folder, converted, fixtures = sys.argv[1:]
same = lambda a, b: a.keys() == b.keys() and all(
    a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(a[k], b[k]) for k in a)
load = lambda path: torch.load(path, weights_only=True)
assert same(load(f'{converted}/layouts.pth'), load(f'{fixtures}/zip.pth')), 'layouts.pth'
assert same(safetensors.torch.load_file(f'{converted}/layouts.safetensors'), load(f'{fixtures}/zip.pth'))
resnet = torchvision.models.resnet18(weights=None)
resnet.load_state_dict(load(f'{converted}/resnet.pth'), strict=True)
original = load(f'{folder}/resnet.pth')
floats = lambda state: {k: v for k, v in state.items() if 'num_batches' not in k}
assert same(floats(resnet.state_dict()), floats(original)), 'resnet'
encoder = {k: v for k, v in load(f'{folder}/sam.pth').items() if k.startswith('image_encoder.')}
assert same(load(f'{converted}/sam.pth'), encoder), 'sam'
half = load(f'{converted}/half.pt')
assert all(v.dtype == torch.bfloat16 for v in half.values()), 'half'
assert torch.equal(half['image_encoder.pos_embed'], encoder['image_encoder.pos_embed'].bfloat16())
model = SamModel(SamConfig.from_pretrained(f'{folder}/huggingface_sam'))
wrong = model.load_state_dict(safetensors.torch.load_file(f'{converted}/hf.safetensors'), strict=False)
assert not wrong.unexpected_keys and not any(k.startswith('vision_encoder') for k in wrong.missing_keys), wrong
print('all equal')
"#;

#[test]
fn converted_files_open_in_python_under_upstream_names() {
    let Some(folder) = upstream() else { return };
    let Some(python) = python(&["torch", "torchvision", "transformers"]) else { return };
    let converted = tempfile::tempdir().unwrap();
    let convert = |input: &Path, output: &str, to: Option<&str>, dtype: Option<Dtype>| {
        let output = converted.path().join(output);
        let options =
            ConvertOptions { to: to.map(str::to_owned), dtype, ..ConvertOptions::default() };
        weights::convert(input, &output, &options).unwrap();
        output
    };
    convert(&fixture("weights/zip.pth"), "layouts.pth", None, None);
    convert(&fixture("weights/legacy.pth"), "layouts.safetensors", None, None);
    // Through our names and Hugging Face's, and back.
    let ours = convert(&folder.join("resnet.pth"), "ours.safetensors", Some("sonotune"), None);
    let mmdet = convert(&ours, "mmdet.pth", Some("mmdet_resnet"), None);
    convert(&mmdet, "resnet.pth", Some("torchvision_resnet"), None);
    let hf = convert(&folder.join("sam.pth"), "hf.safetensors", Some("huggingface_sam"), None);
    let mm = convert(&hf, "mm.pth", Some("mmpretrain_vit_sam"), None);
    let sam = convert(&mm, "sam.pth", Some("segment_anything"), None);
    convert(&sam, "half.pt", None, Some(Dtype::Bf16));
    let said = run(Command::new(python)
        .args(["-c", READER])
        .arg(folder)
        .arg(converted.path())
        .arg(fixture("weights")));
    assert!(said.contains("all equal"), "{said}");
}

#[test]
fn converting_refuses_what_would_be_lost_or_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let input = fixture("weights/mmengine.pth");
    let options = |to: &str, drop: &[&str]| ConvertOptions {
        to: Some(to.to_owned()),
        drop: drop.iter().map(|pattern| (*pattern).to_owned()).collect(),
        ..ConvertOptions::default()
    };
    let error = |output: &Path, options: &ConvertOptions| {
        format!("{:#}", weights::convert(&input, output, options).unwrap_err())
    };
    assert!(error(&output, &options("sam", &[])).contains("no naming convention `sam`"));
    let torchvision = error(&output, &options("torchvision_resnet", &[]));
    assert!(torchvision.contains("have no name in `torchvision_resnet`"), "{torchvision}");
    assert!(error(&output, &options("sonotune", &["*"])).contains("no tensor is left"));
    assert!(
        error(&folder.path().join("x.onnx"), &options("sonotune", &[])).contains(".safetensors")
    );
    weights::convert(&input, &output, &options("segment_anything", &[])).unwrap();
    assert!(error(&output, &options("sonotune", &[])).contains("already exists"));
    // The metadata names the convention, so that a second reader need not guess.
    let file = weights::open(&output).unwrap();
    assert_eq!(file.metadata()["sonotune.convention"], "segment_anything");
    assert_eq!(file.entry("image_encoder.pos_embed").unwrap().shape, [1, 2, 2, 8]);
}

#[test]
fn position_embeddings_resize_as_pytorch_interpolates() {
    let Some(python) = python(&["torch", "safetensors"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let code = r"
import sys, torch, torch.nn.functional as F
from safetensors.torch import save_file
torch.manual_seed(0)
pos, rel = torch.randn(1, 8, 8, 6), torch.randn(15, 4)
save_file({'backbone.pos_embed': pos, 'backbone.blocks.0.attn.rel_pos_h': rel,
           'backbone.blocks.0.norm1.weight': torch.ones(6)}, sys.argv[1] + '/in.safetensors')
for h, w in ((5, 12), (16, 16), (3, 3)):
    big = F.interpolate(pos.permute(0, 3, 1, 2), size=(h, w), mode='bicubic', align_corners=False)
    line = F.interpolate(rel.reshape(1, 15, -1).permute(0, 2, 1), size=2 * h - 1, mode='linear')
    save_file({'pos': big.permute(0, 2, 3, 1).contiguous(),
               'rel': line.reshape(-1, 2 * h - 1).permute(1, 0).contiguous()},
              sys.argv[1] + f'/{h}.safetensors')
";
    run(Command::new(python).args(["-c", code]).arg(folder.path()));
    for (h, w) in [(5, 12), (16, 16), (3, 3)] {
        let vs = VarStore::new(Device::Cpu);
        let pos = (vs.root() / "backbone").zeros("pos_embed", &[1, h, w, 6]);
        let block = vs.root() / "backbone" / "blocks" / 0;
        let rel = (&block / "attn").zeros("rel_pos_h", &[2 * h - 1, 4]);
        let _ = (&block / "norm1").zeros("weight", &[6]);
        let report =
            weights::load(&vs, &config(folder.path().join("in.safetensors"), &[])).unwrap();
        assert_eq!(report.resized.len(), 2);
        assert_eq!((report.resized[0].how, report.resized[1].how), ("linear", "bicubic"));
        let expected = weights::open(&folder.path().join(format!("{h}.safetensors"))).unwrap();
        assert!(pos.equal(&expected.read("pos").unwrap()), "pos_embed at {h}x{w}");
        assert!(rel.equal(&expected.read("rel").unwrap()), "rel_pos at {h}");
        assert_eq!(pos.kind(), Kind::Float);
    }
}
