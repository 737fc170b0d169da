//! Multi-scale deformable attention (Zhu et al. 2021): every token attends to a few positions of every
//! level, which it chooses itself.

use sonotune_engine::{
    nn::{Linear, deformable::ms_deform_attn, linear as product},
    prelude::*,
    tch::nn::Init,
};

use crate::layers::{linear_from, xavier_uniform};

/// Positions of the tokens of all levels; the same for all layers.
#[derive(Debug)]
pub(crate) struct Places {
    /// `(height, width)` of each level, in the order of the tokens.
    sizes: Vec<(i64, i64)>,
    /// `[S, 1, 1, 1, 2]`: (x, y) of each token's centre, in [0, 1].
    centers: Tensor,
    /// `[L, 1, 2]`: (width, height), to convert offsets in pixels to that frame.
    scale: Tensor,
}

impl Places {
    pub(crate) fn new(sizes: Vec<(i64, i64)>, like: &Tensor) -> Self {
        let options = (like.kind(), like.device());
        let axis = |side: i64| (Tensor::arange(side, options) + 0.5) / side as f64;
        let of_level = |&(h, w): &(i64, i64)| {
            let x = axis(w).unsqueeze(0).expand([h, w], false);
            let y = axis(h).unsqueeze(1).expand([h, w], false);
            Tensor::stack(&[x, y], 2).view([h * w, 1, 1, 1, 2])
        };
        let scale: Vec<f64> = sizes.iter().flat_map(|&(h, w)| [w as f64, h as f64]).collect();
        let scale = upload(&Tensor::from_slice(&scale), like.device()).to_kind(like.kind());
        let centers = Tensor::cat(&sizes.iter().map(of_level).collect::<Vec<_>>(), 0);
        Self { scale: scale.view([-1, 1, 2]), centers, sizes }
    }

    pub(crate) fn sizes(&self) -> &[(i64, i64)] {
        &self.sizes
    }
}

/// The attention; variables named as in mmcv's `MultiScaleDeformableAttention`.
#[derive(Debug)]
pub(crate) struct DeformableAttention {
    sampling_offsets: Linear,
    attention_weights: Linear,
    value_proj: Linear,
    output_proj: Linear,
    num_heads: i64,
    num_levels: i64,
    num_points: i64,
}

impl DeformableAttention {
    pub(crate) fn new(
        vs: &nn::Path<'_>,
        dim: i64,
        num_heads: i64,
        num_levels: i64,
        num_points: i64,
    ) -> Self {
        let samples = num_heads * num_levels * num_points;
        let zero = Init::Const(0.0);
        let glorot = xavier_uniform(dim, dim);
        let mut sampling_offsets =
            linear_from(&(vs / "sampling_offsets"), (dim, 2 * samples), zero);
        let rays = rays(num_heads, num_levels, num_points);
        sonotune_engine::tch::no_grad(|| sampling_offsets.bias.copy_(&Tensor::from_slice(&rays)));
        Self {
            sampling_offsets,
            attention_weights: linear_from(&(vs / "attention_weights"), (dim, samples), zero),
            value_proj: linear_from(&(vs / "value_proj"), (dim, dim), glorot),
            output_proj: linear_from(&(vs / "output_proj"), (dim, dim), glorot),
            num_heads,
            num_levels,
            num_points,
        }
    }

    /// Queries and values `[B, S, C]` to `[B, S, C]`.
    pub(crate) fn forward(
        &self,
        query: &Tensor,
        value: &Tensor,
        places: &Places,
    ) -> Result<Tensor> {
        let (b, s, c) = value.size3()?;
        let (heads, levels, points) = (self.num_heads, self.num_levels, self.num_points);
        let value = self.value_proj.forward(value).view([b, s, heads, c / heads]);
        let (offsets, weights) = self.offsets_and_weights(query);
        let weights = at_least_float(&weights)
            .view([b, s, heads, levels * points])
            .softmax(-1, None)
            .view([b, s, heads, levels, points]);
        let offsets = at_least_float(&offsets).view([b, s, heads, levels, points, 2]);
        let locations = &places.centers + offsets / &places.scale;
        let sampled = ms_deform_attn(&value, places.sizes(), &locations, &weights)?;
        Ok(self.output_proj.forward(&sampled))
    }

    /// Both in one product over the tokens.
    fn offsets_and_weights(&self, query: &Tensor) -> (Tensor, Tensor) {
        let (offsets, weights) = (&self.sampling_offsets, &self.attention_weights);
        let weight = Tensor::cat(&[&offsets.weight, &weights.weight], 0);
        let bias = Tensor::cat(&[&offsets.bias, &weights.bias], 0);
        let both = product(query, &weight, Some(&bias));
        let width = offsets.bias.dims::<1>()[0];
        (both.narrow(2, 0, width), both.narrow(2, width, width / 2))
    }
}

/// Offsets that a layer starts with: each head along its own direction, the points one, two, three …
/// pixels away.
fn rays(num_heads: i64, num_levels: i64, num_points: i64) -> Vec<f32> {
    let mut rays = Vec::new();
    for head in 0..num_heads {
        let angle = std::f64::consts::TAU * head as f64 / num_heads as f64;
        let (x, y) = (angle.cos(), angle.sin());
        let longest = x.abs().max(y.abs());
        for _ in 0..num_levels {
            for point in 1..=num_points {
                let along = |v: f64| (v / longest * point as f64) as f32;
                rays.extend([along(x), along(y)]);
            }
        }
    }
    rays
}
