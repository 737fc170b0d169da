//! One training step: objects, prompts, passes, losses.

use sonotune_engine::prelude::*;

use crate::{
    SamPromptConfig,
    convention::Origin,
    image_tokens::Owners,
    loss::{LossConfig, MaskLosses, mask_losses},
    mask_decoder::MaskTokens,
    model::{Embedding, Sam},
    prompt_encoder::{Label, Prompts},
    sampling::{Pixel, Token, draw_pixels, draw_prompt, prompts},
};

/// Streams of random choices of a batch.
mod stream {
    pub(super) const OBJECTS: u64 = 1;
    pub(super) const PROMPT: u64 = 2;
    pub(super) const ROUND: u64 = 3;
}

/// Objects that a step learns from, image after image.
struct Objects {
    owners: Owners,
    /// For each object, the tokens of its prompt.
    tokens: Vec<Vec<Token>>,
    /// `[N, 4h, 4w]` f32 of 0 and 1.
    targets: Tensor,
    /// One for each object, for further draws.
    rngs: Vec<Rng>,
    /// Not counting crowds: objects without a pixel in the input, and objects beyond the limit.
    without_pixels: usize,
    beyond_limit: usize,
}

/// Losses of a batch.
pub(crate) fn step(sam: &Sam, config: &SamPromptConfig, batch: &Batch) -> Result<StepOutput> {
    let embedding = sam.embed(batch, true)?;
    let objects = choose(batch, config, &embedding)?;
    let mut output = if objects.owners.is_empty() {
        nothing_to_learn(&embedding, &config.loss)
    } else if config.training.interactive_rounds > 0 {
        interact(sam, config, &embedding, &objects)?
    } else {
        let Objects { owners, tokens, targets, .. } = &objects;
        let prompts = prompts(tokens.iter().map(Vec::as_slice), None, &embedding.features);
        let how = (config.refines(), &config.loss);
        pass_losses(sam, &embedding, owners, prompts, targets, how)?
    };
    let mut count = |name: &str, value: usize| {
        let value = Tensor::from(value as f32).to_device(embedding.features.device());
        output.scalars.push((name.to_owned(), value));
    };
    count("objects", objects.owners.len() as usize);
    count("objects_without_pixels", objects.without_pixels);
    count("objects_beyond_limit", objects.beyond_limit);
    Ok(output)
}

/// Losses of one pass, or of two if `refines`: then the first mask, with its gradient,
/// is a prompt of the second pass, and the names of that pass end in `.0`.
///
/// `targets`: `[N, 4h, 4w]` f32 of 0 and 1, in the order of `prompts`.
///
/// # Errors
/// If shapes do not fit each other.
pub fn pass_losses(
    sam: &Sam,
    embedding: &Embedding,
    owners: &Owners,
    prompts: Prompts,
    targets: &Tensor,
    (refines, config): (bool, &LossConfig),
) -> Result<StepOutput> {
    let mut output = StepOutput::default();
    let wanted = if refines { MaskTokens::Single } else { MaskTokens::Multi };
    let first = sam.decode(embedding, owners, &prompts, wanted, true);
    add(&mut output, "", mask_losses(&first, targets, config)?, config);
    if refines {
        let second = Prompts { masks: Some(first.logits), ..prompts };
        let second = sam.decode(embedding, owners, &second, MaskTokens::Multi, true);
        add(&mut output, ".0", mask_losses(&second, targets, config)?, config);
    }
    Ok(output)
}

