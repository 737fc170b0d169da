//! What can be added to the pretrained blocks and trained instead of them: LoRA and adapters.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{
    Tensor,
    nn::{self, Init},
};

use super::{Freeze, fault};
use crate::nn::{
    Linear, conv_default,
    lora::{self, LoraPart, LoraSize},
};

/// The `lora` key: low-rank updates of linear layers (Hu et al. 2021), by default those that SAMed
/// (Zhang and Liu 2023) trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rank of each update.
    pub rank: i64,
    /// Updates are scaled by `alpha / rank`. If absent, as `rank`.
    pub alpha: Option<f64>,
    /// Layers with an update: `q`, `k`, `v` (thirds of `attn.qkv`), `proj` (`attn.proj`), `mlp` (both of its layers).
    pub targets: Vec<LoraTarget>,
}

/// Layers of a block that may have a low-rank update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoraTarget {
    /// The third of `attn.qkv` that computes the queries.
    Q,
    /// The third of `qkv` that computes the keys.
    K,
    /// The third of `qkv` that computes the values.
    V,
    /// `attn.proj`.
    Proj,
    /// The linear layers of the MLP.
    Mlp,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 4, alpha: None, targets: vec![LoraTarget::Q, LoraTarget::V] }
    }
}

impl LoraConfig {
    /// Rank and scale of each update.
    pub fn size(&self) -> LoraSize {
        LoraSize { rank: self.rank, alpha: self.alpha() }
    }

    fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(self.rank as f64)
    }

    /// Whether these layers have an update.
    pub fn has(&self, target: LoraTarget) -> bool {
        self.targets.contains(&target)
    }

    /// The chosen thirds of a qkv layer of `3 · embed_dim` rows.
    pub fn qkv_parts(&self, embed_dim: i64) -> Vec<LoraPart> {
        let thirds = [(LoraTarget::Q, "q"), (LoraTarget::K, "k"), (LoraTarget::V, "v")];
        let parts = thirds.into_iter().enumerate();
        parts
            .filter(|(_, (target, _))| self.has(*target))
            .map(|(index, (_, name))| LoraPart {
                name,
                first_row: index as i64 * embed_dim,
                rows: embed_dim,
            })
            .collect()
    }

    fn validate(&self, embed_dim: i64) -> Result<()> {
        if !(1..=embed_dim).contains(&self.rank) {
            return fault(format!(
                "backbone.lora.rank = {}: expected 1 to embed_dim = {embed_dim}",
                self.rank
            ));
        }
        if !self.alpha().is_finite() || self.alpha() <= 0.0 {
            return fault(format!(
                "backbone.lora.alpha = {}: expected a positive number",
                self.alpha()
            ));
        }
        if self.targets.is_empty() {
            return fault("backbone.lora.targets is empty: name at least one layer".into());
        }
        Ok(())
    }

    /// Adds all updates to the weights in `variables` and removes them; returns their number.
    ///
    /// # Errors
    /// When the variables are not those of this config.
    pub fn fold(&self, variables: &mut BTreeMap<String, Tensor>) -> Result<usize> {
        lora::fold(variables, self.alpha(), |layer, part, rows| self.part(layer, part, rows))
    }

    /// Same as [`fold`](Self::fold) for a qkv layer that has query, key and value of one head after those
    /// of another; `heads` gives their number by the layer's name.
    ///
    /// # Errors
    /// Same errors as [`fold`](Self::fold).
    pub fn fold_by_head(
        &self,
        variables: &mut BTreeMap<String, Tensor>,
        heads: impl Fn(&str) -> i64,
    ) -> Result<usize> {
        let of_qkv = |layer: &str| if layer.ends_with(QKV) { heads(layer) } else { 1 };
        lora::fold_by_head(variables, self.alpha(), of_qkv, |layer, part, rows| {
            self.part(layer, part, rows)
        })
    }

    /// A part of a layer, or of each head, with that many rows.
    fn part(&self, layer: &str, part: &str, rows: i64) -> Option<LoraPart> {
        match part {
            "" => Some(LoraPart { name: "", first_row: 0, rows }),
            part if layer.ends_with(QKV) => {
                self.qkv_parts(rows / 3).into_iter().find(|known| known.name == part)
            }
            _ => None,
        }
    }
}

/// How the path of a qkv layer ends.
const QKV: &str = ".attn.qkv";

/// Checks the `lora` and `adapter` keys of a backbone whose tokens have `embed_dim` channels.
///
/// # Errors
/// When a value is out of range, or when the backbone's own weights would train as well although only the
/// additions were meant to; names the key.
pub fn validate(
    freeze: &Freeze,
    lora: Option<&LoraConfig>,
    adapter: Option<&AdapterConfig>,
    embed_dim: i64,
) -> Result<()> {
    if let Some(lora) = lora {
        lora.validate(embed_dim)?;
    }
    if let Some(adapter) = adapter {
        adapter.validate(embed_dim)?;
    }
    let added = match (lora, adapter) {
        (Some(_), _) => "lora",
        (_, Some(_)) => "adapter",
        _ => return Ok(()),
    };
    // What was meant to train little would train every weight.
    if *freeze == Freeze::None {
        return fault(format!(
            "backbone.{added} is for a backbone whose own weights stay frozen, but freeze = \"none\" trains them all; set backbone.freeze = \"all\", or freeze = [] if both are to train"
        ));
    }
    Ok(())
}

