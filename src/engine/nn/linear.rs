//! Fully connected layer over the last axis.

use crate::nn::Dims;
use tch::{
    Kind, Tensor,
    nn::{self, Init},
};

use super::{
    init::trunc_normal,
    lora::{Lora, LoraPart, LoraSize},
};

/// `y = x Wᵀ + b`, plus a low-rank update if there is one.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Tensor,
    lora: Option<Lora>,
}

impl Linear {
    /// Weights from N(0, 0.02²), bias zero.
    #[must_use]
    pub fn new(vs: &nn::Path, in_features: i64, out_features: i64) -> Self {
        Self {
            weight: vs.var("weight", &[out_features, in_features], trunc_normal()),
            bias: vs.zeros("bias", &[out_features]),
            lora: None,
        }
    }

    /// Weights and bias from `init`.
    #[must_use]
    pub fn with_init(vs: &nn::Path, in_features: i64, out_features: i64, init: Init) -> Self {
        Self {
            weight: vs.var("weight", &[out_features, in_features], init),
            bias: vs.var("bias", &[out_features], init),
            lora: None,
        }
    }

    /// Gives the layer, whose path is `vs`, low-rank updates of some of its rows.
    pub fn add_lora(&mut self, vs: &nn::Path, size: LoraSize, parts: &[LoraPart]) {
        self.add_lora_by_head(vs, size, (parts, 1));
    }

    /// The same for a layer whose rows are in equal runs, one a head, of which `parts` are rows.
    pub fn add_lora_by_head(&mut self, vs: &nn::Path, size: LoraSize, parts: (&[LoraPart], i64)) {
        let [out_features, in_features] = self.weight.dims();
        self.lora = Some(Lora::new(vs, size, parts, (in_features, out_features)));
    }

    /// `[..., in]` to `[..., out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = linear(x, &self.weight, Some(&self.bias));
        match &self.lora {
            Some(lora) => lora.add_to(&y, x),
            None => y,
        }
    }
}

/// `x Wᵀ + b` for `[..., in]`, `[out, in]` and `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let mut shape = x.size();
    let in_features = shape.pop().unwrap_or_default();
    let tokens: i64 = shape.iter().product();
    if !runs_as_convolution(x, tokens) {
        return x.linear(weight, bias);
    }
    // libtorch's CPU matrix product in fp32 goes to MKL, which is limited to AVX2 on processors
    // not from Intel; its convolutions go to oneDNN, which uses AVX-512 if available. The same
    // product as a 1×1 convolution (tokens as pixels, channels last: no copy) took half the
    // time, forward and backward, on an EPYC.
    let pixels = x.reshape([1, 1, tokens, in_features]).permute([0, 3, 1, 2]);
    let kernel = weight.unsqueeze(-1).unsqueeze(-1);
    let y = pixels.conv2d(&kernel, bias, [1, 1], [0, 0], [1, 1], 1);
    shape.push(weight.dims::<2>()[0]);
    y.permute([0, 2, 3, 1]).reshape(shape)
}

/// With a single thread libtorch does not hand 1×1 convolutions to oneDNN; for a few rows the
/// product is too small to matter.
fn runs_as_convolution(x: &Tensor, tokens: i64) -> bool {
    const FEW_TOKENS: i64 = 64;
    x.device() == tch::Device::Cpu
        && x.kind() == Kind::Float
        && tokens >= FEW_TOKENS
        && tch::get_num_threads() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_routes_agree_with_the_definition_and_its_gradients() {
        tch::manual_seed(1);
        let vs = nn::VarStore::new(tch::Device::Cpu);
        let layer = Linear::new(&vs.root(), 24, 40);
        for tokens in [3, 200] {
            let x = Tensor::randn([2, tokens, 24], (Kind::Float, tch::Device::Cpu))
                .set_requires_grad(true);
            let run = |y: Tensor| {
                let g = Tensor::run_backward(
                    &[y.square().sum(Kind::Float)],
                    &[&x, &layer.weight, &layer.bias],
                    false,
                    false,
                );
                (y, g)
            };
            let (y, gradients) = run(layer.forward(&x));
            let (expected, expected_gradients) = run(x.matmul(&layer.weight.tr()) + &layer.bias);
            assert_eq!(y.size(), [2, tokens, 40]);
            assert!(y.allclose(&expected, 1e-5, 1e-6, false));
            for (a, b) in gradients.iter().zip(&expected_gradients) {
                assert!(a.allclose(b, 1e-4, 1e-5, false), "{tokens} tokens");
            }
        }
    }
}
