//! Reads reference folders and loads their weights into a backbone.

use std::{collections::HashMap, path::Path};

use serde_json::Value;
use sonotune_engine::backbone::{Backbone, BackboneConfig};
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

pub type Tensors = HashMap<String, Tensor>;

/// `weights.safetensors`, `io.safetensors` and `io.json` of one reference folder.
pub struct Reference {
    pub weights: Tensors,
    pub io: Tensors,
    pub json: Value,
}

impl Reference {
    pub fn read(folder: &Path) -> Self {
        Self {
            weights: read(&folder.join("weights.safetensors")),
            io: read(&folder.join("io.safetensors")),
            json: read_json(&folder.join("io.json")),
        }
    }

    /// The folder's backbone table as in a config, with `extra` keys on top.
    pub fn config(&self, extra: Value) -> Box<dyn BackboneConfig> {
        let mut table = self.json["config"]["backbone"].clone();
        let keys = table.as_object_mut().unwrap();
        if let Some(size) = keys.remove("img_size") {
            keys.insert("image_size".into(), size);
        }
        keys.extend(extra.as_object().unwrap().clone());
        serde_json::from_value(table).unwrap()
    }

    /// 2-norms of gradients, by the reference's names; `None` where it computed none.
    pub fn gradient_norms(&self, key: &str) -> HashMap<String, Option<f64>> {
        let norms = self.json[key].as_object().unwrap();
        norms.iter().map(|(name, norm)| (name.clone(), norm.as_f64())).collect()
    }
}

pub fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

pub fn read(file: &Path) -> Tensors {
    Tensor::read_safetensors(file).unwrap().into_iter().collect()
}

/// Builds the backbone and gives it the reference's weights; every variable must be found.
pub fn build(
    config: &dyn BackboneConfig,
    weights: &Tensors,
    upstream_name: impl Fn(&str) -> String,
) -> (VarStore, Box<dyn Backbone>) {
    let vs = VarStore::new(Device::Cpu);
    let backbone = config.build(&vs.root()).unwrap();
    load(&vs, weights, upstream_name);
    (vs, backbone)
}

/// Copies the reference's weights into `vs`.
pub fn load(vs: &VarStore, weights: &Tensors, upstream_name: impl Fn(&str) -> String) {
    for (name, mut variable) in vs.variables() {
        let key = upstream_name(&name);
        let value = weights.get(&key).unwrap_or_else(|| panic!("{name}: no {key}"));
        assert_eq!(variable.size(), value.size(), "{name}");
        no_grad(|| variable.copy_(value));
    }
}

/// Name of a `sam_vit` variable in mmdet and mmpretrain.
pub fn mm_vit_name(name: &str) -> String {
    let name = name.replace("patch_embed.proj", "patch_embed.projection");
    let name = name.replace("blocks.", "layers.").replace("neck.", "channel_reduction.");
    let name = name.replace("norm1", "ln1").replace("norm2", "ln2");
    let name = name.replace("mlp.lin1", "ffn.layers.0.0").replace("mlp.lin2", "ffn.layers.1");
    format!("backbone.{name}")
}

/// Largest difference, relative to the largest expected magnitude.
pub fn relative_difference(got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(got.size(), expected.size());
    let expected = expected.to_kind(Kind::Double);
    let difference = (got.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
    difference / expected.abs().max().double_value(&[]).max(f64::MIN_POSITIVE)
}

#[track_caller]
pub fn assert_close(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    let difference = relative_difference(got, expected);
    assert!(difference < tolerance, "{what}: off by {difference:.1e}, allowed {tolerance:.0e}");
}

/// Checks every gradient of `vs` against the reference's 2-norms, zero for those it lacks.
#[track_caller]
pub fn assert_gradient_norms(
    vs: &VarStore,
    norms: &HashMap<String, Option<f64>>,
    upstream_name: impl Fn(&str) -> String,
    tolerance: f64,
) {
    let mut checked = 0;
    for (name, variable) in vs.variables() {
        let Some(expected) = norms.get(&upstream_name(&name)) else {
            assert!(!variable.requires_grad(), "{name} learns, but not in the reference");
            continue;
        };
        checked += 1;
        let gradient = variable.grad();
        match expected {
            None => assert!(!gradient.defined(), "{name}: has a gradient, the reference none"),
            Some(expected) => {
                assert!(gradient.defined(), "{name}: no gradient");
                let got = gradient.norm().double_value(&[]);
                // A bias before a softmax has a gradient of zero up to rounding.
                let allowed = tolerance * expected.max(1e-4);
                assert!(
                    (got - expected).abs() < allowed,
                    "{name}: norm {got}, expected {expected}"
                );
            }
        }
    }
    assert!(checked > 10, "only {checked} gradients compared");
}