/// The `adapter` key: bottlenecks in every block (Wu et al. 2023, "Medical SAM Adapter").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterConfig {
    /// Width of the bottlenecks as a share of the width of their block.
    pub ratio: f64,
    /// Factor on the bottleneck beside the MLP.
    pub scale: f64,
    /// Starts at the pretrained model; `false`: starts at random, like the published code.
    pub zero_init: bool,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self { ratio: 0.25, scale: 0.5, zero_init: true }
    }
}

impl AdapterConfig {
    fn hidden_dim(&self, embed_dim: i64) -> i64 {
        (embed_dim as f64 * self.ratio) as i64
    }

    fn validate(&self, embed_dim: i64) -> Result<()> {
        if !self.ratio.is_finite() || self.hidden_dim(embed_dim) < 1 {
            return fault(format!(
                "backbone.adapter.ratio = {}: its share of embed_dim = {embed_dim} must be at least 1",
                self.ratio
            ));
        }
        if !self.scale.is_finite() || self.scale == 0.0 {
            return fault(format!(
                "backbone.adapter.scale = {}: expected a number other than zero",
                self.scale
            ));
        }
        Ok(())
    }
}

/// The two adapters of a block, with upstream's names.
///
/// Upstream cuts a block's windows before its first norm, so that the tokens that pad windows
/// at the border hold that norm's bias; here they are zero, as in SAM, for which its weights were
/// trained.
#[derive(Debug)]
pub struct Adapters {
    /// After the attention, with a shortcut.
    space: Adapter,
    /// Beside the MLP.
    mlp: Adapter,
    scale: f64,
}

impl Adapters {
    /// Below `vs`, the path of the block.
    pub fn new(vs: &nn::Path, config: &AdapterConfig, embed_dim: i64) -> Self {
        let adapter = |name: &str| Adapter::new(&(vs / name), config, embed_dim);
        Self { space: adapter("Space_Adapter"), mlp: adapter("MLP_Adapter"), scale: config.scale }
    }

    /// The attention's output, adapted.
    pub fn after_attention(&self, x: Tensor) -> Tensor {
        let change = self.space.forward(&x);
        x + change
    }

    /// What to add to the MLP's output, for the MLP's input.
    pub fn beside_mlp(&self, x: &Tensor) -> Tensor {
        self.mlp.forward(x) * self.scale
    }
}

#[derive(Debug)]
struct Adapter {
    down: Linear,
    up: Linear,
}

