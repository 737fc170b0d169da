//! Reading, mapping and writing weights, against files that PyTorch and related programs wrote.

use std::{collections::BTreeMap, path::Path};

use sonotune_weights as weights;
use sonotune_weights::{Container, WeightsConfig, WeightsFile};
use tch::{Device, Kind, Tensor, nn::VarStore};

use sonotune_testing::{assert_contains, fixture, shared};

fn open(name: &str) -> WeightsFile {
    weights::open(&fixture(&format!("weights/{name}"))).unwrap()
}

/// Asserts that `file` has every tensor of `expected` under the same name, bit for bit, and no others.
fn assert_same(file: &WeightsFile, expected: &WeightsFile) {
    let names = |file: &WeightsFile| {
        let mut names: Vec<_> = file.entries().iter().map(|e| e.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(file), names(expected));
    for entry in expected.entries() {
        let (got, want) = (file.read(&entry.name).unwrap(), expected.read(&entry.name).unwrap());
        assert_eq!(got.size(), want.size(), "{}", entry.name);
        assert_eq!(got.kind(), want.kind(), "{}", entry.name);
        assert!(got.equal(&want), "{}: {got} {want}", entry.name);
    }
}

#[test]
fn every_container_reads_every_layout_and_number_format() {
    let expected = open("layouts.safetensors");
    assert_eq!(expected.container(), Container::Safetensors);
    assert_eq!(expected.entries().len(), 17);
    for (name, container, found_at) in [
        ("zip.pth", Container::TorchZip, ""),
        ("legacy.pth", Container::TorchLegacy, ""),
        ("oddities.pth", Container::TorchZip, "model.state_dict"),
        ("oddities_legacy.pth", Container::TorchLegacy, "model.state_dict"),
    ] {
        let file = open(name);
        assert_eq!((file.container(), file.found_at()), (container, found_at), "{name}");
        assert_same(&file, &expected);
    }
    let tar = open("tar.pth");
    assert_eq!(tar.container(), Container::TorchTar);
    assert_same(&tar, &open("tar.safetensors"));
}

#[test]
fn pickled_arrays_read_without_running_the_pickle() {
    let expected = open("layouts.safetensors");
    for name in ["numpy.pkl", "numpy_protocol5.pkl"] {
        let file = open(name);
        assert_eq!(
            (file.container(), file.found_at()),
            (Container::NumpyPickle, "model"),
            "{name}"
        );
        // NumPy has no bfloat16.
        assert_eq!(file.entries().len(), expected.entries().len() - 1, "{name}");
        for entry in file.entries() {
            let (got, want) =
                (file.read(&entry.name).unwrap(), expected.read(&entry.name).unwrap());
            assert_eq!((got.size(), got.kind()), (want.size(), want.kind()), "{}", entry.name);
            assert!(got.equal(&want), "{name}: {}: {got} {want}", entry.name);
        }
        let what = |name: &str| {
            let found = file.others().iter().find(|other| other.name == name);
            found.map(|other| other.what.as_str()).unwrap_or("absent")
        };
        assert_eq!(what("__author__"), "\"third_party\"");
        assert_eq!(what("iteration"), "3");
        assert_ne!(what("big_endian"), "absent");
    }
}

#[test]
fn numbers_are_those_that_python_stored() {
    let file = open("zip.pth");
    let ints = |name: &str| Vec::<i64>::try_from(file.read(name).unwrap().to_kind(Kind::Int64));
    assert_eq!(ints("int8").unwrap(), [-128, 0, 127]);
    assert_eq!(ints("uint8").unwrap(), [0, 128, 255]);
    assert_eq!(ints("int64").unwrap(), [i64::MIN, 1]);
    assert_eq!(ints("bool").unwrap(), [1, 0, 1]);
    let plain = file.read("plain").unwrap();
    assert!(file.read("transposed").unwrap().equal(&plain.tr()));
    let sliced = plain.slice(0, 1, 5, 2).slice(1, 2, 4, 1);
    assert!(file.read("sliced").unwrap().equal(&sliced));
    let expanded = file.entry("expanded").unwrap();
    assert_eq!(
        (expanded.shape.as_slice(), expanded.strides.as_slice()),
        (&[3, 4][..], &[1, 0][..])
    );
    let shared = file.entry("shared").unwrap();
    assert_eq!(shared.storage, file.entry("plain").unwrap().storage);
}

#[test]
fn what_lies_beside_the_weights_is_named_and_harmless() {
    for name in ["oddities.pth", "oddities_legacy.pth"] {
        let file = open(name);
        let what = |name: &str| {
            let found = file.others().iter().find(|other| other.name == name);
            found.map(|other| other.what.as_str()).unwrap_or("absent")
        };
        assert_eq!(what("loop"), "list of 1", "{name}");
        assert_eq!(what("defaultdict"), "defaultdict of 1, 1 tensor");
        assert_eq!(what("deque"), "deque of 2, 1 tensor");
        assert_eq!(what("unknown"), "__main__.Unknown");
        assert_eq!(what("None"), "\"a key that is None\"");
        assert_eq!(what("negative"), (-(1i64 << 40)).to_string());
        assert_eq!(what("big"), "a large integer");
    }
}

#[test]
fn a_pickled_module_gives_the_names_of_its_state_dict() {
    let file = open("module.pth");
    assert_eq!(file.entries().len(), 28);
    assert_eq!(file.entry("1.attn.qkv.weight").unwrap().shape, [24, 8]);
    assert_eq!(file.entry("0.ffn.layers.0.0.bias").unwrap().shape, [16]);
}

#[test]
fn an_mmengine_checkpoint_reads_by_name_and_names_the_rest() {
    let file = open("mmengine.pth");
    assert_eq!(file.found_at(), "state_dict");
    assert_same(&file, &open("mmengine.safetensors"));
    for name in ["meta", "message_hub", "optimizer", "param_schedulers"] {
        assert!(
            file.others().iter().any(|other| other.name == name),
            "{name}: {:?}",
            file.others()
        );
    }
}

/// A model whose variables have the shapes a file's would have, under our names.
pub(crate) fn model(variables: &[(&str, &[i64])]) -> VarStore {
    let vs = VarStore::new(Device::Cpu);
    for (name, shape) in variables {
        let mut parts: Vec<&str> = name.split('.').collect();
        let last = parts.pop().unwrap();
        let path = parts.iter().fold(vs.root(), |path, part| path / *part);
        let _ = path.zeros(last, shape);
    }
    vs
}

pub(crate) fn config(path: &Path) -> WeightsConfig {
    serde_json::from_value(serde_json::json!({ "path": path })).unwrap()
}

const TINY_VIT: &[(&str, &[i64])] = &[
    ("backbone.pos_embed", &[1, 2, 2, 8]),
    ("backbone.patch_embed.proj.weight", &[8, 3, 4, 4]),
    ("backbone.patch_embed.proj.bias", &[8]),
];

pub(crate) fn tiny_vit() -> VarStore {
    let mut names: Vec<(String, Vec<i64>)> =
        TINY_VIT.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
    for block in 0..2 {
        for (name, shape) in [
            ("norm1.weight", vec![8]),
            ("norm1.bias", vec![8]),
            ("attn.qkv.weight", vec![24, 8]),
            ("attn.qkv.bias", vec![24]),
            ("attn.proj.weight", vec![8, 8]),
            ("attn.proj.bias", vec![8]),
            ("attn.rel_pos_h", vec![3, 4]),
            ("attn.rel_pos_w", vec![3, 4]),
            ("norm2.weight", vec![8]),
            ("norm2.bias", vec![8]),
            ("mlp.lin1.weight", vec![16, 8]),
            ("mlp.lin1.bias", vec![16]),
            ("mlp.lin2.weight", vec![8, 16]),
            ("mlp.lin2.bias", vec![8]),
        ] {
            names.push((format!("backbone.blocks.{block}.{name}"), shape));
        }
    }
    names.push(("head.fc.weight".to_owned(), vec![3, 8]));
    names.push(("head.fc.bias".to_owned(), vec![3]));
    let names: Vec<(&str, &[i64])> =
        names.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    model(&names)
}

#[test]
fn an_mmengine_checkpoint_fills_every_variable() {
    let vs = tiny_vit();
    let report = weights::load(&vs, &config(&fixture("weights/mmengine.pth"))).unwrap();
    assert_eq!(report.recognised.convention.name, "mmpretrain_vit_sam");
    assert_eq!(report.loaded.len(), vs.variables().len());
    let expected = open("mmengine.safetensors");
    let got = &vs.variables()["backbone.blocks.1.mlp.lin1.weight"];
    assert!(got.equal(&expected.read("backbone.layers.1.ffn.layers.0.0.weight").unwrap()));
    assert!(got.requires_grad());
}

#[test]
fn what_does_not_fit_is_an_error_that_says_what() {
    let vs = model(&[
        ("backbone.pos_embed", &[1, 2, 2, 8]),
        ("backbone.patch_embed.proj.weight", &[8, 3, 16, 16]),
        ("backbone.neck.0.weight", &[4, 8, 1, 1]),
    ]);
    let mut config = config(&fixture("weights/mmengine.pth"));
    let error = weights::load(&vs, &config).unwrap_err().to_string();
    let said = [
        "missing in the file (1): backbone.neck.0.weight [4, 8, 1, 1]",
        "unexpected in the file (29)",
        "backbone.patch_embed.proj.weight: expected [8, 3, 16, 16], got [8, 3, 4, 4]",
        "allow_missing = [\"backbone.neck.0.weight\"]",
    ];
    assert_contains(&error, &said);
    assert!(
        vs.variables().values().all(|v| f64::try_from(v.abs().sum(Kind::Float)).unwrap() == 0.0)
    );

    config.allow_missing = vec!["backbone.neck.*".to_owned(), "nothing.*".to_owned()];
    config.allow_unexpected = vec!["backbone.*".to_owned()];
    config.allow_misshapen = vec!["*.proj.weight".to_owned()];
    let report = weights::load(&vs, &config).unwrap();
    assert_eq!(report.loaded.len(), 1);
    assert_eq!(report.allowed_misshapen.len(), 1);
    assert_eq!(report.unused.len(), 2, "the head");
    assert_eq!(report.warnings, ["allow_missing = [\"nothing.*\"] matches nothing"]);
}

#[test]
fn a_file_with_some_of_an_update_must_have_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let names = ["layer.weight", "layer.lora_A.weight", "layer.lora_B.weight"];
    let save = |count: usize| {
        let values = names[..count].iter().map(|name| ((*name).to_owned(), Tensor::from(1.0f32)));
        let values: Vec<_> = values.map(|(name, value)| (name, value.view([1]))).collect();
        weights::save_safetensors(&file, &values, &BTreeMap::new()).unwrap();
    };
    let mut config = config(&file);
    config.convention = Some("sonotune".to_owned());
    let vs = model(&names.map(|name| (name, &[1][..])));
    save(1);
    let report = weights::load(&vs, &config).unwrap();
    assert_eq!((report.loaded.len(), report.new.len()), (1, 2));
    assert!(report.summary().contains("new in this model 2 variables of LoRA"));
    save(2);
    let error = weights::load(&vs, &config).unwrap_err().to_string();
    assert!(error.contains("missing in the file (1): layer.lora_B.weight"), "{error}");
    save(3);
    assert_eq!(weights::load(&vs, &config).unwrap().loaded.len(), 3);

    // Ignored variables start at random, and need no other pattern.
    config.ignore = vec!["*.lora_*".to_owned(), "nothing.*".to_owned()];
    let report = weights::load(&vs, &config).unwrap();
    assert_eq!((report.ignored.len(), report.loaded.len()), (2, 1));
    assert_eq!(report.warnings, ["ignore = [\"nothing.*\"] matches nothing"]);
}

