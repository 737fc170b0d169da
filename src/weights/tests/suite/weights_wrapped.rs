//! Names that wrappers have changed, and files with several state dicts.

use std::collections::BTreeMap;

use sonotune_weights as weights;
use sonotune_weights::{ConvertOptions, Inspection, LoadReport, WeightsConfig};
use tch::{Device, Kind, Tensor, nn::VarStore};

use crate::{
    saved::{Saved, dict, save},
    weights::{config, tiny_vit},
};

/// The tiny ViT's names and shapes in a file of segment-anything.
pub(crate) fn sam() -> Vec<(String, Vec<i64>)> {
    let variables: BTreeMap<_, _> = tiny_vit().variables().into_iter().collect();
    let own = variables.into_iter().filter_map(|(name, variable)| {
        Some((format!("image_encoder.{}", name.strip_prefix("backbone.")?), variable.size()))
    });
    own.collect()
}

/// A state dict of the tiny ViT with all values `value`, and this before each name.
fn state_dict(prefix: &str, value: i64) -> Saved {
    let tensor = |(name, shape)| (format!("{prefix}{name}"), Saved::Tensor(shape, value));
    Saved::Dict(sam().into_iter().map(tensor).collect())
}

/// What `load` makes of a config that lets the head start at random.
fn load(mut config: WeightsConfig) -> Result<(VarStore, LoadReport), String> {
    config.allow_missing.push("head.*".to_owned());
    let vs = tiny_vit();
    let report = weights::load(&vs, &config).map_err(|error| format!("{error:#}"))?;
    Ok((vs, report))
}

/// The value that all of the backbone has.
fn value(vs: &VarStore) -> f64 {
    let mut values = vs.variables().into_iter().filter(|(name, _)| name.starts_with("backbone."));
    let (_, first) = values.next().unwrap();
    let first = first.max().double_value(&[]);
    assert!(values.all(|(_, v)| v.equal(&(v.ones_like() * first))));
    first
}

#[test]
fn prefixes_and_wrappers_come_off_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let fsdp = |name: &str| {
        let name = name.replace("encoder.", "encoder._fsdp_wrapped_module.");
        name.replace(".attn.", "._fsdp_wrapped_module._checkpoint_wrapped_module.attn.")
    };
    let inner = |part: &str| {
        let wrapped = format!("image_encoder.{part}.");
        move |name: &str| name.replace("image_encoder.", &wrapped)
    };
    type Wrap = Box<dyn Fn(&str) -> String>;
    let before = |prefix: &'static str| -> Wrap { Box::new(move |name| format!("{prefix}{name}")) };
    let cases: [(Wrap, &str, &[&str]); 14] = [
        (before(""), "", &[]),
        (before("module."), "module.", &[]),
        (before("_orig_mod."), "_orig_mod.", &[]),
        (before("module._orig_mod."), "module._orig_mod.", &[]),
        (before("_orig_mod.module."), "_orig_mod.module.", &[]),
        (before("sam."), "sam.", &[]),
        (before("model.net.module.model."), "model.net.module.model.", &[]),
        (before("backbone."), "backbone.", &[]),
        (before("module.encoder."), "module.encoder.", &[]),
        (before("_forward_module.model."), "_forward_module.model.", &[]),
        (
            Box::new(move |name| format!("module._orig_mod._fsdp_wrapped_module.{}", fsdp(name))),
            "module._orig_mod._fsdp_wrapped_module.",
            &["_fsdp_wrapped_module", "_checkpoint_wrapped_module"],
        ),
        (Box::new(inner("_orig_mod")), "", &["_orig_mod"]),
        (Box::new(inner("module")), "", &["module"]),
        (
            Box::new(move |name| format!("model.{}", inner("_orig_mod.module")(name))),
            "model.",
            &["_orig_mod", "module"],
        ),
    ];
    for (wrap, prefix, wrappers) in cases {
        let tensors: Vec<_> = sam()
            .into_iter()
            .map(|(name, shape)| (wrap(&name), Tensor::rand(shape, (Kind::Float, Device::Cpu))))
            .collect();
        weights::save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
        let (vs, report) = load(config(&path)).unwrap();
        let found = &report.recognised;
        assert_eq!((found.prefix.as_str(), found.wrappers.as_slice()), (prefix, wrappers));
        assert_eq!(found.convention.name, "segment_anything");
        assert_eq!(report.loaded.len(), tensors.len());
        let variables = vs.variables();
        for (key, tensor) in &tensors {
            let loaded = report.loaded.iter().find(|loaded| loaded.key == *key).unwrap();
            assert!(variables[&loaded.variable].equal(tensor), "{key}");
            assert_eq!(*key, wrap(&loaded.variable.replace("backbone.", "image_encoder.")));
        }
        let summary = report.summary();
        assert_eq!(summary.contains(&format!("prefix `{prefix}` taken off")), !prefix.is_empty());
        for wrapper in wrappers {
            assert!(summary.contains(&format!("`{wrapper}.` taken out of the names")), "{summary}");
        }

        // Converting translates the same names, also of a file that kept them.
        let kept = folder.path().join("kept.safetensors");
        let own = folder.path().join("own.safetensors");
        let mut options = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
        weights::convert(&path, &kept, &options).unwrap();
        options.to = Some("sonotune".to_owned());
        weights::convert(&kept, &own, &options).unwrap();
        assert_eq!(load(config(&own)).unwrap().1.loaded.len(), tensors.len());
    }
}

