//! Low-rank updates of a linear layer (Hu et al. 2021, "LoRA").
//!
//! `y = x Wᵀ + b + (alpha / rank) · x Aᵀ Bᵀ`, with `A` drawn at random and `B` zero at the start, so
//! that the layer starts unchanged.

use crate::nn::Dims;
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tch::{Tensor, nn, no_grad};

use super::init::conv_default;
use sonotune_base::Error;

/// Sizes of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoraSize {
    pub rank: i64,
    pub alpha: f64,
}

/// Rows of a layer's output that have their own update; of each head's rows if the layer has heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoraPart {
    /// Part of the variables' names; empty if the update covers the whole layer.
    pub name: &'static str,
    pub first_row: i64,
    pub rows: i64,
}

/// The update of one layer.
#[derive(Debug)]
pub struct Lora {
    parts: Vec<(LoraPart, Factors)>,
    scale: f64,
    out_features: i64,
    /// Equal runs of rows, each with the same parts.
    heads: i64,
}

#[derive(Debug)]
struct Factors {
    /// `[rank, in]`.
    a: Tensor,
    /// `[rows, rank]`.
    b: Tensor,
}

impl Lora {
    /// Creates `lora_A.NAME.weight` and `lora_B.NAME.weight` below `vs`, the path of the layer;
    /// without the `NAME.` if a part's name is empty. `A` starts as PyTorch initialises a linear
    /// layer, as in the published code. With `heads`, the layer's rows are as many equal runs, `parts`
    /// are those of each run, and `B` has their rows head after head.
    pub fn new(
        vs: &nn::Path,
        size: LoraSize,
        (parts, heads): (&[LoraPart], i64),
        (in_features, out_features): (i64, i64),
    ) -> Self {
        let factors = |part: &LoraPart| {
            let path = |matrix: &str| match part.name {
                "" => vs / matrix,
                name => vs / matrix / name,
            };
            let a = [size.rank, in_features];
            Factors {
                a: path("lora_A").var("weight", &a, conv_default(in_features)),
                b: path("lora_B").zeros("weight", &[heads * part.rows, size.rank]),
            }
        };
        Self {
            parts: parts.iter().map(|part| (*part, factors(part))).collect(),
            scale: size.alpha / size.rank as f64,
            out_features,
            heads,
        }
    }

    /// `y + scale · x Aᵀ Bᵀ`, for `[..., in]` and `[..., out]`.
    ///
    /// A path beside the weight, not folded into it: in fp32 both take the same time (folding
    /// costs backward the whole weight's gradient), and in 16 bits a sum of weight and update
    /// would round most of the update away. All parts are one product, which writes each
    /// value of `y` once.
    pub fn add_to(&self, y: &Tensor, x: &Tensor) -> Tensor {
        let a: Vec<&Tensor> = self.parts.iter().map(|(_, factors)| &factors.a).collect();
        let a = Tensor::cat(&a, 0);
        let low = x.linear(&a, None::<Tensor>);
        let flat = |t: &Tensor| t.reshape([-1, t.size().last().copied().unwrap_or(1)]);
        flat(y).addmm(&flat(&low), &self.spread().tr()).view(y.size().as_slice())
    }

    /// `scale · B` of all parts, `[out, parts · rank]`: each in its rows and columns.
    fn spread(&self) -> Tensor {
        let (count, period) = (self.parts.len() as i64, self.out_features / self.heads);
        let columns = self.parts.iter().enumerate().map(|(index, (part, factors))| {
            let [_, rank] = factors.b.dims();
            let (left, right) = (index as i64 * rank, (count - 1 - index as i64) * rank);
            let (above, below) = (part.first_row, period - part.first_row - part.rows);
            let by_head = factors.b.view([self.heads, part.rows, rank]);
            by_head.constant_pad_nd([left, right, above, below]).flatten(0, 1)
        });
        let sum = columns.reduce(|sum, part| sum + part).unwrap_or_default();
        sum * self.scale
    }
}

