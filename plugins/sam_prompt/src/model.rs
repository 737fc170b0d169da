//! Backbone, prompt encoder and mask decoder together.

use sonotune_engine::prelude::*;

use crate::{
    image_tokens::Owners,
    mask_decoder::{MaskDecoder, MaskTokens, Masks},
    prompt_encoder::{PromptEncoder, Prompts},
    sam2::{Finer, ImageFeatures},
};

/// A SAM, or a SAM 2 without its memory.
#[derive(Debug)]
pub struct Sam {
    pub backbone: Box<dyn Backbone>,
    pub prompt_encoder: PromptEncoder,
    pub mask_decoder: MaskDecoder,
    /// With SAM 2's decoder.
    pub image_features: Option<ImageFeatures>,
}

/// What the decoder needs from a batch of images, however many prompts follow.
#[derive(Debug)]
pub struct Embedding {
    /// `[B, C, h, w]`.
    pub features: Tensor,
    /// Those that SAM 2's decoder needs as well.
    pub finer: Option<Finer>,
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
        self.embedding(batch.features(&*self.backbone, train)?, (height, width))
    }

    /// From feature levels that are already computed, fine to coarse.
    ///
    /// # Errors
    /// If the decoder needs other levels.
    pub fn embedding(&self, mut levels: Vec<Tensor>, image_size: Size) -> Result<Embedding> {
        let (features, finer) = match &self.image_features {
            Some(image_features) => {
                let (features, finer) = image_features.forward(&levels)?;
                (features, Some(finer))
            }
            None => {
                let last = levels.pop();
                (last.context("the backbone gave no feature level, but its spec lists one")?, None)
            }
        };
        let [_, _, h, w] = features.dims();
        let positions = self.prompt_encoder.grid((h, w));
        Ok(Embedding { features, finer, positions, image_size })
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
        let dense = self.prompt_encoder.dense(prompts);
        self.decode_dense(embedding, owners, (prompts, &dense), wanted, train)
    }

    /// Same as [`decode`](Self::decode) in evaluation, where `has_masks` decides whether the prompts' masks count:
    /// `[N, 1, 1, 1]`, 1 or 0.
    #[must_use]
    pub(crate) fn decode_with(
        &self,
        embedding: &Embedding,
        owners: &Owners,
        prompts: &Prompts,
        has_masks: &Tensor,
        wanted: MaskTokens,
    ) -> Masks {
        let dense = self.prompt_encoder.dense_if(prompts, has_masks);
        self.decode_dense(embedding, owners, (prompts, &dense), wanted, false)
    }

    /// Where its weights are.
    pub(crate) fn device(&self) -> Device {
        self.prompt_encoder.device()
    }

    fn decode_dense(
        &self,
        embedding: &Embedding,
        owners: &Owners,
        (prompts, dense): (&Prompts, &Tensor),
        wanted: MaskTokens,
        train: bool,
    ) -> Masks {
        let sparse = self.prompt_encoder.sparse(prompts, embedding.image_size);
        let Embedding { features, finer, positions, .. } = embedding;
        let image = (features, finer.as_ref());
        self.mask_decoder.forward(image, owners, positions, (&sparse, dense), wanted, train)
    }
}

impl Embedding {
    /// The embedding of one image of the batch.
    #[must_use]
    pub fn of_image(&self, index: usize) -> Self {
        Self {
            features: self.features.narrow(0, index as i64, 1),
            finer: self.finer.as_ref().map(|finer| finer.of_image(index as i64)),
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