#[test]
fn the_encoder_alone_loads_under_any_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pth");
    for prefix in ["", "encoder.", "module.vit."] {
        let tensor = |(name, shape): (String, _)| {
            (name.replace("image_encoder.", prefix), Saved::Tensor(shape, 2))
        };
        save(&path, &Saved::Dict(sam().into_iter().map(tensor).collect()));
        let (vs, report) = load(config(&path)).unwrap();
        assert_eq!(report.recognised.convention.name, "sam_image_encoder");
        assert_eq!((value(&vs), report.recognised.prefix.as_str()), (2.0, prefix));
    }
}

#[test]
fn names_without_the_prefix_are_not_the_model_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pth");
    let with = |more: &[(&str, &[i64])]| {
        let Saved::Dict(mut items) = state_dict("model.", 1) else { unreachable!() };
        for (name, shape) in more {
            items.push(((*name).to_owned(), Saved::Tensor(shape.to_vec(), 2)));
        }
        save(&path, &dict([("state_dict", Saved::Dict(items)), ("epoch", Saved::Number(3))]));
    };
    // A loss buffer of Lightning.
    with(&[("criterion.weight", &[3])]);
    let error = load(config(&path)).err().unwrap();
    assert!(error.contains("unexpected in the file (1): criterion.weight [3]"), "{error}");
    let mut allowing = config(&path);
    allowing.allow_unexpected = vec!["criterion.weight".to_owned()];
    assert_eq!(value(&load(allowing).unwrap().0), 1.0);
    // It would fit, but only by accident.
    with(&[("image_encoder.blocks.0.norm1.bias", &[8])]);
    let error = load(config(&path)).err().unwrap();
    assert!(error.contains("unexpected in the file (1): image_encoder.blocks.0"), "{error}");
    with(&[("model._orig_mod.image_encoder.blocks.0.norm1.bias", &[8])]);
    let error = load(config(&path)).err().unwrap();
    assert!(error.contains("both `") && error.contains("norm1.bias`"), "{error}");
}

#[test]
fn the_choice_among_several_state_dicts_is_the_config_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pth");
    let other = || dict([("state", dict([("0", Saved::Tensor(vec![8], 3))]))]);
    let flat = |prefixes: [&str; 2]| {
        let items =
            prefixes.into_iter().zip([1, 2]).map(|(prefix, value)| state_dict(prefix, value));
        let items =
            items.filter_map(|part| if let Saved::Dict(items) = part { Some(items) } else { None });
        Saved::Dict(items.flatten().collect())
    };
    let [one, two] = [state_dict("", 1), state_dict("module.", 2)];
    for (object, paths) in [
        (dict([("model", one.clone()), ("ema", two.clone())]), ["model", "ema"]),
        (
            dict([("state_dict", one.clone()), ("state_dict_ema", two.clone())]),
            ["state_dict", "state_dict_ema"],
        ),
        (
            dict([
                ("optimizer", other()),
                ("state_dict", one.clone()),
                ("ema_state_dict", two.clone()),
            ]),
            ["state_dict", "ema_state_dict"],
        ),
        (
            dict([("model", one.clone()), ("averages", dict([("shadow", two.clone())]))]),
            ["model", "averages"],
        ),
        (dict([("teacher", one.clone()), ("student", two.clone())]), ["teacher", "student"]),
        (dict([("first", one.clone()), ("second", two.clone())]), ["first", "second.module"]),
        (flat(["student.", "teacher._orig_mod."]), ["student", "teacher._orig_mod"]),
        (
            dict([("state_dict", flat(["module.encoder_q.", "module.encoder_k."]))]),
            ["state_dict.module.encoder_q", "state_dict.module.encoder_k"],
        ),
    ] {
        save(&path, &object);
        let error = load(config(&path)).err().unwrap();
        assert!(error.contains("it holds 2 state dicts"), "{error}");
        let inspection = Inspection::of(&weights::open(&path).unwrap());
        assert!(inspection.words(false).contains("it holds 2 state dicts"));
        let convert = |state_dict: Option<&str>| {
            let options = ConvertOptions {
                state_dict: state_dict.map(str::to_owned),
                overwrite: true,
                ..ConvertOptions::default()
            };
            weights::convert(&path, &folder.path().join("out.pth"), &options)
        };
        assert!(convert(None).is_err());
        for (place, expected) in paths.into_iter().zip([1.0, 2.0]) {
            assert!(error.contains(&format!("`{place}`")), "{error}");
            for spelling in [place.to_owned(), format!("{place}.")] {
                let mut config = config(&path);
                config.state_dict = Some(spelling);
                let (vs, report) = load(config).unwrap();
                assert_eq!(value(&vs), expected, "{place}");
                assert!(report.state_dict.starts_with(place), "{}", report.state_dict);
            }
            convert(Some(place)).unwrap();
            assert_eq!(value(&load(config(&folder.path().join("out.pth"))).unwrap().0), expected);
        }
    }

    // One that fits needs no choice, whatever is beside it.
    for (object, place) in [
        (dict([("model", one.clone()), ("optimizer", other())]), "model"),
        (dict([("ema", one.clone()), ("optimizer_state", other())]), "ema"),
        (dict([("model_state", state_dict("sam.", 1)), ("decoder_state", other())]), "model_state"),
        (dict([("ema", dict([("module", one.clone())]))]), "ema.module"),
    ] {
        save(&path, &object);
        let (vs, report) = load(config(&path)).unwrap();
        assert_eq!((value(&vs), report.state_dict.as_str()), (1.0, place));
    }

    // The one that would be taken fits nothing: the message names the other, and it loads.
    save(&path, &dict([("model", other()), ("ema", one)]));
    let error = load(config(&path)).err().unwrap();
    assert!(error.contains("`ema` follows `segment_anything`"), "{error}");
    assert!(error.contains("state_dict = \"ema\""), "{error}");
    let mut choosing = config(&path);
    choosing.state_dict = Some("emma".to_owned());
    let error = load(choosing.clone()).err().unwrap();
    for words in ["state_dict = \"emma\"", "did you mean `ema`?", "model.* (1)"] {
        assert!(error.contains(words), "{words} not in {error}");
    }
    choosing.state_dict = Some("ema".to_owned());
    assert_eq!(value(&load(choosing).unwrap().0), 1.0);
}