/// Adds the updates in `variables` to the weights they belong to, and removes them: what is left is
/// the model without LoRA, equal except for rounding.
///
/// `parts` gives the rows of a part by the layer's and the part's names, as the model was built.
///
/// # Errors
/// When an update has no weight, or one of another shape.
pub(crate) fn fold(
    variables: &mut BTreeMap<String, Tensor>,
    alpha: f64,
    parts: impl Fn(&str, &str, i64) -> Option<LoraPart>,
) -> Result<usize> {
    fold_by_head(variables, alpha, |_| 1, parts)
}

/// Same as [`fold`] for layers whose rows are in `heads` equal runs, by the layer's name; `parts` are
/// those of a run, of which it gets the number of rows.
///
/// # Errors
/// Same errors as [`fold`].
pub(crate) fn fold_by_head(
    variables: &mut BTreeMap<String, Tensor>,
    alpha: f64,
    heads: impl Fn(&str) -> i64,
    parts: impl Fn(&str, &str, i64) -> Option<LoraPart>,
) -> Result<usize> {
    let updates: Vec<String> = variables.keys().filter(|name| name.contains(A)).cloned().collect();
    for name in &updates {
        let broken = || {
            Error::weights(format!("`{name}` has no matching lora_B or layer in the checkpoint"))
        };
        let (layer, rest) = name.split_once(A).ok_or_else(broken)?;
        let part = rest.strip_suffix("weight").unwrap_or(rest).trim_end_matches('.');
        let (weight, b) = (format!("{layer}.weight"), name.replacen(A, B, 1));
        let a = variables.remove(name).ok_or_else(broken)?;
        let b = variables.remove(&b).ok_or_else(broken)?;
        let stored = variables.get_mut(&weight).ok_or_else(broken)?;
        let (rank, _) = a.size2()?;
        let (out_features, in_features) = stored.size2()?;
        let heads = heads(layer);
        let rows = parts(layer, part, out_features / heads)
            .with_context(|| format!("`{name}`: the config's backbone.lora has no such target"))?;
        *stored = no_grad(|| -> Result<Tensor> {
            let sum = stored.copy();
            let update = (b.f_matmul(&a)? * (alpha / rank as f64)).to_kind(sum.kind());
            let by_head = |t: &Tensor| t.f_view([heads, -1, in_features]);
            let _ = by_head(&sum)?
                .f_narrow(1, rows.first_row, rows.rows)?
                .f_add_(&by_head(&update)?)?;
            Ok(sum)
        })?;
    }
    Ok(updates.len())
}

