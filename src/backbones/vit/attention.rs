//! Self-attention of all tokens.

use anyhow::Result;
use tch::{Tensor, nn};

use super::{architecture::Architecture, config::QkvBias, rel_pos_bias::RelPosBias, rope::Rope};
use sonotune_engine::{
    backbone::peft::{LoraConfig, LoraTarget},
    nn::{
        Dims, Linear, linear,
        lora::{Lora, LoraPart},
        trunc_normal,
    },
};

/// Multi-head attention, with positions if there are any.
#[derive(Debug)]
pub(super) struct Attention {
    qkv: Qkv,
    proj: Linear,
    num_heads: i64,
    rope: Option<Rope>,
    rel_pos_bias: Option<RelPosBias>,
}

impl Attention {
    pub(super) fn new(
        vs: &nn::Path,
        architecture: &Architecture,
        rel_pos_bias: Option<RelPosBias>,
    ) -> Self {
        let &Architecture { embed_dim, num_heads, qkv_bias, rope_base, .. } = architecture;
        Self {
            qkv: Qkv::new(vs, embed_dim, qkv_bias),
            proj: Linear::new(&(vs / "proj"), embed_dim, embed_dim),
            num_heads,
            rope: rope_base.map(|base| Rope::new(base, architecture.prefix())),
            rel_pos_bias,
        }
    }

    /// `vs` is the path of the attention.
    pub(super) fn add_lora(&mut self, vs: &nn::Path, lora: &LoraConfig) {
        let [embed_dim, _] = self.proj.weight.dims();
        let parts = lora.qkv_parts(embed_dim);
        if !parts.is_empty() {
            let sizes = (embed_dim, 3 * embed_dim);
            self.qkv.lora = Some(Lora::new(&(vs / "qkv"), lora.size(), (&parts, 1), sizes));
        }
        if lora.has(LoraTarget::Proj) {
            let whole = LoraPart { name: "", first_row: 0, rows: embed_dim };
            self.proj.add_lora(&(vs / "proj"), lora.size(), &[whole]);
        }
    }

    /// `[B, N, C]` to the same, heads merged and projected.
    pub(super) fn forward(&self, x: &Tensor, grid: (i64, i64)) -> Result<Tensor> {
        let [b, n, c] = x.dims();
        let d = c / self.num_heads;
        // [B, N, 3, heads, d] -> 3 × [B, heads, N, d]
        let qkv = self.qkv.forward(x).reshape([b, n, 3, self.num_heads, d]);
        let parts = qkv.permute([2, 0, 3, 1, 4]).unbind(0);
        let (q, k, v) = (&parts[0], &parts[1], &parts[2]);
        let rotated = self.rope.as_ref().map(|rope| rope.rotate([q, k], grid));
        let (q, k) = rotated.as_ref().map_or((q, k), |[q, k]| (q, k));
        // Without a bias no N×N matrix is held.
        let bias = self.rel_pos_bias.as_ref().map(|table| table.bias(grid)).transpose()?;
        let bias = bias.map(|bias| bias.to_kind(q.kind()));
        let out = Tensor::f_scaled_dot_product_attention(q, k, v, bias, 0.0, false, None, false)?;
        Ok(self.proj.forward(&out.transpose(1, 2).reshape([b, n, c])))
    }
}

/// The layer that computes queries, keys and values, in this order.
#[derive(Debug)]
struct Qkv {
    /// `[3C, C]`.
    weight: Tensor,
    bias: Bias,
    lora: Option<Lora>,
}

#[derive(Debug)]
enum Bias {
    None,
    /// `[3C]`.
    All(Tensor),
    /// Each `[C]`.
    QueryValue(Tensor, Tensor),
    /// Both `[3C]`; the mask is not trained.
    Masked(Tensor, Tensor),
}

impl Qkv {
    /// `vs` is the path of the attention: the biases of queries and values are named beside `qkv`.
    fn new(vs: &nn::Path, embed_dim: i64, bias: QkvBias) -> Self {
        let qkv = vs / "qkv";
        Self {
            weight: qkv.var("weight", &[3 * embed_dim, embed_dim], trunc_normal()),
            bias: match bias {
                QkvBias::None => Bias::None,
                QkvBias::All => Bias::All(qkv.zeros("bias", &[3 * embed_dim])),
                QkvBias::QueryValue => Bias::QueryValue(
                    vs.zeros("q_bias", &[embed_dim]),
                    vs.zeros("v_bias", &[embed_dim]),
                ),
                QkvBias::Masked => {
                    let mask = qkv.ones_no_train("bias_mask", &[3 * embed_dim]);
                    let _ = tch::no_grad(|| mask.narrow(0, embed_dim, embed_dim).fill_(0.0));
                    Bias::Masked(qkv.zeros("bias", &[3 * embed_dim]), mask)
                }
            },
            lora: None,
        }
    }

    /// `[B, N, C]` to `[B, N, 3C]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let bias = match &self.bias {
            Bias::None => None,
            Bias::All(bias) => Some(bias.shallow_clone()),
            Bias::QueryValue(q, v) => Some(Tensor::cat(&[q, &q.zeros_like(), v], 0)),
            Bias::Masked(bias, mask) => Some(bias * mask),
        };
        let y = linear(x, &self.weight, bias.as_ref());
        match &self.lora {
            Some(lora) => lora.add_to(&y, x),
            None => y,
        }
    }
}
