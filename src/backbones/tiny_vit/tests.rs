//! What trains, and what is added to the blocks.

use std::collections::BTreeMap;

use sonotune_weights::addition;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use super::TinyVitConfig;
use sonotune_engine::backbone::{Backbone, BackboneConfig};

const TINY: &str = "embed_dims = [8, 8, 16, 24]\ndepths = [1, 1, 2, 1]\nnum_heads = [1, 2, 2, 3]\nwindow_sizes = [3, 3, 3, 3]\nout_channels = 8\npatch_size = 1\n";
const LORA: &str = "freeze = \"all\"\nlora = { rank = 2, alpha = 3.0, targets = [\"q\", \"k\", \"v\", \"proj\", \"mlp\"] }\n";
const BLOCKS: usize = 4;

fn build(extra: &str) -> (VarStore, Box<dyn Backbone>, TinyVitConfig) {
    let config: TinyVitConfig = toml::from_str(&(TINY.to_owned() + extra)).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let encoder = config.build(&(vs.root() / "backbone")).unwrap();
    (vs, encoder, config)
}

fn images() -> Tensor {
    Tensor::rand([2, 3, 16, 16], (Kind::Float, Device::Cpu))
}

fn copy(to: &VarStore, from: &VarStore) {
    let from = from.variables();
    for (name, mut variable) in to.variables() {
        if let Some(value) = from.get(&name) {
            no_grad(|| variable.copy_(value));
        }
    }
}

/// Gives every added variable values as training might leave them.
fn train(vs: &VarStore) {
    for (_, mut variable) in vs.variables().into_iter().filter(|(name, _)| addition(name).is_some())
    {
        let drawn = Tensor::randn(variable.size(), (Kind::Float, Device::Cpu)) * 0.3;
        no_grad(|| variable.copy_(&drawn));
    }
}

#[test]
fn additions_start_as_the_pretrained_model_and_are_all_that_trains() {
    let (base, encoder, _) = build("");
    let images = images();
    let expected = &encoder.forward(&images, false).unwrap()[0];
    let both = format!("{LORA}adapter = {{}}\n");
    for (extra, per_block) in [
        ("freeze = \"all\"\nlora = {}\n", 4),
        (LORA, 12),
        ("freeze = \"all\"\nadapter = {}\n", 8),
        (&both, 20),
    ] {
        let (vs, encoder, _) = build(extra);
        copy(&vs, &base);
        let got = &encoder.forward(&images, true).unwrap()[0];
        // Another test of this process may have chosen other kernels for attention in between.
        assert!(got.allclose(expected, 1e-4, 1e-5, false), "{extra}");
        let learns = vs.variables().into_iter().filter(|(_, t)| t.requires_grad());
        let learns: Vec<String> = learns.map(|v| v.0).collect();
        assert_eq!(learns.len(), BLOCKS * per_block, "{extra}");
        assert!(learns.iter().all(|name| addition(name).is_some()), "{learns:?}");
        train(&vs);
        let moved = &encoder.forward(&images, false).unwrap()[0];
        assert!(!moved.allclose(expected, 1e-2, 1e-2, false), "{extra}");
    }
}

#[test]
fn merged_equals_unmerged_although_heads_alternate() {
    let (vs, encoder, config) = build(LORA);
    train(&vs);
    let mut merged: BTreeMap<_, _> = vs.variables().into_iter().collect();
    assert_eq!(config.merge(&mut merged).unwrap(), BLOCKS * 6);
    let (plain, plain_encoder, _) = build("");
    assert_eq!(merged.len(), plain.variables().len());
    for (name, mut variable) in plain.variables() {
        no_grad(|| variable.copy_(&merged[&name]));
    }
    let images = images();
    let expected = &encoder.forward(&images, false).unwrap()[0];
    let got = &plain_encoder.forward(&images, false).unwrap()[0];
    let largest = |t: Tensor| t.abs().max().double_value(&[]);
    let difference = largest(got - expected) / largest(expected.shallow_clone());
    assert!(difference < 1e-4, "{difference:.1e}");
}

#[test]
fn checkpointing_changes_no_gradient_of_an_addition() {
    let extra = format!("{LORA}adapter = {{}}\n");
    let images = images();
    let gradients = |vs: &VarStore, encoder: &dyn Backbone| {
        encoder.forward(&images, true).unwrap()[0].square().mean(Kind::Float).backward();
        vs.variables().into_iter().map(|(n, t)| (n, t.grad())).collect::<BTreeMap<_, _>>()
    };
    let (vs, encoder, _) = build(&extra);
    train(&vs);
    let plain = gradients(&vs, &*encoder);
    let (mut twin, encoder, _) = build(&format!("{extra}activation_checkpointing = true"));
    twin.copy(&vs).unwrap();
    let checkpointed = gradients(&twin, &*encoder);
    assert_eq!(plain.values().filter(|g| g.defined()).count(), BLOCKS * 20);
    for (name, expected) in plain.iter().filter(|(_, g)| g.defined()) {
        // Not bit for bit: gradients of maps come in another order of memory.
        assert!(expected.allclose(&checkpointed[name], 1e-4, 1e-6, false), "{name}");
    }
}

#[test]
fn freezing_takes_the_stem_and_the_first_stages() {
    let frozen = |extra: &str| -> Vec<String> {
        let (vs, ..) = build(extra);
        // Statistics of batch norms have no gradient anyway.
        let frozen = vs.variables().into_iter();
        let frozen = frozen.filter(|(name, t)| !t.requires_grad() && !name.contains("running_"));
        frozen.map(|(name, _)| name.replace("backbone.", "")).collect()
    };
    assert_eq!(frozen("").len(), 0);
    let names = frozen("freeze = 2");
    assert!(names.contains(&"patch_embed.seq.2.bn.bias".to_owned()), "{names:?}");
    assert!(names.contains(&"layers.1.downsample.conv1.c.weight".to_owned()), "{names:?}");
    let starts = ["patch_embed.", "layers.0.", "layers.1."];
    assert!(names.iter().all(|name| starts.iter().any(|start| name.starts_with(start))));
    assert_eq!(frozen("freeze = [\"*.attention_biases\"]").len(), BLOCKS);
}

#[test]
fn an_input_size_that_does_not_fit_is_refused_with_one_that_does() {
    let (_, encoder, _) = build("");
    let images = Tensor::zeros([1, 3, 18, 16], (Kind::Float, Device::Cpu));
    let message = encoder.forward(&images, false).unwrap_err().to_string();
    assert!(message.contains("18x16") && message.contains("20x16"), "{message}");
}
