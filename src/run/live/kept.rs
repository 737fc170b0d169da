//! What was computed from the pixels of the last images.

use std::collections::VecDeque;

use sonotune_base::Crop;
use sonotune_engine::batch::Batch;

use super::LiveImage;

/// Bytes of backbone outputs that stay in memory: 128 of a ViT-B at 1024², or a handful of a ResNet's.
const MOST_BYTES: usize = 512 << 20;

/// One image, ready for questions.
#[derive(Debug)]
pub(super) struct Ready {
    /// Without prompts; on the model's device.
    pub(super) batch: Batch,
    /// `(height, width)` of the file.
    pub(super) size: (u32, u32),
    /// The part of it that the model sees; `None`: all.
    pub(super) crop: Option<Crop>,
}

impl Ready {
    fn bytes(&self) -> usize {
        let features = self.batch.features.iter().flatten();
        let size = |tensor: &tch::Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        // Images that were not decoded take no memory, whatever their shape.
        match &self.batch.features {
            Some(_) => features.map(size).sum(),
            None => size(&self.batch.images),
        }
    }
}

/// The last images, as far as memory goes; at least one.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Used longest ago first.
    images: VecDeque<(LiveImage, Ready)>,
}

impl Kept {
    pub(super) fn has(&self, image: &LiveImage) -> bool {
        self.images.iter().any(|(kept, _)| kept == image)
    }

    /// The image, now the one used last.
    pub(super) fn get(&mut self, image: &LiveImage) -> Option<&Ready> {
        let at = self.images.iter().position(|(kept, _)| kept == image)?;
        let found = self.images.remove(at)?;
        self.images.push_back(found);
        self.images.back().map(|(_, ready)| ready)
    }

    /// Adds an image, and forgets the oldest ones beyond the limit.
    pub(super) fn add(&mut self, image: LiveImage, ready: Ready) {
        // An earlier version of the same file is useless now.
        self.images.retain(|(kept, _)| kept.file != image.file);
        self.images.push_back((image, ready));
        let mut bytes: usize = self.images.iter().map(|(_, ready)| ready.bytes()).sum();
        while bytes > MOST_BYTES && self.images.len() > 1 {
            bytes -= self.images.pop_front().map_or(0, |(_, ready)| ready.bytes());
        }
    }
}
