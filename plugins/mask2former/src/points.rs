//! Compares masks at points, not at every pixel (Cheng et al. 2022, section 3.3; detectron2's
//! PointRend).

use sonotune_engine::{nn::deformable::point_sample, prelude::*};

/// What random numbers are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Points at which predictions and objects of an image are compared for matching.
    Matching { layer: usize, image: usize },
    /// Points among which the uncertain ones are picked.
    Candidates { layer: usize },
    /// Points that are learnt from, drawn anywhere.
    Anywhere { layer: usize },
}

/// Uniform numbers in [0, 1) with a given shape.
pub type Draw<'a> = dyn FnMut(Purpose, &[i64]) -> Tensor + 'a;

/// `shape` numbers for a purpose, f32: a function of the step's seed and the purpose.
pub fn uniform(seed: u64, purpose: Purpose, shape: &[i64]) -> Tensor {
    let coordinates = match purpose {
        Purpose::Matching { layer, image } => vec![1, layer as u64, image as u64],
        Purpose::Candidates { layer } => vec![2, layer as u64],
        Purpose::Anywhere { layer } => vec![3, layer as u64],
    };
    let mut values = vec![0f32; shape.iter().product::<i64>() as usize];
    Rng::at(seed, &coordinates).fill_uniform(&mut values);
    if matches!(purpose, Purpose::Matching { .. }) {
        // Their order does not matter, but sorted by row they follow the memory order of the features
        // that are read there: an eighth of the time.
        let (points, _) = values.as_chunks_mut::<2>();
        points.sort_unstable_by(|a, b| a[1].total_cmp(&b[1]));
    }
    Tensor::from_slice(&values).view(shape)
}

/// At which points a step learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointRules {
    pub num_points: i64,
    /// Number of candidates per point.
    pub oversample_ratio: f64,
    /// Share of the points that are the most uncertain candidates.
    pub importance_sample_ratio: f64,
}

/// `[N, P, 2]` points for `[N, h, w]` logits: the most uncertain of many candidates, plus some points
/// anywhere. Without gradient.
///
/// # Errors
/// When libtorch refuses the shapes.
pub(crate) fn uncertain_points(
    logits: &Tensor,
    rules: PointRules,
    layer: usize,
    draw: &mut Draw<'_>,
) -> Result<Tensor> {
    let n = logits.size()[0];
    let candidates = (rules.num_points as f64 * rules.oversample_ratio) as i64;
    let uncertain = (rules.num_points as f64 * rules.importance_sample_ratio) as i64;
    let anywhere = rules.num_points - uncertain;
    let points = draw(Purpose::Candidates { layer }, &[n, candidates, 2]);
    let mut chosen = Vec::new();
    if uncertain > 0 {
        no_grad(|| -> Result<()> {
            let certainty = point_sample(&logits.detach(), &points)?.abs();
            let (_, index) = certainty.topk(uncertain, 1, false, false);
            let index = index.unsqueeze(2).expand([n, uncertain, 2], false);
            chosen.push(points.gather(1, &index, false));
            Ok(())
        })?;
    }
    if anywhere > 0 {
        chosen.push(draw(Purpose::Anywhere { layer }, &[n, anywhere, 2]));
    }
    Ok(Tensor::cat(&chosen, 1))
}
