//! Answers prompts for one image.

use sonotune_engine::prelude::*;

use crate::{
    SamPromptConfig,
    config::Multimask,
    convention::Origin,
    image_tokens::Owners,
    mask_decoder::MaskTokens,
    model::{Embedding, Sam},
    postprocess::{Frame, Postprocess, run_lengths, tight_box},
    prompt::Question,
    sampling::{Token, prompts},
};

/// An image, embedded once for any number of prompts.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) sam: &'a Sam,
    pub(crate) config: &'a SamPromptConfig,
    /// Embedding of one image.
    pub(crate) embedding: Embedding,
    pub(crate) frame: Frame,
}

/// The answer to one prompt.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Mask in original pixels.
    pub(crate) mask: Rle,
    /// Predicted IoU, raw.
    pub(crate) score: f64,
    /// `[1, 4h, 4w]`.
    pub(crate) logits: Tensor,
}

/// The masks that the decoder gave for one prompt.
struct Raw {
    /// `[M, 4h, 4w]`.
    logits: Tensor,
    iou: Vec<f64>,
}

impl View<'_> {
    /// In the order of the prompts. Only the chosen mask of each prompt is kept.
    pub(crate) fn ask(&self, questions: &[Question]) -> Result<Vec<Reply>> {
        let form = |i: usize| (questions[i].tokens.len(), questions[i].mask.is_some());
        self.in_portions(questions.len(), form, |portion| {
            let asked: Vec<_> = portion.iter().map(|&i| &questions[i]).collect();
            self.ask_together(&asked)
        })
    }

    /// Calls `answer` with portions of at most `objects_per_pass` of `0..count` and returns the results
    /// in order. A portion has prompts of the same shape only, as the decoder requires.
    pub(crate) fn in_portions<F: Ord, T>(
        &self,
        count: usize,
        form: impl Fn(usize) -> F,
        mut answer: impl FnMut(&[usize]) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let mut order: Vec<_> = (0..count).collect();
        order.sort_by_key(|&i| form(i));
        let mut answers = Vec::with_capacity(count);
        for of_one_form in order.chunk_by(|&a, &b| form(a) == form(b)) {
            for portion in of_one_form.chunks(self.config.evaluation.objects_per_pass) {
                answers.extend(portion.iter().copied().zip(answer(portion)?));
            }
        }
        answers.sort_by_key(|(i, _)| *i);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    fn ask_together(&self, questions: &[&Question]) -> Result<Vec<Reply>> {
        if !self.config.refines() {
            let raw = self.pass(questions, |question| self.tokens_for(question))?;
            return self.replies(&raw);
        }
        let first = self.replies(&self.pass(questions, |_| MaskTokens::Single)?)?;
        let second: Vec<_> =
            questions.iter().zip(first).map(|(asked, reply)| self.refined(asked, reply)).collect();
        let second: Vec<_> = second.iter().collect();
        self.replies(&self.pass(&second, |_| self.several())?)
    }

    fn several(&self) -> MaskTokens {
        self.config.evaluation.multimask.several()
    }

    fn tokens_for(&self, question: &Question) -> MaskTokens {
        let is_multi = match self.config.evaluation.multimask {
            Multimask::Always => true,
            Multimask::Ambiguous => question.is_ambiguous(),
            Multimask::Never => false,
        };
        if is_multi { MaskTokens::Multi } else { MaskTokens::Single }
    }

    /// The prompt of the second pass: the first mask, and its box in place of points.
    fn refined(&self, asked: &Question, reply: Reply) -> Question {
        // An empty mask has no box. The published code prompts with a box of zeros then.
        let is_empty = reply.mask.area() == 0;
        let keeps = asked.has_box()
            || (is_empty && self.config.evaluation.postprocess != Postprocess::AsPublished);
        let tokens = if keeps {
            asked.tokens.clone()
        } else {
            let (scale_x, scale_y) = self.frame.scale();
            let [x0, y0, x1, y1] = tight_box(&reply.mask);
            let bbox = [x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y];
            Token::corners(bbox, self.config.convention.offset(Origin::Predicted)).to_vec()
        };
        Question { tokens, mask: Some(reply.logits) }
    }

    /// One run of the decoder for each group of prompts of the same shape.
    fn pass(
        &self,
        questions: &[&Question],
        wanted: impl Fn(&Question) -> MaskTokens,
    ) -> Result<Vec<Raw>> {
        let form = |i: usize| {
            let question = questions[i];
            (question.tokens.len(), question.mask.is_some(), wanted(question))
        };
        self.in_portions(questions.len(), form, |portion| {
            let asked: Vec<_> = portion.iter().map(|&i| questions[i]).collect();
            self.decode(&asked, wanted(asked[0]))
        })
    }

    /// Prompts with the same number of tokens, all with or all without a mask.
    fn decode(&self, questions: &[&Question], wanted: MaskTokens) -> Result<Vec<Raw>> {
        let masks: Vec<_> = questions.iter().filter_map(|q| q.mask.as_ref()).collect();
        let masks = (!masks.is_empty()).then(|| Tensor::stack(&masks, 0));
        let owners = Owners::new(vec![questions.len() as i64], &self.embedding.features);
        let tokens = questions.iter().map(|q| q.tokens.as_slice());
        let prompts = prompts(tokens, masks, &self.embedding.features);
        let masks = self.sam.decode(&self.embedding, &owners, &prompts, wanted, false);
        let (_, m) = masks.iou.size2()?;
        let iou = Vec::<f64>::try_from(masks.iou.to_kind(Kind::Double).flatten(0, -1))?;
        let raw = |(i, iou): (usize, &[f64])| Raw {
            logits: masks.logits.get(i as i64),
            iou: iou.to_vec(),
        };
        Ok(iou.chunks_exact(m.max(1) as usize).enumerate().map(raw).collect())
    }

    /// For each prompt, the mask with the highest predicted IoU, the first of equals.
    fn replies(&self, raw: &[Raw]) -> Result<Vec<Reply>> {
        let (mut scores, mut logits) = (Vec::new(), Vec::new());
        for Raw { logits: all, iou } in raw {
            let best = (0..iou.len()).fold(0, |best, i| if iou[i] > iou[best] { i } else { best });
            scores.push(iou[best]);
            logits.push(all.narrow(0, best as i64, 1));
        }
        if logits.is_empty() {
            return Ok(Vec::new());
        }
        // A copy, so that the replies do not keep the masks that were not chosen in memory.
        let chosen = Tensor::stack(&logits, 0);
        let masks = self.masks(&chosen)?.into_iter().zip(scores).enumerate();
        let reply = |(i, (mask, score))| Reply { mask, score, logits: chosen.get(i as i64) };
        Ok(masks.map(reply).collect())
    }

    /// All masks of every prompt, with their predicted IoU: `[M, 4h, 4w]` and M values each.
    pub(crate) fn ask_all(&self, questions: &[Question]) -> Result<Vec<(Tensor, Vec<f64>)>> {
        let questions: Vec<_> = questions.iter().collect();
        let raw = self.pass(&questions, |_| self.several())?;
        Ok(raw.into_iter().map(|Raw { logits, iou }| (logits, iou)).collect())
    }

    /// `[N, 1, 4h, 4w]` logits to masks of the original image.
    pub(crate) fn masks(&self, logits: &Tensor) -> Result<Vec<Rle>> {
        run_lengths(&self.config.evaluation.postprocess.masks(logits, self.frame))
    }
}
