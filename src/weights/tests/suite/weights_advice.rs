//! Whatever a message about weights advises is done, and works.

use std::{collections::BTreeMap, path::Path};

use sonotune_weights as weights;
use sonotune_weights::WeightsConfig;
use tch::{Device, IndexOp, Kind, Tensor, nn::VarStore};

use crate::{
    weights::{config, model, tiny_vit},
    weights_wrapped::sam,
};

type Named = Vec<(String, Tensor)>;

/// Sonotune's own names of the tiny ViT, in a file.
fn own() -> Named {
    let variables: BTreeMap<_, _> = tiny_vit().variables().into_iter().collect();
    variables.into_iter().map(|(name, value)| (name, value.ones_like())).collect()
}

fn save(path: &Path, tensors: &[(String, Tensor)]) -> WeightsConfig {
    weights::save_safetensors(path, tensors, &BTreeMap::new()).unwrap();
    config(path)
}

/// Adds the lines of the config that a message advises.
fn obey(message: &str, config: &mut WeightsConfig) -> usize {
    let mut lines = 0;
    for advice in message.split("[weights] ").skip(1) {
        let Some((key, value)) = advice.split_once(" = ") else { continue };
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<serde_json::Value>();
        let value = values.next().unwrap().unwrap();
        let list = || serde_json::from_value::<Vec<String>>(value.clone()).unwrap();
        match key {
            "allow_missing" => config.allow_missing.extend(list()),
            "allow_unexpected" => config.allow_unexpected.extend(list()),
            "allow_misshapen" => config.allow_misshapen.extend(list()),
            "ignore" => config.ignore.extend(list()),
            "state_dict" => config.state_dict = value.as_str().map(str::to_owned),
            other => panic!("{other}: {message}"),
        }
        lines += 1;
    }
    lines
}

fn zeros(shape: &[i64]) -> Tensor {
    Tensor::zeros(shape, (Kind::Float, Device::Cpu))
}

/// Loads, is refused, obeys, and loads. Returns the message.
#[track_caller]
fn obeyed(vs: &VarStore, mut config: WeightsConfig) -> String {
    let message = weights::load(vs, &config).unwrap_err().to_string();
    assert!(obey(&message, &mut config) > 0, "no advice in {message}");
    weights::load(vs, &config).unwrap();
    message
}

#[test]
fn lines_that_allow_a_difference_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let without = |part: &str| -> Named {
        own().into_iter().filter(|(name, _)| !name.contains(part)).collect()
    };
    let with = |name: &str, shape: &[i64]| -> Named {
        let mut tensors = without(name);
        tensors.push((name.to_owned(), zeros(shape)));
        tensors
    };
    for (tensors, advice) in [
        (without("head."), "allow_missing = [\"head.fc.*\"]"),
        (without("rel_pos_h"), "allow_missing = [\"backbone.blocks.*.attn.rel_pos_h\"]"),
        (
            without("blocks.1.attn.qkv.bias"),
            "allow_missing = [\"backbone.blocks.1.attn.qkv.bias\"]",
        ),
        (with("backbone.cls_token", &[1]), "allow_unexpected = [\"backbone.cls_token\"]"),
        (with("head.fc.weight", &[5, 8]), "allow_misshapen = [\"head.fc.weight\"]"),
        (
            with("backbone.patch_embed.proj.weight", &[8, 1, 4, 4]),
            "allow_misshapen = [\"backbone.patch_embed.proj.weight\"]",
        ),
    ] {
        let message = obeyed(&tiny_vit(), save(&path, &tensors));
        assert!(message.contains(advice), "{advice} not in {message}");
    }
    // Names under a prefix, in a convention that says nothing about them.
    let renamed: Named = own()
        .into_iter()
        .map(|(name, tensor)| (format!("net.{}", name.replace("blocks", "stages")), tensor))
        .collect();
    let names: Vec<_> =
        renamed.iter().map(|(n, t)| (n.replacen("net.", "", 1), t.size())).collect();
    let names: Vec<_> = names.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
    let mut config = save(&path, &renamed);
    config.convention = Some("sonotune".to_owned());
    let message = weights::load(&model(&names), &config).unwrap_err().to_string();
    assert!(message.contains("prefix `net.`; to take it off: [weights] state_dict = \"net\""));
    config.state_dict = Some("net".to_owned());
    weights::load(&model(&names), &config).unwrap();
}