#[test]
fn variables_keep_their_number_format_and_the_cast_is_reported() {
    let path = tempfile::tempdir().unwrap();
    let file = path.path().join("half.safetensors");
    let values = Tensor::from_slice(&[0.1f32, -3.0]).to_kind(Kind::Half);
    weights::save_safetensors(&file, &[("x".to_owned(), values.shallow_clone())], &BTreeMap::new())
        .unwrap();
    let vs = model(&[("x", &[2])]);
    let mut config = config(&file);
    let error = weights::load(&vs, &config).unwrap_err().to_string();
    assert!(error.contains("follow no known naming convention"), "{error}");
    config.convention = Some("sonotune".to_owned());
    let report = weights::load(&vs, &config).unwrap();
    assert_eq!(report.cast.len(), 1);
    let x = &vs.variables()["x"];
    assert_eq!(x.kind(), Kind::Float);
    assert!(x.equal(&values.to_kind(Kind::Float)));
}

/// Variables of the reference's shapes under our names, filled from the reference's file.
fn assert_reference_loads(folder: &str, convention: &str, unused: &[&str]) {
    let Some(path) = shared(&format!("reference/{folder}/weights.safetensors")) else { return };
    let file = weights::open(&path).unwrap();
    let recognised = weights::keymap::recognise(&file, None).unwrap();
    assert_eq!(recognised.convention.name, convention);
    let vs = VarStore::new(Device::Cpu);
    let mut expected = BTreeMap::new();
    for entry in file.entries() {
        if unused.iter().any(|part| sonotune_base::pattern::matches(part, &entry.name)) {
            continue;
        }
        let weights::keymap::Place::Ours(pieces) = recognised.convention.to_ours(&entry.name)
        else {
            continue;
        };
        for weights::keymap::Piece { name, theirs, .. } in pieces {
            let mut tensor = file.read(&entry.name).unwrap();
            if let Some((first, count)) = theirs.and_then(|part| part.rows(entry.shape[0])) {
                tensor = tensor.narrow(0, first, count);
            }
            let (parent, last) = name.rsplit_once('.').unwrap();
            let path = parent.split('.').fold(vs.root(), |path, part| path / part);
            let _ = path.zeros(last, &tensor.size());
            expected.insert(name, tensor);
        }
    }
    let report = weights::load(&vs, &config(&path)).unwrap();
    assert_eq!(report.loaded.len(), expected.len());
    for (name, tensor) in vs.variables() {
        assert!(tensor.equal(&expected[&name]), "{name}");
    }
}

#[test]
fn parity_reference_checkpoints_load_by_name() {
    assert_reference_loads("segment_anything", "segment_anything", &[]);
    assert_reference_loads("ultrasam", "ultrasam", &["backbone.channel_reduction.*"]);
    assert_reference_loads("classification_vit", "mmpretrain_vit_sam", &[]);
    assert_reference_loads("classification_r50", "mmdet_resnet", &["head.*"]);
    assert_reference_loads("mask2former_vit", "mmpretrain_vit_sam", &[]);
    assert_reference_loads("mask2former_r50", "mmdet_resnet", &[]);
}
