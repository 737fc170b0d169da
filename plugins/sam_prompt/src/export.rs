//! The model as functions of tensors: an encoder, and a decoder of one object's prompts.

use sonotune_engine::prelude::*;

use crate::{
    config::Multimask,
    convention::Origin,
    image_tokens::Owners,
    mask_decoder::{MaskTokens, Masks},
    model::Embedding,
    postprocess::Postprocess,
    prompt_encoder::Prompts,
    sam2::Finer,
    task::SamPrompt,
};

/// Names that loaders of exported SAMs and SAM 2s know; in this order.
const EMBEDDING: [&str; 1] = ["image_embeddings"];
const EMBEDDING_SAM2: [&str; 3] = ["high_res_feats_0", "high_res_feats_1", "image_embed"];

/// Added to the token 0 of a prompt that is to have one of the others, or none of them.
const NEVER: f64 = 1e6;

/// Which mask of the decoder answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chooses {
    Fixed(MaskTokens),
    /// The best of three for a single click, else the single one.
    ByPrompt,
}

/// See [`Task::parts`].
pub(crate) fn parts(task: &SamPrompt, image_size: Size) -> Result<Parts<'_>> {
    let (height, width) = image_size;
    let image = Tensor::zeros([1, 3, height, width], (Kind::Float, task.sam.device()));
    let levels = no_grad(|| task.sam.backbone.forward(&image, false))?;
    let embedding = no_grad(|| task.sam.embedding(levels, image_size))?;
    let examples = tensors(&embedding);
    let (config, evaluation) = (&task.config, &task.config.evaluation);
    let refines = config.refines();
    let first = match evaluation.multimask {
        _ if refines => Chooses::Fixed(MaskTokens::Single),
        Multimask::Always => Chooses::Fixed(MaskTokens::Multi),
        Multimask::Never => Chooses::Fixed(MaskTokens::Single),
        Multimask::Ambiguous => Chooses::ByPrompt,
    };
    let decoder = |name, chooses| decoder(task, name, chooses, (&examples, &embedding));
    let second = refines.then(|| {
        let several = Chooses::Fixed(evaluation.multimask.several());
        let offset = config.convention.offset(Origin::Predicted);
        let box_of_empty = evaluation.postprocess == Postprocess::AsPublished;
        Refinement { decoder: decoder("refine", several), offset, box_of_empty }
    });
    Ok(Parts::Promptable(Promptable {
        encoder: encoder(task, image, &examples),
        decoder: decoder("decode", first),
        refinement: second,
        prompts: PromptRules {
            offset: config.convention.offset(Origin::Given),
            filler_with_box: config.convention.is_sam2(),
            cut_first: evaluation.postprocess == Postprocess::AsPublished,
            direct: evaluation.postprocess == Postprocess::Direct,
        },
    }))
}

fn encoder<'a>(task: &'a SamPrompt, image: Tensor, examples: &[Tensor]) -> Part<'a> {
    let [.., height, width] = image.dims::<4>();
    let output = |(name, example): (&&'static str, &Tensor)| {
        PartOutput::new(name, Meaning::Internal, format!("{:?}: for the decoder", example.size()))
    };
    Part {
        name: "encode",
        inputs: vec![PartInput::fixed("image", image, "[1, 3, height, width] RGB, prepared")],
        outputs: names(examples.len()).iter().zip(examples).map(output).collect(),
        forward: Box::new(move |inputs| {
            let [image] = inputs else { bail!("one image, not {}", inputs.len()) };
            let levels = task.sam.backbone.forward(image, false)?;
            Ok(tensors(&task.sam.embedding(levels, (height, width))?))
        }),
    }
}

fn names(count: usize) -> &'static [&'static str] {
    if count == 1 { &EMBEDDING } else { &EMBEDDING_SAM2 }
}

/// In the order of the names.
fn tensors(embedding: &Embedding) -> Vec<Tensor> {
    let features = embedding.features.shallow_clone();
    match &embedding.finer {
        None => vec![features],
        Some(Finer { twice, fourfold }) => {
            vec![fourfold.shallow_clone(), twice.shallow_clone(), features]
        }
    }
}