#[test]
fn no_line_allows_another_backbone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let deeper = |blocks: &[&str]| -> Named {
        let more = own().into_iter().flat_map(|(name, tensor)| {
            let more = blocks.iter().map(|block| (name.replace("blocks.1.", block), tensor.copy()));
            more.collect::<Vec<_>>()
        });
        more.collect::<BTreeMap<_, _>>().into_iter().collect()
    };
    let wider = own().into_iter().map(|(name, tensor)| {
        let shape: Vec<i64> = tensor.size().iter().map(|n| n * 2).collect();
        let changes = name.starts_with("backbone.");
        (name, if changes { zeros(&shape) } else { tensor })
    });
    let only = |part: &str| -> Named {
        own().into_iter().filter(|(name, _)| name.starts_with(part)).collect()
    };
    for (tensors, convention) in [
        (only("head."), Some("sonotune")),
        (only("backbone.p"), Some("sonotune")),
        (wider.collect(), None),
        (deeper(&["blocks.1.", "blocks.2."]), None),
        (own().into_iter().filter(|(name, _)| !name.contains("blocks.1.")).collect(), None),
    ] {
        let mut config = save(&path, &tensors);
        config.convention = convention.map(str::to_owned);
        let message = weights::load(&tiny_vit(), &config).unwrap_err().to_string();
        assert!(message.contains("this is not the backbone of the config"), "{message}");
        for line in message.lines().filter(|line| line.contains("allow it")) {
            assert!(!line.contains("backbone"), "{message}");
        }
    }
}

#[test]
fn values_that_are_not_finite_are_named_before_anything_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let qkv = "image_encoder.blocks.1.attn.qkv.weight";
    let file = |key: &str, bad: &dyn Fn(&Tensor) -> Tensor| -> Named {
        let tensors = sam().into_iter().map(|(name, shape)| {
            let values = zeros(&shape) + 1;
            let values = if name.contains(key) { bad(&values) } else { values };
            (name, values)
        });
        tensors.collect()
    };
    let at = |value: f64| {
        move |values: &Tensor| {
            let changed = values.to_kind(Kind::Double);
            let _ = changed.i((3, 5)).fill_(value);
            let _ = changed.i((4, 0)).fill_(value);
            changed.shallow_clone()
        }
    };
    let nan = at(f64::NAN);
    let single = |values: &Tensor| nan(values).to_kind(Kind::Float);
    type Spoil<'a> = &'a dyn Fn(&Tensor) -> Tensor;
    let cases: [(Spoil, &str); 4] = [
        (&single, "holds 2 values that are not finite, the first at [3, 5]: NaN"),
        (&at(f64::NEG_INFINITY), "first at [3, 5]: -inf"),
        (&at(1e300), "not finite as Float, the first at [3, 5]: 1e300"),
        (&|values| at(f64::INFINITY)(values).to_kind(Kind::Half), "first at [3, 5]: inf"),
    ];
    for (bad, words) in cases {
        let mut config = save(&path, &file(qkv, bad));
        config.allow_missing = vec!["head.*".to_owned()];
        let vs = tiny_vit();
        let error = weights::load(&vs, &config).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 4);
        let message = error.to_string();
        for words in ["w.safetensors: `", qkv, "[24, 8]", words] {
            assert!(message.contains(words), "{words} not in {message}");
        }
        assert!(vs.variables().values().all(|v| v.abs().sum(Kind::Float).double_value(&[]) == 0.0));
        let message = obeyed(&vs, config);
        assert!(message.contains("ignore = [\"backbone.blocks.1.attn.qkv.weight\"]"), "{message}");
    }
    // A whole model of NaN has no remedy but another file; what is not loaded may hold anything.
    let mut config = save(&path, &file("", &|values| values * f64::NAN));
    config.allow_missing = vec!["head.*".to_owned()];
    let message = weights::load(&tiny_vit(), &config).unwrap_err().to_string();
    assert!(message.contains("another copy") && !message.contains("ignore"), "{message}");
    let mut unused = file("none", &|values| values.copy());
    unused.push(("mask_decoder.iou_token.weight".to_owned(), zeros(&[2]) * f64::NAN));
    config = save(&path, &unused);
    config.allow_missing = vec!["head.*".to_owned()];
    assert_eq!(weights::load(&tiny_vit(), &config).unwrap().unused.len(), 1);
}
