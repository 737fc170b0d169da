//! Chooses the objects of a training batch and draws their prompts, before the model sees the batch.

use sonotune_engine::{nn::Rows, prelude::*};

use crate::{
    Convention, TrainingConfig,
    image_tokens::owners_index,
    sampling::{Token, draw_pixels, draw_prompt, token_tensors},
};

/// Streams of random choices of a batch.
mod stream {
    pub(super) const OBJECTS: u64 = 1;
    pub(super) const PROMPT: u64 = 2;
    pub(super) const ROUND: u64 = 3;
}

/// How objects, prompts and targets follow from a batch.
#[derive(Debug, Clone)]
pub(crate) struct PromptPreparation {
    pub(crate) training: TrainingConfig,
    pub(crate) convention: Convention,
    /// Pixels of the input per feature that masks are decoded from, on each axis.
    pub(crate) stride: i64,
}

/// Objects that a step learns from, image after image.
#[derive(Debug)]
pub(crate) struct ChosenObjects {
    /// Objects of each image.
    pub(crate) counts: Vec<i64>,
    /// `[N]` i64: the image that each object is in.
    pub(crate) owners: Tensor,
    /// `[N, T, 2]` f64 and `[N, T]` i64: the tokens of each object's prompt.
    pub(crate) coords: Tensor,
    pub(crate) labels: Tensor,
    /// `[N, 4h, 4w]` f32 of 0 and 1.
    pub(crate) targets: Tensor,
    /// `[3]` f32: number of objects, and, not counting crowds, of those without a pixel in the input and of
    /// those beyond the limit.
    pub(crate) counters: Tensor,
    /// What further rounds draw from; `None` without any.
    pub(crate) rounds: Option<Rounds>,
    /// Objects that other processes have of the same step.
    pub(crate) rows: Rows,
}

/// What the rounds of an interactive step begin with, on the CPU.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) tokens: Vec<Vec<Token>>,
    /// `[N, 4h, 4w]` bool.
    pub(crate) truth: Tensor,
    pub(crate) rngs: Vec<Rng>,
}

impl ChosenObjects {
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }
}

impl Prepared for ChosenObjects {
    fn tensors(&mut self) -> Vec<&mut Tensor> {
        let Self { owners, coords, labels, targets, counters, .. } = self;
        vec![owners, coords, labels, targets, counters]
    }
}

impl Preparation for PromptPreparation {
    fn prepare(&self, batch: &Batch) -> Result<Box<dyn Prepared>> {
        no_grad(|| self.choose(batch)).map(|chosen| Box::new(chosen) as Box<dyn Prepared>)
    }

    /// For each object that the limit picks from, whether it has a pixel in the input.
    fn counts(&self, batch: &Batch) -> Result<Vec<Vec<usize>>> {
        let of_image = |target: &Target| {
            let index = Tensor::from_slice(&learnable(target)?);
            let masks = target.masks.index_select(0, &index).flatten(1, 2);
            let has_pixels = Vec::<bool>::try_from(masks.any_dim(1, false))?;
            Ok(has_pixels.into_iter().map(usize::from).collect())
        };
        batch.targets.iter().map(of_image).collect()
    }
}

impl PromptPreparation {
    fn choose(&self, batch: &Batch) -> Result<ChosenObjects> {
        let (_, _, height, width) = batch.images.size4()?;
        let masks = MaskFrame {
            input: (height, width),
            mask: (4 * (height / self.stride), 4 * (width / self.stride)),
        };
        let candidates: Vec<Vec<i64>> =
            batch.targets.iter().map(learnable).collect::<Result<_>>()?;
        let Kept { kept, rows } =
            limit(&candidates, &batch.elsewhere, self.training.max_objects, batch.seed);
        let total: usize = candidates.iter().map(Vec::len).sum();
        let beyond_limit = total - kept.iter().map(Vec::len).sum::<usize>();
        let first_image = batch.elsewhere.first_image();
        let (mut counts, mut tokens, mut rngs, mut targets) = (vec![], vec![], vec![], vec![]);
        let mut without_pixels = 0;
        for (image, (target, objects)) in batch.targets.iter().zip(&kept).enumerate() {
            let image = (first_image + image) as u64;
            let stream = |object: &i64| [stream::PROMPT, image, *object as u64];
            let mut of_image: Vec<Rng> =
                objects.iter().map(|object| Rng::at(batch.seed, &stream(object))).collect();
            let index = Tensor::from_slice(objects);
            let of_objects = target.masks.index_select(0, &index);
            let pixels = draw_pixels(&of_objects, &mut of_image)?;
            let boxes = Vec::<f32>::try_from(target.boxes.index_select(0, &index).flatten(0, -1))?;
            let mut with_pixels = Vec::new();
            for (i, pixel) in pixels.iter().enumerate() {
                let Some(pixel) = *pixel else {
                    without_pixels += 1;
                    continue;
                };
                let bbox = [0, 1, 2, 3].map(|side| f64::from(boxes[4 * i + side]));
                let rng = &mut of_image[i];
                tokens.push(draw_prompt(pixel, bbox, &self.training, self.convention, rng));
                let of_rounds = [stream::ROUND, image, objects[i] as u64];
                rngs.push(Rng::at(batch.seed, &of_rounds));
                with_pixels.push(i as i64);
            }
            counts.push(with_pixels.len() as i64);
            if !with_pixels.is_empty() {
                let learnt = of_objects.index_select(0, &Tensor::from_slice(&with_pixels));
                targets.push(masks.low_resolution(&learnt));
            }
        }
        let none = || Tensor::zeros([0, masks.mask.0, masks.mask.1], (Kind::Float, Device::Cpu));
        let targets = if targets.is_empty() { none() } else { Tensor::cat(&targets, 0) };
        fill_up(&mut tokens);
        let counters = [tokens.len(), without_pixels, beyond_limit].map(|count| count as f32);
        let (coords, labels) = token_tensors(tokens.iter().map(Vec::as_slice));
        let has_rounds = self.training.interactive_rounds > 0;
        let rounds = has_rounds.then(|| Rounds { tokens, truth: targets.gt(0.5), rngs });
        Ok(ChosenObjects {
            owners: owners_index(&counts),
            counts,
            coords,
            labels,
            targets,
            counters: Tensor::from_slice(&counters),
            rounds,
            rows,
        })
    }
}

