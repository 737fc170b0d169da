//! Chooses the objects of a training batch and draws the points of its step, before the model sees the
//! batch.

use std::collections::HashMap;

use sonotune_engine::prelude::*;

use crate::{
    matcher::Objects,
    points::{PointRules, Purpose, Stream, uniform},
};

/// Points of more bytes are drawn in the step, layer by layer: crowded images would fill the memory of
/// all batches under way.
const MOST_BYTES: i64 = 64 << 20;

/// How objects and points follow from a batch.
#[derive(Debug, Clone)]
pub(crate) struct InstancePreparation {
    pub(crate) points: PointRules,
    pub(crate) num_queries: usize,
    /// Layers with a loss: those of the decoder, and what comes before the first.
    pub(crate) layers: usize,
}

/// What a step learns from, and where it looks.
#[derive(Debug)]
pub(crate) struct ChosenInstances {
    /// The objects of each image.
    pub(crate) objects: Vec<Objects>,
    /// `[3]` f32: number of objects with a query, of those not learnt from (crowds, or without a pixel in
    /// the input), and of those beyond the number of queries.
    pub(crate) counters: Tensor,
    drawn: Option<Drawn>,
    stream: Stream,
}

/// The points of all layers, one purpose after another.
#[derive(Debug)]
struct Drawn {
    /// `[all]` f32.
    values: Tensor,
    first: HashMap<Purpose, i64>,
}

impl Prepared for ChosenInstances {
    fn tensors(&mut self) -> Vec<&mut Tensor> {
        let objects = self.objects.iter_mut().flat_map(Objects::tensors);
        objects
            .chain([&mut self.counters])
            .chain(self.drawn.as_mut().map(|drawn| &mut drawn.values))
            .collect()
    }
}

impl Preparation for InstancePreparation {
    fn prepare(&self, batch: &Batch) -> Result<Box<dyn Prepared>> {
        let (_, _, height, width) = batch.images.size4()?;
        let objects = batch
            .targets
            .iter()
            .map(|target| learnable(target, (height, width)))
            .collect::<Result<Vec<_>>>()?;
        let annotated: i64 = batch.targets.iter().map(|target| target.labels.numel() as i64).sum();
        let learnable: i64 = objects.iter().map(|objects| objects.len() as i64).sum();
        let matched = self.matched(&objects);
        let counters = [matched, annotated - learnable, learnable - matched];
        let stream = Stream {
            seed: batch.seed,
            images_before: batch.elsewhere.first_image(),
            objects_before: batch.elsewhere.before.iter().flatten().sum(),
        };
        Ok(Box::new(ChosenInstances {
            drawn: self.draw(&objects, stream),
            counters: Tensor::from_slice(&counters.map(|count| count as f32)),
            objects,
            stream,
        }))
    }

    /// Objects with a query: their points follow each other.
    fn counts(&self, batch: &Batch) -> Result<Vec<Vec<usize>>> {
        let (_, _, height, width) = batch.images.size4()?;
        let count = |target: &Target| {
            let objects = learnable(target, (height, width))?.len();
            Ok(vec![objects.min(self.num_queries)])
        };
        batch.targets.iter().map(count).collect()
    }
}

impl InstancePreparation {
    /// Number of pairs: each object has a query, as long as there are any.
    fn matched(&self, objects: &[Objects]) -> i64 {
        objects.iter().map(|objects| objects.len().min(self.num_queries) as i64).sum()
    }

    /// The points of every layer; `None` if they are too many to keep.
    fn draw(&self, objects: &[Objects], stream: Stream) -> Option<Drawn> {
        let shapes = self.shapes(objects);
        let numbers = |shape: &[i64; 3]| shape.iter().product::<i64>();
        let all: i64 = shapes.iter().map(|(_, shape)| numbers(shape)).sum();
        if all * size_of::<f32>() as i64 > MOST_BYTES {
            return None;
        }
        let (mut values, mut first) = (Vec::with_capacity(all as usize), HashMap::new());
        for (purpose, shape) in shapes {
            first.insert(purpose, values.len() as i64);
            values.extend(uniform(stream, purpose, &shape));
        }
        Some(Drawn { values: Tensor::from_slice(&values), first })
    }

    fn shapes(&self, objects: &[Objects]) -> Vec<(Purpose, [i64; 3])> {
        let matched = self.matched(objects);
        let mut shapes = Vec::new();
        for layer in 0..self.layers {
            for image in (0..objects.len()).filter(|&image| !objects[image].is_empty()) {
                shapes.push((Purpose::Matching { layer, image }, [1, self.points.num_points, 2]));
            }
            if matched > 0 {
                let (candidates, anywhere) = (self.points.candidates(), self.points.anywhere());
                shapes.push((Purpose::Candidates { layer }, [matched, candidates, 2]));
                shapes.push((Purpose::Anywhere { layer }, [matched, anywhere, 2]));
            }
        }
        shapes
    }
}

impl ChosenInstances {
    /// The numbers for a purpose, on `device`: those drawn before the step, if they were.
    pub(crate) fn points(&self, purpose: Purpose, shape: &[i64], device: Device) -> Tensor {
        let count = shape.iter().product();
        match &self.drawn {
            Some(drawn) => drawn.values.narrow(0, drawn.first[&purpose], count).view(shape),
            None => upload(
                &Tensor::from_slice(&uniform(self.stream, purpose, shape)).view(shape),
                device,
            ),
        }
    }
}

/// Objects of an image that are not crowds and have a pixel in the input: a crop may have left none.
fn learnable(target: &Target, padded: (i64, i64)) -> Result<Objects> {
    let image = target.path.display().to_string();
    let (n, h, w) = target.masks.size3()?;
    // Under some size rules a mask is a pixel larger than its image.
    let masks = target.masks.narrow(1, 0, h.min(padded.0)).narrow(2, 0, w.min(padded.1));
    let has_pixels = masks.flatten(1, 2).any_dim(1, false);
    let index = has_pixels.logical_and(&target.is_crowd.logical_not()).nonzero().view([-1]);
    if index.size1()? == n {
        return Objects::new(image, &target.labels, masks, padded);
    }
    let labels = target.labels.index_select(0, &index);
    Objects::new(image, &labels, masks.index_select(0, &index), padded)
}
