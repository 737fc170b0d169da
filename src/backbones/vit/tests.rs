//! What is added to the blocks, and how they are computed again.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use super::VitConfig;
use sonotune_engine::backbone::{Backbone, BackboneConfig};
use sonotune_weights::addition;

const TINY: &str = "embed_dim = 16\ndepth = 2\nnum_heads = 2\npatch_size = 8\nimage_size = 32\n";
const VARIANTS: [&str; 4] = [
    "variant = \"dinov3\"\nmlp = \"swiglu\"\n",
    "variant = \"dinov2\"\nnum_register_tokens = 2\n",
    "variant = \"beit\"\nrel_pos_bias = \"shared\"\n",
    "variant = \"clip\"\nmlp = \"quick_gelu\"\n",
];
const ALL: &str = "freeze = \"all\"\nlora = { rank = 2, alpha = 3.0, targets = [\"q\", \"k\", \"v\", \"proj\", \"mlp\"] }\n";

fn build(extra: &str) -> (VarStore, Box<dyn Backbone>, VitConfig) {
    let config: VitConfig = toml::from_str(&format!("{TINY}{extra}")).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let backbone = config.build(&(vs.root() / "backbone")).unwrap();
    (vs, backbone, config)
}

fn images() -> Tensor {
    Tensor::randn([2, 3, 32, 48], (Kind::Float, Device::Cpu))
}

fn copy(to: &VarStore, from: &BTreeMap<String, Tensor>) {
    for (name, mut variable) in to.variables() {
        if let Some(value) = from.get(&name) {
            no_grad(|| variable.copy_(value));
        }
    }
}

/// Gives trained variables values as training might leave them.
fn train(vs: &VarStore) {
    for (_, mut variable) in vs.variables() {
        if variable.requires_grad() {
            let drawn = Tensor::randn(variable.size(), (Kind::Float, Device::Cpu)) * 0.3;
            no_grad(|| variable.copy_(&drawn));
        }
    }
}

fn map(vs: &VarStore) -> BTreeMap<String, Tensor> {
    vs.variables().into_iter().collect()
}

#[test]
fn lora_and_adapters_start_as_nothing_and_lora_can_be_merged() {
    let images = images();
    for variant in VARIANTS {
        let (base, backbone, _) = build(variant);
        train(&base);
        let expected = &backbone.forward(&images, false).unwrap()[0];
        for (keys, count) in [(ALL, 24), ("freeze = \"all\"\nadapter = {}\n", 16)] {
            let (vs, backbone, config) = build(&format!("{variant}{keys}"));
            copy(&vs, &map(&base));
            let got = &backbone.forward(&images, false).unwrap()[0];
            // Another test of this process may have chosen other kernels for attention in between.
            assert!(got.allclose(expected, 1e-4, 1e-5, false), "{variant}{keys}");
            let learns = map(&vs).into_iter().filter(|(_, t)| t.requires_grad());
            let learns: Vec<String> = learns.map(|(name, _)| name).collect();
            assert_eq!(learns.len(), count, "{learns:?}");
            assert!(learns.iter().all(|name| addition(name).is_some()), "{learns:?}");
            train(&vs);
            let moved = &backbone.forward(&images, false).unwrap()[0];
            assert!(!moved.allclose(expected, 1e-2, 1e-2, false), "{variant}{keys}");
            if keys == ALL {
                let mut merged = map(&vs);
                assert_eq!(config.merge(&mut merged).unwrap(), 2 * 6);
                let (plain, backbone, _) = build(variant);
                assert_eq!(merged.len(), plain.variables().len());
                copy(&plain, &merged);
                let got = &backbone.forward(&images, false).unwrap()[0];
                assert!(got.allclose(moved, 1e-4, 1e-5, false), "{variant}");
            }
        }
    }
}

#[test]
fn checkpointing_changes_no_gradient() {
    let images = images();
    for variant in VARIANTS {
        for keys in ["", "freeze = 1\n", "freeze = \"all\"\nadapter = {}\n"] {
            let gradients = |vs: &VarStore, backbone: &dyn Backbone| {
                backbone.forward(&images, true).unwrap()[0].square().mean(Kind::Float).backward();
                vs.variables().into_iter().map(|(n, t)| (n, t.grad())).collect::<BTreeMap<_, _>>()
            };
            let (vs, backbone, _) = build(&format!("{variant}{keys}"));
            train(&vs);
            let plain = gradients(&vs, &*backbone);
            let (twin, backbone, _) =
                build(&format!("{variant}{keys}activation_checkpointing = true\n"));
            copy(&twin, &map(&vs));
            let checkpointed = gradients(&twin, &*backbone);
            assert!(plain.values().filter(|gradient| gradient.defined()).count() >= 14);
            for (name, expected) in &plain {
                let got = &checkpointed[name];
                assert_eq!(expected.defined(), got.defined(), "{variant}{keys}{name}");
                // A bias that is trained has another kernel than one that is not: the first forward
                // of a checkpointed block has no gradient.
                let rounded = variant.contains("beit");
                let same = !expected.defined()
                    || expected.equal(got)
                    || rounded && expected.allclose(got, 1e-4, 1e-6, false);
                assert!(same, "{variant}{keys}{name}");
            }
        }
    }
}

#[test]
fn freezing_takes_the_stem_and_the_first_blocks() {
    let frozen = |keys: &str| -> Vec<String> {
        let vs = build(&format!("{}{keys}", VARIANTS[2])).0;
        let frozen = map(&vs).into_iter().filter(|(_, t)| !t.requires_grad());
        frozen.map(|(name, _)| name.trim_start_matches("backbone.").to_owned()).collect()
    };
    assert!(frozen("").is_empty());
    let names = frozen("freeze = 1\n");
    assert!(names.iter().any(|name| name == "rel_pos_bias.relative_position_bias_table"));
    assert!(names.iter().any(|name| name == "blocks.0.attn.q_bias"));
    assert!(!names.iter().any(|name| name.starts_with("blocks.1")));
    // The mask of DINOv3's bias is never trained.
    let vs = build(VARIANTS[0]).0;
    let mask = &vs.variables()["backbone.blocks.1.attn.qkv.bias_mask"];
    assert!(!mask.requires_grad());
    assert_eq!(mask.sum(Kind::Float).double_value(&[]), 32.0);
}

#[test]
fn bf16_keeps_the_residual_stream_in_fp32() {
    for variant in VARIANTS {
        let (_vs, backbone, _) = build(variant);
        let images = images();
        let exact = &no_grad(|| backbone.forward(&images, false)).unwrap()[0];
        let scope = sonotune_engine::device::autocast(
            sonotune_engine::device::Precision::Bf16,
            Device::Cpu,
        )
        .unwrap();
        let level = &no_grad(|| backbone.forward(&images, false)).unwrap()[0];
        drop(scope);
        assert_eq!(level.kind(), Kind::Float, "{variant}");
        let difference = (level - exact).abs().max().double_value(&[]);
        let largest = exact.abs().max().double_value(&[]);
        assert!(difference < 0.05 * largest, "{variant}: {difference} of {largest}");
    }
}

#[test]
fn an_odd_input_size_is_refused_with_one_that_fits() {
    let (_vs, backbone, _) = build("");
    let images = Tensor::zeros([1, 3, 60, 70], (Kind::Float, Device::Cpu));
    let message = backbone.forward(&images, false).unwrap_err().to_string();
    assert!(message.contains("60x70") && message.contains("64x72"), "{message}");
}