const A: &str = ".lora_A.";
const B: &str = ".lora_B.";

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, nn::VarStore};

    use super::*;
    use crate::nn::Linear;

    const PARTS: [LoraPart; 2] = [
        LoraPart { name: "q", first_row: 0, rows: 6 },
        LoraPart { name: "v", first_row: 12, rows: 6 },
    ];

    fn layer() -> (VarStore, Linear) {
        tch::manual_seed(3);
        let vs = VarStore::new(Device::Cpu);
        let mut layer = Linear::new(&(vs.root() / "qkv"), 6, 18);
        let size = LoraSize { rank: 2, alpha: 3.0 };
        layer.add_lora(&(vs.root() / "qkv"), size, &PARTS);
        (vs, layer)
    }

    #[test]
    fn it_starts_as_nothing_and_then_is_the_definition() {
        let (vs, layer) = layer();
        let variables = vs.variables();
        let x = Tensor::randn([2, 5, 6], (Kind::Float, Device::Cpu));
        let plain = x.matmul(&variables["qkv.weight"].tr());
        assert!(layer.forward(&x).allclose(&plain, 0.0, 1e-6, false));
        for part in ["q", "v"] {
            let mut b = variables[&format!("qkv.lora_B.{part}.weight")].shallow_clone();
            let drawn = Tensor::randn(b.size(), (Kind::Float, Device::Cpu));
            no_grad(|| b.copy_(&drawn));
        }
        let update = |part: &str| {
            let [a, b] = ["A", "B"].map(|m| &variables[&format!("qkv.lora_{m}.{part}.weight")]);
            x.matmul(&a.tr()).matmul(&b.tr()) * 1.5
        };
        let zeros = Tensor::zeros([2, 5, 6], (Kind::Float, Device::Cpu));
        let expected = plain + Tensor::cat(&[update("q"), zeros, update("v")], -1);
        assert!(layer.forward(&x).allclose(&expected, 1e-5, 1e-6, false));

        let mut folded: BTreeMap<_, _> = vs.variables().into_iter().collect();
        let parts = |_: &str, name: &str, _| PARTS.iter().find(|p| p.name == name).copied();
        assert_eq!(fold(&mut folded, 3.0, parts).unwrap(), 2);
        assert_eq!(folded.keys().collect::<Vec<_>>(), ["qkv.bias", "qkv.weight"]);
        assert!(x.matmul(&folded["qkv.weight"].tr()).allclose(&expected, 1e-5, 1e-6, false));
        assert!(
            !folded["qkv.weight"].equal(&variables["qkv.weight"]),
            "the model's own weight stays as it was"
        );
    }

    #[test]
    fn the_rows_of_heads_may_alternate() {
        tch::manual_seed(3);
        let vs = VarStore::new(Device::Cpu);
        // Two heads of query, key and value, two rows each.
        let mut layer = Linear::new(&(vs.root() / "qkv"), 6, 12);
        let parts = [
            LoraPart { name: "q", first_row: 0, rows: 2 },
            LoraPart { name: "v", first_row: 4, rows: 2 },
        ];
        layer.add_lora_by_head(&(vs.root() / "qkv"), LoraSize { rank: 2, alpha: 3.0 }, (&parts, 2));
        let x = Tensor::randn([5, 6], (Kind::Float, Device::Cpu));
        let variables = vs.variables();
        for part in ["q", "v"] {
            let mut b = variables[&format!("qkv.lora_B.{part}.weight")].shallow_clone();
            assert_eq!(b.size(), [4, 2]);
            let drawn = Tensor::randn(b.size(), (Kind::Float, Device::Cpu));
            no_grad(|| b.copy_(&drawn));
        }
        let update = |part: &str| {
            let [a, b] = ["A", "B"].map(|m| &variables[&format!("qkv.lora_{m}.{part}.weight")]);
            x.matmul(&a.tr()).matmul(&b.tr()) * 1.5
        };
        let (q, v) = (update("q"), update("v"));
        let zeros = Tensor::zeros([5, 2], (Kind::Float, Device::Cpu));
        let head = |t: &Tensor, head: i64| t.narrow(1, 2 * head, 2);
        let rows = [&head(&q, 0), &zeros, &head(&v, 0), &head(&q, 1), &zeros, &head(&v, 1)];
        let expected = x.matmul(&variables["qkv.weight"].tr()) + Tensor::cat(&rows, -1);
        assert!(layer.forward(&x).allclose(&expected, 1e-5, 1e-6, false));

        let mut folded: BTreeMap<_, _> = vs.variables().into_iter().collect();
        let part = |_: &str, name: &str, rows| {
            assert_eq!(rows, 6);
            parts.iter().find(|p| p.name == name).copied()
        };
        assert_eq!(fold_by_head(&mut folded, 3.0, |_| 2, part).unwrap(), 2);
        assert!(x.matmul(&folded["qkv.weight"].tr()).allclose(&expected, 1e-5, 1e-6, false));
    }

    #[test]
    fn it_runs_under_autocast() {
        let (vs, layer) = layer();
        let x = Tensor::ones([1, 6], (Kind::Float, Device::Cpu));
        let scope = crate::device::autocast(crate::device::Precision::Bf16, Device::Cpu).unwrap();
        let y = layer.forward(&x);
        drop(scope);
        assert_eq!(y.kind(), Kind::BFloat16);
        y.sum(Kind::Float).backward();
        let gradient = vs.variables()["qkv.lora_B.v.weight"].grad();
        assert!(gradient.abs().sum(Kind::Float).double_value(&[]) > 0.0);
    }
}