/// One pass, plus the configured number of further rounds.
fn interact(
    sam: &Sam,
    config: &SamPromptConfig,
    embedding: &Embedding,
    objects: &Objects,
) -> Result<StepOutput> {
    let Objects { owners, targets, .. } = objects;
    let (mut tokens, mut rngs) = (objects.tokens.clone(), objects.rngs.clone());
    let mut output = StepOutput::default();
    let mut mask = None;
    for round in 0..=config.training.interactive_rounds {
        let asked = prompts(tokens.iter().map(Vec::as_slice), mask.take(), &embedding.features);
        // One prompt may be ambiguous; a second one resolves it.
        let wanted = if round == 0 { MaskTokens::Multi } else { MaskTokens::Single };
        let masks = sam.decode(embedding, owners, &asked, wanted, true);
        let losses = mask_losses(&masks, targets, &config.loss)?;
        let suffix = if round == 0 { String::new() } else { format!(".{}", round - 1) };
        if round < config.training.interactive_rounds {
            let (n, _, h, w) = masks.logits.size4()?;
            let chosen = losses.chosen.view([n, 1, 1, 1]).expand([n, 1, h, w], false);
            let logits = no_grad(|| masks.logits.detach().gather(1, &chosen, false));
            let clicks = clicks(&logits.squeeze_dim(1), targets, embedding, config, &mut rngs)?;
            for (tokens, click) in tokens.iter_mut().zip(clicks) {
                // Before the filler token of a point, which stays last.
                let at = tokens.iter().position(|t| t.label == Label::NotAPoint);
                tokens.insert(at.unwrap_or(tokens.len()), click);
            }
            mask = Some(logits);
        }
        add(&mut output, &suffix, losses, &config.loss);
    }
    Ok(output)
}

/// The next click of each object: a pixel where its mask and the truth differ, or one of the object's
/// if they are equal.
fn clicks(
    logits: &Tensor,
    targets: &Tensor,
    embedding: &Embedding,
    config: &SamPromptConfig,
    rngs: &mut [Rng],
) -> Result<Vec<Token>> {
    let truth = targets.gt(0.5);
    let wrong = logits.gt(0.0).logical_xor(&truth);
    let from_error = draw_pixels(&wrong, rngs)?;
    let from_object = draw_pixels(&truth, rngs)?;
    let (height, width) = embedding.mask_size();
    let scale_x = embedding.image_size.1 as f64 / width as f64;
    let scale_y = embedding.image_size.0 as f64 / height as f64;
    let offset = config.convention.offset(Origin::Given) - 0.5;
    let mut tokens = Vec::with_capacity(rngs.len());
    for (i, (error, object)) in from_error.into_iter().zip(from_object).enumerate() {
        // A target may be empty at this size: then any error is outside, and without an error there is
        // no click.
        let Pixel { x, y } = error.or(object).unwrap_or(Pixel { x: 0, y: 0 });
        let inside = truth.f_get(i as i64)?.f_get(y)?.f_int64_value(&[x])? != 0;
        tokens.push(Token {
            x: (x as f64 + 0.5) * scale_x + offset,
            y: (y as f64 + 0.5) * scale_y + offset,
            label: if inside { Label::Positive } else { Label::Negative },
        });
    }
    Ok(tokens)
}

fn add(output: &mut StepOutput, suffix: &str, losses: MaskLosses, config: &LossConfig) {
    for (name, value, weight) in [
        ("loss_focal", losses.focal, config.focal),
        ("loss_dice", losses.dice, config.dice),
        ("loss_iou", losses.iou, config.iou),
    ] {
        output.losses.push(Loss { name: format!("{name}{suffix}"), value, weight });
    }
    output.scalars.push((format!("iou{suffix}"), losses.true_iou.mean(Kind::Float)));
}

/// Loss of a batch without objects, which must not stop a run: zero, with zero gradients.
fn nothing_to_learn(embedding: &Embedding, config: &LossConfig) -> StepOutput {
    // The positional encodings of the grid are not a variable; the features may be frozen.
    let zero = (&embedding.features * 0.0).sum(Kind::Float);
    let terms =
        [("loss_focal", config.focal), ("loss_dice", config.dice), ("loss_iou", config.iou)];
    let loss = |(name, weight): (&str, f64)| Loss {
        name: name.to_owned(),
        value: zero.shallow_clone(),
        weight,
    };
    StepOutput { losses: terms.map(loss).into(), scalars: Vec::new() }
}