impl Adapter {
    fn new(vs: &nn::Path, config: &AdapterConfig, embed_dim: i64) -> Self {
        let hidden_dim = config.hidden_dim(embed_dim);
        let last = if config.zero_init { Init::Const(0.0) } else { conv_default(hidden_dim) };
        let first = conv_default(embed_dim);
        Self {
            down: Linear::with_init(&(vs / "D_fc1"), embed_dim, hidden_dim, first),
            up: Linear::with_init(&(vs / "D_fc2"), hidden_dim, embed_dim, last),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.up.forward(&self.down.forward(x).gelu("none"))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, nn::VarStore, no_grad};

    use super::*;
    use crate::backbone::{Backbone, BackboneConfig, sam_vit::SamVitConfig};
    use sonotune_weights::addition;

    const TINY: &str = "embed_dim = 16\ndepth = 3\nnum_heads = 2\nwindow_size = 3\nglobal_attn_indexes = [1]\nimage_size = 64\nout_channels = 8\nfreeze = \"all\"\n";
    const ALL: &str =
        "lora = { rank = 2, alpha = 3.0, targets = [\"q\", \"k\", \"v\", \"proj\", \"mlp\"] }\n";

    fn build(extra: &str) -> (VarStore, Box<dyn Backbone>, SamVitConfig) {
        let config: SamVitConfig = toml::from_str(&(TINY.to_owned() + extra)).unwrap();
        let vs = VarStore::new(Device::Cpu);
        let encoder = config.build(&(vs.root() / "backbone")).unwrap();
        (vs, encoder, config)
    }

    fn images() -> Tensor {
        Tensor::randn([2, 3, 64, 64], (Kind::Float, Device::Cpu))
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
        for (_, mut variable) in
            vs.variables().into_iter().filter(|(name, _)| addition(name).is_some())
        {
            let drawn = Tensor::randn(variable.size(), (Kind::Float, Device::Cpu)) * 0.3;
            no_grad(|| variable.copy_(&drawn));
        }
    }

    #[test]
    fn training_begins_with_the_pretrained_model_and_moves_only_what_was_added() {
        let (base, encoder, _) = build("");
        let images = images();
        let expected = &encoder.forward(&images, false).unwrap()[0];
        let both = format!("{ALL}adapter = {{}}\n");
        for (extra, per_block) in
            [("lora = {}\n", 4), (ALL, 12), ("adapter = {}\n", 8), (&both, 20)]
        {
            let (vs, encoder, _) = build(extra);
            copy(&vs, &base);
            let got = &encoder.forward(&images, false).unwrap()[0];
            // Another test of this process may have chosen other kernels for attention in between.
            assert!(got.allclose(expected, 1e-4, 1e-5, false), "{extra}");
            let learns: Vec<String> = vs
                .variables()
                .into_iter()
                .filter(|(_, t)| t.requires_grad())
                .map(|v| v.0)
                .collect();
            assert_eq!(learns.len(), 3 * per_block, "{extra}");
            assert!(learns.iter().all(|name| addition(name).is_some()), "{learns:?}");
            train(&vs);
            let moved = &encoder.forward(&images, false).unwrap()[0];
            assert!(!moved.allclose(expected, 1e-2, 1e-2, false), "{extra}");
        }
    }

    #[test]
    fn names_are_those_of_peft_and_upstream() {
        let variables = build(&format!("{ALL}adapter = {{}}\n")).0.variables();
        for (name, shape) in [
            ("attn.qkv.lora_A.q.weight", vec![2, 16]),
            ("attn.qkv.lora_B.k.weight", vec![16, 2]),
            ("attn.proj.lora_A.weight", vec![2, 16]),
            ("mlp.lin1.lora_B.weight", vec![64, 2]),
            ("mlp.lin2.lora_A.weight", vec![2, 64]),
            ("Space_Adapter.D_fc1.weight", vec![4, 16]),
            ("MLP_Adapter.D_fc2.bias", vec![16]),
        ] {
            let name = format!("backbone.blocks.2.{name}");
            assert_eq!(variables[&name].size(), shape, "{name}");
        }
    }

    #[test]
    fn published_adapters_start_at_random() {
        let (vs, ..) = build("adapter = { zero_init = false }\n");
        let up = &vs.variables()["backbone.blocks.0.Space_Adapter.D_fc2.weight"];
        assert!(up.std(true).double_value(&[]) > 0.1);
    }

    #[test]
    fn the_adapters_are_upstream_s_formula() {
        let (vs, ..) = build("adapter = { scale = 0.5 }\n");
        train(&vs);
        let config = AdapterConfig::default();
        let again = VarStore::new(Device::Cpu);
        let adapters = Adapters::new(&(again.root() / "backbone" / "blocks" / 0), &config, 16);
        copy(&again, &vs);
        let x = Tensor::randn([5, 16], (Kind::Float, Device::Cpu));
        let variable = |name: &str| vs.variables()[&format!("backbone.blocks.0.{name}")].copy();
        let bottleneck = |name: &str| {
            let [w1, b1, w2, b2] = ["D_fc1.weight", "D_fc1.bias", "D_fc2.weight", "D_fc2.bias"]
                .map(|part| variable(&format!("{name}.{part}")));
            let hidden: Tensor = (x.matmul(&w1.tr()) + b1).gelu("none");
            hidden.matmul(&w2.tr()) + b2
        };
        let expected = &x + bottleneck("Space_Adapter");
        assert!(adapters.after_attention(x.copy()).allclose(&expected, 1e-5, 1e-6, false));
        let expected = bottleneck("MLP_Adapter") * 0.5;
        assert!(adapters.beside_mlp(&x).allclose(&expected, 1e-5, 1e-6, false));
    }

    #[test]
    fn merged_equals_unmerged() {
        let (vs, encoder, config) = build(ALL);
        train(&vs);
        let mut merged: BTreeMap<_, _> = vs.variables().into_iter().collect();
        assert_eq!(config.merge(&mut merged).unwrap(), 3 * 6);
        let (plain, plain_encoder, _) = build("");
        assert_eq!(merged.len(), plain.variables().len());
        for (name, mut variable) in plain.variables() {
            no_grad(|| variable.copy_(&merged[&name]));
        }
        let images = images();
        let expected = &encoder.forward(&images, false).unwrap()[0];
        let got = &plain_encoder.forward(&images, false).unwrap()[0];
        let difference = (got - expected).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{difference:.1e}");
    }

    #[test]
    fn checkpointing_changes_no_gradient() {
        let extra = format!("{ALL}adapter = {{}}\n");
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
        let with_gradient = plain.values().filter(|g| g.defined()).count();
        assert_eq!(with_gradient, 3 * 20);
        for (name, expected) in plain.iter().filter(|(_, g)| g.defined()) {
            assert!(expected.equal(&checkpointed[name]), "{name}");
        }
    }
}
