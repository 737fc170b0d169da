//! Matches queries to objects: the one-to-one assignment of minimal cost (Carion et al. 2020).

use std::{
    cell::OnceCell,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{Scope, ScopedJoinHandle},
};

use hotcoco::primitives::assign::lsap;
use sonotune_engine::{
    nn::{
        deformable::{ms_deform_attn, point_sample},
        linear as product,
    },
    prelude::*,
};

use crate::{
    head::LayerOutput,
    points::{Draw, PointRules, Purpose},
};

/// Objects of an image that a step learns from.
#[derive(Debug)]
pub struct Objects {
    /// Identifies the image in messages.
    pub image: String,
    /// The class of each, on the host.
    classes: Vec<i64>,
    /// The same, `[N]` i64.
    labels: Tensor,
    /// `[N, H, W]` bool, the top left part of the padded input.
    masks: Tensor,
    /// The masks as a GPU samples them.
    float_masks: OnceCell<Tensor>,
    /// `[2]` f64: from points of the padded input to those of the masks; `None` if these are as large.
    stretch: Option<Tensor>,
}

impl Objects {
    /// Objects of the given classes, `[N]` i64 on the CPU, and masks, `[N, H, W]` bool: the top left part of
    /// an input of the size `padded`.
    ///
    /// # Errors
    /// When the tensors have other ranks or kinds.
    pub fn new(image: String, labels: &Tensor, masks: Tensor, padded: Size) -> Result<Self> {
        let (_, h, w) = masks.size3()?;
        let stretch = [padded.1 as f64 / w as f64, padded.0 as f64 / h as f64];
        Ok(Self {
            image,
            classes: Vec::try_from(labels)?,
            labels: labels.shallow_clone(),
            masks,
            float_masks: OnceCell::new(),
            stretch: ((h, w) != padded).then(|| Tensor::from_slice(&stretch)),
        })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The class of each.
    pub(crate) fn classes(&self) -> &[i64] {
        &self.classes
    }

    /// `[N, H, W]`, to be sampled: bool on the CPU; on a GPU fp32, which every layer would otherwise convert
    /// them to again.
    pub(crate) fn masks(&self) -> &Tensor {
        if self.masks.device() == Device::Cpu {
            return &self.masks;
        }
        self.float_masks.get_or_init(|| self.masks.to_kind(Kind::Float))
    }

    /// Points of the padded input in the frame of the masks, which may be smaller.
    pub(crate) fn in_masks(&self, points: &Tensor) -> Tensor {
        match &self.stretch {
            Some(stretch) => points * stretch.to_kind(points.kind()),
            None => points.shallow_clone(),
        }
    }

    /// Those that a step needs on its device.
    pub(crate) fn tensors(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.float_masks.take();
        [&mut self.labels, &mut self.masks].into_iter().chain(&mut self.stretch)
    }
}

/// Weights of the terms of a match's cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatchCosts {
    pub class: f64,
    pub mask: f64,
    pub dice: f64,
}

/// Query and object of each pair.
pub type Pairs = Vec<(i64, i64)>;

/// `[Q, N]` costs of image `image` in `layer`, on the device of the predictions; without gradient.
///
/// `mask_features` is `[B, C, H, W]`. The masks' values at points are products of the queries'
/// embeddings with the mask features there: complete masks are never computed.
///
/// # Errors
/// When libtorch refuses the shapes.
pub fn match_costs(
    output: &LayerOutput,
    mask_features: &Tensor,
    objects: &Objects,
    (layer, image): (usize, usize),
    (costs, rules): (MatchCosts, PointRules),
    draw: &mut Draw<'_>,
) -> Result<Tensor> {
    no_grad(|| {
        let points =
            draw(Purpose::Matching { layer, image }, &[1, rules.num_points, 2]).squeeze_dim(0);
        let index = image as i64;
        let features = features_at(&mask_features.detach().get(index), &points)?;
        let embeddings = output.embeddings.detach().get(index);
        let features = features.to_kind(embeddings.kind());
        // `[P, Q]`: with the points as rows the product has the form of a linear layer, and its speed.
        let logits = at_least_float(&product(&features, &embeddings, None));
        let truth =
            point_sample(objects.masks(), &objects.in_masks(&points))?.to_kind(logits.kind());

        let probability = output.classes.detach().get(index).softmax(-1, None);
        let class = -probability.index_select(1, &objects.labels);
        let overlap = |values: &Tensor| truth.matmul(values).tr();
        let total =
            |values: &Tensor| values.sum_dim_intlist([0].as_slice(), false, None).unsqueeze(1);
        // Binary cross-entropy is softplus(x) − x·t.
        let num_points = rules.num_points as f64;
        let mask = (total(&logits.softplus()) - overlap(&logits)) / num_points;
        let inside = logits.sigmoid();
        let sides = total(&inside) + truth.sum_dim_intlist([1].as_slice(), false, None);
        let dice = 1.0 - (overlap(&inside) * 2.0 + 1.0) / (sides + 1.0);
        Ok(class * costs.class + mask * costs.mask + dice * costs.dice)
    })
}