/// Objects of a batch with their prompts and targets.
fn choose(batch: &Batch, config: &SamPromptConfig, embedding: &Embedding) -> Result<Objects> {
    let candidates: Vec<Vec<i64>> = batch.targets.iter().map(learnable).collect::<Result<_>>()?;
    let kept = limit(&candidates, config.training.max_objects, batch.seed);
    let total: usize = candidates.iter().map(Vec::len).sum();
    let beyond_limit = total - kept.iter().map(Vec::len).sum::<usize>();
    let (mut counts, mut tokens, mut rngs, mut targets) = (vec![], vec![], vec![], vec![]);
    let mut without_pixels = 0;
    for (image, (target, objects)) in batch.targets.iter().zip(&kept).enumerate() {
        let stream = |object: &i64| [stream::PROMPT, image as u64, *object as u64];
        let mut of_image: Vec<Rng> =
            objects.iter().map(|object| Rng::at(batch.seed, &stream(object))).collect();
        let index = Tensor::from_slice(objects).to_device(target.masks.device());
        let masks = target.masks.index_select(0, &index);
        let pixels = draw_pixels(&masks, &mut of_image)?;
        let boxes = Vec::<f32>::try_from(target.boxes.index_select(0, &index).flatten(0, -1))?;
        let mut with_pixels = Vec::new();
        for (i, pixel) in pixels.iter().enumerate() {
            let Some(pixel) = *pixel else {
                without_pixels += 1;
                continue;
            };
            let bbox = [0, 1, 2, 3].map(|side| f64::from(boxes[4 * i + side]));
            let rng = &mut of_image[i];
            let drawn = draw_prompt(pixel, bbox, &config.training, config.convention, rng);
            tokens.push(drawn.to_vec());
            let of_rounds = [stream::ROUND, image as u64, objects[i] as u64];
            rngs.push(Rng::at(batch.seed, &of_rounds));
            with_pixels.push(i as i64);
        }
        counts.push(with_pixels.len() as i64);
        if !with_pixels.is_empty() {
            let with_pixels = Tensor::from_slice(&with_pixels).to_device(masks.device());
            let masks = masks.index_select(0, &with_pixels);
            targets.push(low_resolution(&masks, embedding));
        }
    }
    let owners = Owners::new(counts, &embedding.features);
    let targets = if targets.is_empty() { Tensor::new() } else { Tensor::cat(&targets, 0) };
    Ok(Objects { owners, tokens, targets, rngs, without_pixels, beyond_limit })
}

/// Objects of an image that are not crowds.
fn learnable(target: &Target) -> Result<Vec<i64>> {
    let crowds = Vec::<bool>::try_from(&target.is_crowd)?;
    Ok(crowds.iter().enumerate().filter(|&(_, crowd)| !crowd).map(|(i, _)| i as i64).collect())
}

/// At most `most` objects of all images, drawn uniformly.
fn limit(objects: &[Vec<i64>], most: usize, seed: u64) -> Vec<Vec<i64>> {
    let mut all: Vec<(usize, i64)> = objects
        .iter()
        .enumerate()
        .flat_map(|(image, objects)| objects.iter().map(move |&object| (image, object)))
        .collect();
    if all.len() <= most {
        return objects.to_vec();
    }
    Rng::at(seed, &[stream::OBJECTS]).shuffle(&mut all);
    let mut kept = vec![Vec::new(); objects.len()];
    for &(image, object) in &all[..most] {
        kept[image].push(object);
    }
    kept.iter_mut().for_each(|objects| objects.sort_unstable());
    kept
}

/// `[n, H, W]` bool in the input's frame to `[n, 4h, 4w]` f32 of 0 and 1: padded as the input is,
/// bilinear without antialias, a half to 0. This makes objects that are small in the input slightly
/// smaller; the published post-processing compensates for it.
fn low_resolution(masks: &Tensor, embedding: &Embedding) -> Tensor {
    no_grad(|| {
        let (height, width) = embedding.image_size;
        let [_, h, w] = masks.dims();
        // Under the reference's size rules a mask may be a pixel larger than its image.
        let masks = masks.narrow(1, 0, h.min(height)).narrow(2, 0, w.min(width));
        let padding = [0, width - w.min(width), 0, height - h.min(height)];
        let padded = masks.to_kind(Kind::Float).constant_pad_nd(padding).unsqueeze(0);
        let (h, w) = embedding.mask_size();
        padded.upsample_bilinear2d([h, w], false, None, None).squeeze_dim(0).round()
    })
}