#[test]
fn a_safetensors_file_has_state_dicts_by_the_start_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let copy = |prefix: &'static str, value: f64| {
        sam().into_iter().map(move |(name, shape)| {
            let tensor = Tensor::full(shape, value, (Kind::Float, Device::Cpu));
            (format!("{prefix}{name}"), tensor)
        })
    };
    let tensors: Vec<_> = copy("student.", 1.0).chain(copy("teacher.", 2.0)).collect();
    weights::save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let error = load(config(&path)).err().unwrap();
    assert!(error.contains("`student`, `teacher`"), "{error}");
    let mut choosing = config(&path);
    choosing.state_dict = Some("teacher".to_owned());
    assert_eq!(value(&load(choosing).unwrap().0), 2.0);

    // A part of the weights chooses for itself.
    let head = folder.path().join("head.pth");
    let fc = |value| {
        dict([
            ("head.fc.weight", Saved::Tensor(vec![3, 8], value)),
            ("head.fc.bias", Saved::Tensor(vec![3], value)),
        ])
    };
    save(&head, &dict([("model", fc(1)), ("ema", fc(2))]));
    let mut config = config(&path);
    config.state_dict = Some("student".to_owned());
    config.parts = vec![weights::WeightsPartConfig {
        path: head,
        variables: vec!["head.*".to_owned()],
        state_dict: Some("ema".to_owned()),
        convention: Some("sonotune".to_owned()),
        ignore: Vec::new(),
        allow_missing: Vec::new(),
        allow_unexpected: Vec::new(),
        allow_misshapen: Vec::new(),
    }];
    let vs = tiny_vit();
    weights::load(&vs, &config).unwrap();
    assert_eq!(value(&vs), 1.0);
    assert_eq!(vs.variables()["head.fc.bias"].double_value(&[0]), 2.0);
}

/// The names of `FSDP.state_dict_type(model, StateDictType.LOCAL_STATE_DICT)` and of `use_orig_params=False`.
#[test]
fn parameters_that_fsdp_has_flattened_are_named_with_the_way_to_save_them_whole() {
    let folder = tempfile::tempdir().unwrap();
    for flat in
        ["_fsdp_wrapped_module._flat_param", "image_encoder._fsdp_wrapped_module.flat_param"]
    {
        let path = folder.path().join("w.pth");
        let mut tensors: Vec<_> = sam().into_iter().take(2).collect();
        tensors.push((flat.to_owned(), vec![8]));
        let tensors = tensors.into_iter().map(|(name, shape)| (name, Saved::Tensor(shape, 1)));
        save(&path, &dict([("model", Saved::Dict(tensors.collect()))]));
        let named = WeightsConfig { convention: Some("segment_anything".into()), ..config(&path) };
        for config in [config(&path), named] {
            let error = load(config).unwrap_err();
            assert!(error.contains(&format!("1 of 3 tensors, such as `{flat}`")), "{error}");
            assert!(error.contains("full_state_dict=True"), "{error}");
        }
        let inspected = Inspection::of(&weights::open(&path).unwrap());
        assert!(inspected.convention.is_none());
        assert!(inspected.words(true).contains("FSDP has flattened"), "{}", inspected.words(true));
    }
}