/// Gives all prompts of a batch the same number of tokens: with SAM 2's boxes, which have a filler of their own,
/// a point has two fillers.
fn fill_up(tokens: &mut [Vec<Token>]) {
    let longest = tokens.iter().map(Vec::len).max().unwrap_or_default();
    tokens.iter_mut().for_each(|tokens| tokens.resize(longest, Token::NOT_A_POINT));
}

/// Sizes of the padded input, and of the masks decoded from its features.
#[derive(Debug, Clone, Copy)]
struct MaskFrame {
    input: Size,
    mask: Size,
}

impl MaskFrame {
    /// `[n, H, W]` bool in the input's frame to `[n, 4h, 4w]` f32 of 0 and 1: padded as the input is,
    /// bilinear without antialias, a half to 0. This makes objects that are small in the input slightly
    /// smaller; the published post-processing compensates for it.
    fn low_resolution(self, masks: &Tensor) -> Tensor {
        let (height, width) = self.input;
        let [_, h, w] = masks.dims();
        // Under the reference's size rules a mask may be a pixel larger than its image.
        let masks = masks.narrow(1, 0, h.min(height)).narrow(2, 0, w.min(width));
        let padding = [0, width - w.min(width), 0, height - h.min(height)];
        let padded = masks.to_kind(Kind::Float).constant_pad_nd(padding).unsqueeze(0);
        let (h, w) = self.mask;
        padded.upsample_bilinear2d([h, w], false, None, None).squeeze_dim(0).round()
    }
}

/// Objects of an image that are not crowds.
fn learnable(target: &Target) -> Result<Vec<i64>> {
    let crowds = Vec::<bool>::try_from(&target.is_crowd)?;
    Ok(crowds.iter().enumerate().filter(|&(_, crowd)| !crowd).map(|(i, _)| i as i64).collect())
}

/// What the limit leaves.
struct Kept {
    /// The objects of each image here.
    kept: Vec<Vec<i64>>,
    /// Those with pixels that other processes have.
    rows: Rows,
}

/// At most `most` objects of the whole batch, drawn uniformly. `objects` are those of the images here.
fn limit(objects: &[Vec<i64>], elsewhere: &Elsewhere, most: usize, seed: u64) -> Kept {
    let Elsewhere { before, after } = elsewhere;
    let here = objects.iter().map(Vec::len);
    let counts = before.iter().map(Vec::len).chain(here).chain(after.iter().map(Vec::len));
    // An image's place in the whole batch, and which of its objects.
    let mut all: Vec<(usize, usize)> = counts
        .enumerate()
        .flat_map(|(image, count)| (0..count).map(move |nth| (image, nth)))
        .collect();
    if all.len() > most {
        Rng::at(seed, &[stream::OBJECTS]).shuffle(&mut all);
        all.truncate(most);
    }
    let (mut kept, mut rows) = (vec![Vec::new(); objects.len()], Rows::default());
    let first_after = before.len() + objects.len();
    for (image, nth) in all {
        if let Some(has_pixels) = before.get(image) {
            rows.before += has_pixels[nth] as i64;
        } else if image < first_after {
            kept[image - before.len()].push(objects[image - before.len()][nth]);
        } else {
            rows.after += after[image - first_after][nth] as i64;
        }
    }
    kept.iter_mut().for_each(|objects| objects.sort_unstable());
    Kept { kept, rows }
}
