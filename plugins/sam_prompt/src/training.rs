//! One training step: passes and losses.

use sonotune_engine::prelude::*;

use crate::{
    SamPromptConfig,
    convention::Origin,
    image_tokens::Owners,
    loss::{LossConfig, MaskLosses, mask_losses},
    mask_decoder::MaskTokens,
    model::{Embedding, Sam},
    preparation::{ChosenObjects, PromptPreparation, Rounds},
    prompt_encoder::{Label, Prompts},
    sampling::{Pixel, Token, draw_pixels, prompts},
};

/// Losses of a batch.
pub(crate) fn step(
    sam: &Sam,
    config: &SamPromptConfig,
    preparation: &PromptPreparation,
    batch: &Batch,
) -> Result<StepOutput> {
    let embedding = sam.embed(batch, true)?;
    let objects = batch.prepared::<ChosenObjects>(preparation)?;
    let owners = Owners::of_index(objects.counts.clone(), objects.owners.shallow_clone())
        .with_others(objects.rows);
    let prompts = Prompts {
        coords: objects.coords.to_kind(wide_kind(&embedding.features)),
        labels: objects.labels.shallow_clone(),
        masks: None,
    };
    let mut output = if objects.is_empty() {
        nothing_to_learn(&embedding, config)
    } else if let Some(rounds) = &objects.rounds {
        interact(sam, config, &embedding, (&owners, prompts, &objects.targets), rounds)?
    } else {
        let passes = Passes::of(config);
        pass_losses(sam, &embedding, &owners, prompts, &objects.targets, passes)?
    };
    let counters = ["objects", "objects_without_pixels", "objects_beyond_limit"];
    for (i, name) in (0..).zip(counters) {
        output.log(name, objects.counters.get(i), Over::Sum);
    }
    Ok(output)
}

/// The passes of a training step without interaction.
#[derive(Debug, Clone, Copy)]
pub struct Passes<'a> {
    /// Whether a second pass refines the mask of the first.
    pub refines: bool,
    /// The masks of the last pass.
    pub last: MaskTokens,
    pub loss: &'a LossConfig,
}

impl<'a> Passes<'a> {
    /// Those that the config asks for.
    #[must_use]
    pub fn of(config: &'a SamPromptConfig) -> Self {
        let last = config.evaluation.multimask.several();
        Self { refines: config.refines(), last, loss: &config.loss }
    }
}

/// Losses of one pass, or of two with refinement: then the first mask, with its gradient,
/// is a prompt of the second pass, and the names of that pass end in `.0`.
///
/// `targets`: `[N, 4h, 4w]` of 0 and 1, in the order of `prompts`.
///
/// # Errors
/// If shapes do not fit each other.
pub fn pass_losses(
    sam: &Sam,
    embedding: &Embedding,
    owners: &Owners,
    prompts: Prompts,
    targets: &Tensor,
    Passes { refines, last, loss: config }: Passes<'_>,
) -> Result<StepOutput> {
    let mut output = StepOutput::default();
    let wanted = if refines { MaskTokens::Single } else { last };
    let first = sam.decode(embedding, owners, &prompts, wanted, true);
    add(&mut output, "", mask_losses(&first, targets, config)?, config);
    if refines {
        let second = Prompts { masks: Some(first.logits), ..prompts };
        let second = sam.decode(embedding, owners, &second, last, true);
        add(&mut output, ".0", mask_losses(&second, targets, config)?, config);
    }
    Ok(output)
}

/// One pass, plus the configured number of further rounds.
fn interact(
    sam: &Sam,
    config: &SamPromptConfig,
    embedding: &Embedding,
    (owners, mut asked, targets): (&Owners, Prompts, &Tensor),
    rounds: &Rounds,
) -> Result<StepOutput> {
    let (mut tokens, mut rngs) = (rounds.tokens.clone(), rounds.rngs.clone());
    let mut output = StepOutput::default();
    for round in 0..=config.training.interactive_rounds {
        // One prompt may be ambiguous; a second one resolves it.
        let several = config.evaluation.multimask.several();
        let wanted = if round == 0 { several } else { MaskTokens::Single };
        let masks = sam.decode(embedding, owners, &asked, wanted, true);
        let losses = mask_losses(&masks, targets, &config.loss)?;
        let suffix = if round == 0 { String::new() } else { format!(".{}", round - 1) };
        if round < config.training.interactive_rounds {
            let (n, _, h, w) = masks.logits.size4()?;
            let chosen = losses.chosen.view([n, 1, 1, 1]).expand([n, 1, h, w], false);
            let logits = no_grad(|| masks.logits.detach().gather(1, &chosen, false));
            let inside = no_grad(|| logits.squeeze_dim(1).gt(0.0));
            let clicks = clicks(&inside, &rounds.truth, embedding, config, &mut rngs)?;
            for (tokens, click) in tokens.iter_mut().zip(clicks) {
                // Before the filler token of a point, which stays last.
                let at = tokens.iter().position(|t| t.label == Label::NotAPoint);
                tokens.insert(at.unwrap_or(tokens.len()), click);
            }
            let tokens = tokens.iter().map(Vec::as_slice);
            asked = prompts(tokens, Some(logits), &embedding.features);
        }
        add(&mut output, &suffix, losses, &config.loss);
    }
    Ok(output)
}

/// The next click of each object: a pixel where its mask and the truth differ, or one of the object's
/// if they are equal. Waits for the device, once: where to click depends on what it answered.
fn clicks(
    inside: &Tensor,
    truth: &Tensor,
    embedding: &Embedding,
    config: &SamPromptConfig,
    rngs: &mut [Rng],
) -> Result<Vec<Token>> {
    let wrong = inside.to_device(Device::Cpu).logical_xor(truth);
    let from_error = draw_pixels(&wrong, rngs)?;
    let from_object = draw_pixels(truth, rngs)?;
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
    let objects = losses.true_iou.numel() as f64;
    for (name, value, weight) in [
        ("loss_focal", losses.focal, config.focal),
        ("loss_dice", losses.dice, config.dice),
        ("loss_iou", losses.iou, config.iou),
    ] {
        let (name, over) = (format!("{name}{suffix}"), Over::Count(objects));
        output.losses.push(Loss { name, value, weight, over });
    }
    let none = || Tensor::from(0f32).to_device(losses.true_iou.device());
    let iou = if objects > 0.0 { losses.true_iou.mean(None) } else { none() };
    output.log(format!("iou{suffix}"), iou, Over::Count(objects));
}

/// Losses of a batch without objects, which must not stop a run: zero, with zero gradients.
fn nothing_to_learn(embedding: &Embedding, config: &SamPromptConfig) -> StepOutput {
    // The positional encodings of the grid are not a variable; the features may be frozen.
    let zero = || (&embedding.features * 0.0).sum(wide_kind(&embedding.features));
    let further = if config.refines() { 1 } else { config.training.interactive_rounds };
    let suffixes = (0..further).map(|round| format!(".{round}"));
    let mut output = StepOutput::default();
    for suffix in std::iter::once(String::new()).chain(suffixes) {
        let losses = MaskLosses {
            focal: zero(),
            dice: zero(),
            iou: zero(),
            chosen: Tensor::new(),
            true_iou: zero().detach().expand([0i64], false),
        };
        add(&mut output, &suffix, losses, &config.loss);
    }
    output
}