/// `[P, C]` of a `[C, H, W]` map at `[P, 2]` points.
fn features_at(map: &Tensor, points: &Tensor) -> Result<Tensor> {
    if map.device() == Device::Cpu {
        features_of_pixels(map, points)
    } else {
        features_as_they_lie(map, points)
    }
}

/// Samples C maps: the whole map need not be copied into another order, which costs a GPU more than it
/// saves.
fn features_as_they_lie(map: &Tensor, points: &Tensor) -> Result<Tensor> {
    Ok(point_sample(map, points)?.tr())
}

/// As attention of one head to one position each: all channels of a pixel are read at once.
fn features_of_pixels(map: &Tensor, points: &Tensor) -> Result<Tensor> {
    let (c, h, w) = map.size3()?;
    let pixels = map.permute([1, 2, 0]).reshape([1, h * w, 1, c]);
    let points = points.view([1, -1, 1, 1, 1, 2]);
    let weights = points.select(-1, 0).ones_like();
    Ok(ms_deform_attn(&pixels, &[(h, w)], &points, &weights)?.squeeze_dim(0))
}

/// The cheapest pairs of a `[Q, N]` cost matrix, by rising query, as the reference's sampler lists
/// them: the order decides which row of the drawn points an object is compared at. With more objects
/// than queries, the objects that make the total cheapest.
///
/// # Errors
/// When a cost is not finite.
pub fn assign(costs: &Tensor) -> Result<Pairs> {
    let (queries, objects) = costs.size2()?;
    let values = Vec::<f64>::try_from(costs.to_device(Device::Cpu).to_kind(Kind::Double).view(-1))?;
    // The solver accepts only finite costs.
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let (query, object) = (at as i64 / objects, at as i64 % objects);
        return Err(Error::non_finite(format!(
            "the cost of matching query {query} with object {object} is {}",
            values[at]
        ))
        .into());
    }
    let (rows, columns) = lsap(&values, queries as usize, objects as usize, false);
    let mut pairs: Pairs =
        rows.into_iter().zip(columns).map(|(q, o)| (q as i64, o as i64)).collect();
    pairs.sort_by_key(|&(query, _)| query);
    Ok(pairs)
}

/// Solves assignments on a separate thread: on the CPU while the next layers are computed. On a GPU the
/// costs of all layers are fetched together, so that a step waits for the device once.
pub(crate) struct Matcher<'scope> {
    jobs: Sender<Job>,
    /// Costs that are still on a GPU.
    kept: Vec<Job>,
    worker: ScopedJoinHandle<'scope, Result<Solved>>,
}

/// Layer, image, and `[Q, N]` costs.
type Job = (usize, usize, Tensor);

type Solved = Vec<(usize, usize, Pairs)>;

impl<'scope> Matcher<'scope> {
    pub(crate) fn start<'env>(scope: &'scope Scope<'scope, 'env>, objects: &[Objects]) -> Self {
        let (jobs, queue) = channel();
        let images: Vec<String> = objects.iter().map(|o| o.image.clone()).collect();
        Self { jobs, kept: Vec::new(), worker: scope.spawn(move || solve(&queue, &images)) }
    }

    /// Hands over the costs of an image in a layer.
    pub(crate) fn submit(&mut self, layer: usize, image: usize, costs: Tensor) {
        if costs.device() == Device::Cpu {
            // The worker ends early only with an error, which `finish` returns.
            let _ = self.jobs.send((layer, image, costs));
        } else {
            self.kept.push((layer, image, costs));
        }
    }

    /// Pairs of `[layer][image]`; those not submitted are empty.
    pub(crate) fn finish(mut self, layers: usize, images: usize) -> Result<Vec<Vec<Pairs>>> {
        self.fetch_kept();
        let Self { jobs, worker, .. } = self;
        drop(jobs);
        let solved = worker.join().map_err(|_| anyhow!("the matching thread died"))??;
        let mut pairs = vec![vec![Pairs::new(); images]; layers];
        for (layer, image, found) in solved {
            pairs[layer][image] = found;
        }
        Ok(pairs)
    }

    fn fetch_kept(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let flat: Vec<Tensor> = self.kept.iter().map(|(.., costs)| costs.flatten(0, -1)).collect();
        let all = Tensor::cat(&flat, 0).to_device(Device::Cpu);
        let mut first = 0;
        for (layer, image, costs) in self.kept.drain(..) {
            let count = costs.numel() as i64;
            let costs = all.narrow(0, first, count).view(costs.size().as_slice());
            first += count;
            let _ = self.jobs.send((layer, image, costs));
        }
    }
}

