//! Backbone, prompt encoder and mask decoder together.

use sonotune_engine::prelude::*;

use crate::{
    image_tokens::Owners,
    mask_decoder::{MaskDecoder, MaskTokens, Masks},
    prompt_encoder::{PromptEncoder, Prompts},
};

/// A SAM.
#[derive(Debug)]
pub struct Sam {
    pub backbone: Box<dyn Backbone>,
    pub prompt_encoder: PromptEncoder,
    pub mask_decoder: MaskDecoder,
}

/// What the decoder needs from a batch of images, however many prompts follow.
#[derive(Debug)]
pub struct Embedding {
    /// `[B, C, h, w]`.
    pub features: Tensor,
    /// `[h · w, C]`.
    pub positions: Tensor,
    /// Size of the padded input.
    pub image_size: Size,
}

impl Sam {
    /// # Errors
    /// If the backbone refuses the images' size.
    pub fn embed(&self, batch: &Batch, train: bool) -> Result<Embedding> {
        let (_, _, height, width) = batch.images.size4()?;
        let features = batch
            .features(&*self.backbone, train)?
            .pop()
            .context("the backbone gave no feature level, but its spec lists one")?;
        Ok(self.embedding(features, (height, width)))
    }

    /// From features that are already computed.
    #[must_use]
    pub fn embedding(&self, features: Tensor, image_size: Size) -> Embedding {
        let [_, _, h, w] = features.dims();
        Embedding { positions: self.prompt_encoder.grid((h, w)), features, image_size }
    }

    /// Masks of the objects of `owners`, in the order of `prompts`.
    #[must_use]
    pub fn decode(
        &self,
        embedding: &Embedding,
        owners: &Owners,
        prompts: &Prompts,
        wanted: MaskTokens,
        train: bool,
    ) -> Masks {
        let sparse = self.prompt_encoder.sparse(prompts, embedding.image_size);
        let dense = self.prompt_encoder.dense(prompts);
        let Embedding { features, positions, .. } = embedding;
        self.mask_decoder.forward(features, owners, positions, (&sparse, &dense), wanted, train)
    }
}

impl Embedding {
    /// The embedding of one image of the batch.
    #[must_use]
    pub fn of_image(&self, index: usize) -> Self {
        Self {
            features: self.features.narrow(0, index as i64, 1),
            positions: self.positions.shallow_clone(),
            image_size: self.image_size,
        }
    }

    /// Size of the masks that the decoder makes from it.
    #[must_use]
    pub fn mask_size(&self) -> Size {
        let [_, _, h, w] = self.features.dims();
        (4 * h, 4 * w)
    }
}
