//! Prompts for an image, in the frame of the network's input.

use sonotune_engine::prelude::*;

use crate::{
    Convention, convention::Origin, model::Embedding, postprocess::Frame, prompt_encoder::Label,
    sampling::Token,
};

/// Logit of a pixel of a given mask: more confident than a model would be, but finite.
const KNOWN: f64 = 10.0;

/// One object's prompts.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) tokens: Vec<Token>,
    /// `[1, 4h, 4w]` logits.
    pub(crate) mask: Option<Tensor>,
}

impl Question {
    /// Points, then a box; without a box, one filler token is in its place, as SAM was trained. SAM 2 was
    /// trained with the filler after a box as well.
    pub(crate) fn new(prompt: &ObjectPrompt, frame: Frame, convention: Convention) -> Self {
        let (scale_x, scale_y) = frame.scale();
        let offset = convention.offset(Origin::Given);
        let point = |p: &PointPrompt| Token {
            x: p.x * scale_x + offset,
            y: p.y * scale_y + offset,
            label: if p.positive { Label::Positive } else { Label::Negative },
        };
        let mut tokens: Vec<_> = prompt.points.iter().map(point).collect();
        match prompt.bbox {
            Some([x0, y0, x1, y1]) => {
                let bbox = [x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y];
                tokens.extend(Token::corners(bbox, offset));
                tokens.extend(convention.is_sam2().then_some(Token::NOT_A_POINT));
            }
            // A mask alone has no tokens.
            None if tokens.is_empty() => {}
            None => tokens.push(Token::NOT_A_POINT),
        }
        Self { tokens, mask: None }
    }

    /// Like [`new`](Self::new), with the prompt's mask.
    ///
    /// # Errors
    /// If the prompt is outside its image, or its mask has another size.
    pub(crate) fn given(
        prompt: &ObjectPrompt,
        frame: Frame,
        convention: Convention,
        embedding: &Embedding,
    ) -> Result<Self> {
        prompt.check(frame.original)?;
        let mask = prompt.rasterized_mask(frame.original)?;
        let mask = mask.map(|mask| mask_logits(&mask, frame, embedding));
        Ok(Self { mask, ..Self::new(prompt, frame, convention) })
    }

    pub(crate) fn has_box(&self) -> bool {
        self.tokens.iter().any(|token| token.label == Label::BoxCornerA)
    }

    /// Whether it is ambiguous, as a single click is.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.mask.is_none() && self.tokens.len() == 2 && !self.has_box()
    }
}

/// A mask in original pixels as logits at the decoder's resolution: `[1, 4h, 4w]`.
fn mask_logits(mask: &Rle, frame: Frame, embedding: &Embedding) -> Tensor {
    let (height, width) = frame.original;
    let bytes = mask.to_mask();
    let mask = Tensor::from_data_size(&bytes, &[1, 1, height, width], Kind::Uint8);
    let features = &embedding.features;
    let mask = upload(&mask, features.device()).to_kind(wide_kind(features));
    let input =
        mask.internal_upsample_bilinear2d_aa([frame.input.0, frame.input.1], false, None, None);
    let padding = [0, frame.padded.1 - frame.input.1, 0, frame.padded.0 - frame.input.0];
    let (h, w) = embedding.mask_size();
    let padded = input.constant_pad_nd(padding);
    let low = padded.internal_upsample_bilinear2d_aa([h, w], false, None, None);
    ((low * 2.0 - 1.0) * KNOWN).squeeze_dim(1)
}