fn solve(queue: &Receiver<Job>, images: &[String]) -> Result<Solved> {
    let mut solved = Vec::new();
    for (layer, image, costs) in queue {
        let pairs = assign(&costs)
            .map_err(|e| e.context(format!("image {}, decoder layer {layer}", images[image])))?;
        solved.push((layer, image, pairs));
    }
    Ok(solved)
}

/// What the pairs of a layer mean for its losses.
#[derive(Debug)]
pub struct Assigned {
    /// Pairs of each image.
    pub(crate) counts: Vec<i64>,
    /// `[B, Q]` i64: the class of each query, "no object" for those without a pair.
    pub(crate) classes: Tensor,
    /// `[N]` i64 each: query and object of every pair, image after image.
    pub(crate) queries: Tensor,
    pub(crate) objects: Tensor,
}

impl Assigned {
    /// Layer by layer, for heads of `num_queries` queries and `num_classes` classes, on `device`; sent
    /// there as one tensor.
    #[must_use]
    pub fn of_layers(
        pairs: &[Vec<Pairs>],
        objects: &[Objects],
        (num_queries, num_classes): (i64, i64),
        device: Device,
    ) -> Vec<Self> {
        let mut numbers: Vec<i64> = Vec::new();
        for layer in pairs {
            let first = numbers.len();
            numbers.resize(first + objects.len() * num_queries as usize, num_classes);
            for (image, (pairs, objects)) in layer.iter().zip(objects).enumerate() {
                for &(query, object) in pairs {
                    let at = first + image * num_queries as usize + query as usize;
                    numbers[at] = objects.classes()[object as usize];
                }
            }
            numbers.extend(layer.iter().flatten().map(|&(query, _)| query));
            numbers.extend(layer.iter().flatten().map(|&(_, object)| object));
        }
        let numbers = upload(&Tensor::from_slice(&numbers), device);
        let mut first = 0;
        let mut take = |count: i64| {
            first += count;
            numbers.narrow(0, first - count, count)
        };
        let batch = objects.len() as i64;
        let of_layer = |layer: &Vec<Pairs>| {
            let counts: Vec<i64> = layer.iter().map(|pairs| pairs.len() as i64).collect();
            let all = counts.iter().sum();
            let classes = take(batch * num_queries).view([batch, num_queries]);
            let (queries, objects) = (take(all), take(all));
            Self { counts, classes, queries, objects }
        };
        pairs.iter().map(of_layer).collect()
    }

    /// Each image with pairs: its index, and where in [`queries`](Self::queries) and
    /// [`objects`](Self::objects) its pairs are, as first and count.
    pub(crate) fn images(&self) -> impl Iterator<Item = (usize, i64, i64)> {
        let place = |first: &mut i64, (image, &count): (usize, &i64)| {
            *first += count;
            Some((image, *first - count, count))
        };
        self.counts.iter().enumerate().scan(0, place).filter(|&(.., count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_sample_features_agree() {
        tch::manual_seed(5);
        let map = Tensor::randn([6, 9, 7], (Kind::Float, Device::Cpu));
        // Some beyond the edge, where zeros enter.
        let points = Tensor::rand([50, 2], (Kind::Float, Device::Cpu)) * 1.2 - 0.1;
        let expected = features_of_pixels(&map, &points).unwrap();
        let got = features_as_they_lie(&map, &points).unwrap();
        assert_eq!(got.size(), [50, 6]);
        // Coordinates are rounded in another order: a few units in the last place of values around 1.
        assert!((got - expected).abs().max().double_value(&[]) < 2e-5);
    }
}