fn decoder<'a>(
    task: &'a SamPrompt,
    name: &'static str,
    chooses: Chooses,
    (examples, embedding): (&[Tensor], &Embedding),
) -> Part<'a> {
    let (h, w) = embedding.mask_size();
    let (count, image_size) = (examples.len(), embedding.image_size);
    let device = task.sam.device();
    let coords = |t: i64| Tensor::full([1, t, 2], 8.0, (Kind::Float, device));
    let labels = |t: i64| Tensor::ones([1, t], (Kind::Int64, device));
    let float = |size: &[i64]| Tensor::zeros(size, (Kind::Float, device));
    let open = |name, example: Tensor, other, about: &str| PartInput {
        name,
        about: about.to_owned(),
        example,
        other: Some(other),
    };
    let of_image = names(count).iter().zip(examples).map(|(name, example)| {
        let about = format!("{:?}: of the encoder", example.size());
        PartInput::fixed(name, example.shallow_clone(), about)
    });
    let of_prompt = [
        open(
            "point_coords",
            coords(3),
            coords(5),
            "[1, T, 2] (x, y) in input pixels, offset added",
        ),
        open("point_labels", labels(3), labels(5), LABELS),
        PartInput::fixed("mask_input", float(&[1, 1, h, w]), "logits of an earlier mask"),
        PartInput::fixed("has_mask_input", float(&[1]), "[1]: 1 if mask_input holds one, else 0"),
    ];
    Part {
        name,
        inputs: of_image.chain(of_prompt).collect(),
        outputs: vec![
            PartOutput::new(
                "low_res_masks",
                Meaning::MaskLogits,
                format!("[1, 1, {h}, {w}] logits of the mask"),
            ),
            PartOutput::new("iou_predictions", Meaning::Scores, "[1, 1] predicted IoU of the mask"),
        ],
        forward: Box::new(move |inputs| {
            let (image, prompt) = inputs.split_at_checked(count).context("too few inputs")?;
            let [coords, labels, mask, has_mask] = prompt else {
                bail!("expected {} inputs, got {}", count + 4, inputs.len())
            };
            let embedding = from_tensors(task, image, image_size)?;
            let masks = decode(task, &embedding, [coords, labels, mask, has_mask], chooses);
            Ok(vec![masks.logits, masks.iou])
        }),
    }
}

const LABELS: &str =
    "[1, T] i64: -1 filler, 0 background, 1 foreground, 2 and 3 the corners of a box";

fn from_tensors(task: &SamPrompt, tensors: &[Tensor], image_size: Size) -> Result<Embedding> {
    let (features, finer) = match tensors {
        [features] => (features, None),
        [fourfold, twice, features] => {
            let finer = Finer { twice: twice.shallow_clone(), fourfold: fourfold.shallow_clone() };
            (features, Some(finer))
        }
        _ => bail!("{} tensors of an image", tensors.len()),
    };
    let [_, _, h, w] = features.dims();
    let positions = task.sam.prompt_encoder.grid((h, w));
    Ok(Embedding { features: features.shallow_clone(), finer, positions, image_size })
}

/// The chosen mask of one object: logits `[1, 1, 4h, 4w]` and IoU `[1, 1]`.
fn decode(
    task: &SamPrompt,
    embedding: &Embedding,
    [coords, labels, mask, has_mask]: [&Tensor; 4],
    chooses: Chooses,
) -> Masks {
    let owners = Owners::new(vec![1], &embedding.features);
    // Rows of the table: the filler's first.
    let prompts = Prompts {
        coords: coords.shallow_clone(),
        labels: labels + 1,
        masks: Some(mask.shallow_clone()),
    };
    let has_mask = has_mask.view([1, 1, 1, 1]);
    let sam = &task.sam;
    match chooses {
        Chooses::Fixed(MaskTokens::Single) => {
            sam.decode_with(embedding, &owners, &prompts, &has_mask, MaskTokens::Single)
        }
        Chooses::Fixed(MaskTokens::Multi) => {
            best(&sam.decode_with(embedding, &owners, &prompts, &has_mask, MaskTokens::Multi), None)
        }
        Chooses::ByPrompt => {
            let single =
                sam.decode_with(embedding, &owners, &prompts, &has_mask, MaskTokens::Single);
            let multi = sam.decode_with(embedding, &owners, &prompts, &has_mask, MaskTokens::Multi);
            let all = Masks {
                logits: Tensor::cat(&[single.logits, multi.logits], 1),
                iou: Tensor::cat(&[single.iou, multi.iou], 1),
                object_score: None,
            };
            let is_multi = is_single_click(labels) * (1.0 - has_mask.view([1, 1]));
            best(&all, Some(&is_multi))
        }
    }
}

/// `[1, 1]`: 1 if the tokens are one click and no box, else 0.
fn is_single_click(labels: &Tensor) -> Tensor {
    let count = |from: i64, to: i64| {
        let of_kind = labels.ge(from).logical_and(&labels.le(to)).to_kind(Kind::Float);
        of_kind.sum_dim_intlist([1i64].as_slice(), true, Kind::Float)
    };
    count(0, 1).eq(1.0).logical_and(&count(2, 3).eq(0.0)).to_kind(Kind::Float)
}

/// The mask with the highest predicted IoU, the first of equals. `is_multi`: 1 if the first mask is out of
/// question, 0 if it is the one.
fn best(all: &Masks, is_multi: Option<&Tensor>) -> Masks {
    let scores = match is_multi {
        None => all.iou.shallow_clone(),
        Some(is_multi) => {
            let [_, count] = all.iou.dims();
            let others = Tensor::zeros([1, count - 1], (all.iou.kind(), all.iou.device()));
            let first = (1.0 - is_multi * 2.0) * NEVER;
            &all.iou + Tensor::cat(&[first, others], 1)
        }
    };
    let index = scores.argmax(1, false);
    Masks {
        logits: all.logits.index_select(1, &index),
        iou: all.iou.index_select(1, &index),
        object_score: None,
    }
}
