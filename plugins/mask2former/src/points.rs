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

/// Where the numbers of a step come from: a function of its seed, the purpose, and the place of an image or
/// object in the whole batch, whichever process has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stream {
    pub seed: u64,
    /// Images, and objects with a query, that come before those of this process.
    pub images_before: usize,
    pub objects_before: usize,
}

/// Numbers of a `[rows, points, 2]` shape for a purpose, whose rows are objects, or one image.
#[must_use]
pub fn uniform(stream: Stream, purpose: Purpose, shape: &[i64]) -> Vec<f32> {
    let Stream { seed, images_before, objects_before } = stream;
    let coordinates = match purpose {
        Purpose::Matching { layer, image } => vec![1, layer as u64, (images_before + image) as u64],
        Purpose::Candidates { layer } => vec![2, layer as u64],
        Purpose::Anywhere { layer } => vec![3, layer as u64],
    };
    let mut values = vec![0f32; shape.iter().product::<i64>() as usize];
    let mut rng = Rng::at(seed, &coordinates);
    if !matches!(purpose, Purpose::Matching { .. }) {
        // One draw is a point.
        let points = shape.get(1).map_or(0, |&points| points as u64);
        rng.skip(objects_before as u64 * points);
    }
    rng.fill_uniform(&mut values);
    if matches!(purpose, Purpose::Matching { .. }) {
        // Their order does not matter, but sorted by row they follow the memory order of the features
        // that are read there: an eighth of the time.
        let (points, _) = values.as_chunks_mut::<2>();
        points.sort_unstable_by(|a, b| a[1].total_cmp(&b[1]));
    }
    values
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

impl PointRules {
    /// Number of points among which those of one object are picked.
    pub(crate) fn candidates(self) -> i64 {
        (self.num_points as f64 * self.oversample_ratio) as i64
    }

    /// Number of an object's points that are the most uncertain ones.
    pub(crate) fn uncertain(self) -> i64 {
        (self.num_points as f64 * self.importance_sample_ratio) as i64
    }

    /// Number of an object's points that are drawn anywhere.
    pub(crate) fn anywhere(self) -> i64 {
        self.num_points - self.uncertain()
    }
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
    let (uncertain, anywhere) = (rules.uncertain(), rules.anywhere());
    let points = draw(Purpose::Candidates { layer }, &[n, rules.candidates(), 2]);
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
