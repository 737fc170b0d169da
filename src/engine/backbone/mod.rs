//! Backbones: images in, feature levels out.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::Result;
use tch::{Kind, Tensor, nn};

use crate::data::Batch;

mod freeze;
pub mod resnet;
pub mod sam_vit;

pub use freeze::Freeze;
pub(crate) use sam_vit::addition;

/// ImageNet's mean of RGB values in 0..=255, which every backbone here was pretrained with.
pub const PIXEL_MEAN: [f64; 3] = [123.675, 116.28, 103.53];
/// ImageNet's standard deviation of RGB values in 0..=255.
pub const PIXEL_STD: [f64; 3] = [58.395, 57.12, 57.375];

/// The `[backbone]` table of a config.
#[typetag::serde(tag = "type")]
pub trait BackboneConfig: Debug + Send + Sync {
    /// Creates the variables under `vs`, by upstream's names.
    ///
    /// # Errors
    /// When the options contradict each other; names the key.
    fn build(&self, vs: &nn::Path) -> Result<Box<dyn Backbone>>;

    /// Merges what fine-tuning added beside the pretrained variables (LoRA) into them and takes it
    /// out of `variables`, which are those of a checkpoint by name. Gives the number of merged
    /// layers; by default there is nothing to merge. What cannot be merged (adapters) stays.
    ///
    /// # Errors
    /// When the variables are not those of this config.
    fn merge(&self, variables: &mut BTreeMap<String, Tensor>) -> Result<usize> {
        let _ = variables;
        Ok(0)
    }
}

/// What is known of a backbone before any forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct BackboneSpec {
    /// RGB, of values in 0..=255.
    pub pixel_mean: [f64; 3],
    pub pixel_std: [f64; 3],
    /// Side of the square input, pixels; `None` when any multiple of `divisor` will do.
    pub square_size: Option<i64>,
    /// Input sides must be multiples of this.
    pub divisor: i64,
    /// Fine to coarse.
    pub levels: Vec<Level>,
}

/// One feature map of a backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub channels: i64,
    /// Input pixels per feature pixel.
    pub stride: i64,
}

/// A feature extractor.
pub trait Backbone: Debug + Send {
    fn spec(&self) -> &BackboneSpec;

    /// `[B, 3, H, W]` normalised images to one `[B, C_l, H / stride_l, W / stride_l]` per level.
    ///
    /// # Errors
    /// When the input size does not suit; says which would.
    fn forward(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>>;
}

/// Feature levels of a batch: those that came with it where a frozen backbone has computed them
/// before (`[embedding_cache]`), else the backbone's. Every task asks here.
///
/// # Errors
/// As [`Backbone::forward`].
pub fn features(backbone: &dyn Backbone, batch: &Batch, train: bool) -> Result<Vec<Tensor>> {
    match &batch.features {
        Some(levels) => Ok(levels.iter().map(|level| level.to_kind(Kind::Float)).collect()),
        None => {
            let levels = backbone.forward(&batch.images, train)?;
            check(backbone.spec(), &batch.images, &levels)?;
            Ok(levels)
        }
    }
}

/// That a backbone gave what its spec promises: heads are built by that alone.
fn check(spec: &BackboneSpec, images: &Tensor, levels: &[Tensor]) -> Result<()> {
    let (batch, _, height, width) = images.size4()?;
    let promised: Vec<_> = spec
        .levels
        .iter()
        .map(|level| vec![batch, level.channels, height / level.stride, width / level.stride])
        .collect();
    let given: Vec<_> = levels.iter().map(Tensor::size).collect();
    anyhow::ensure!(
        given == promised,
        "the backbone gave levels of the shapes {given:?} for images of {height}x{width} pixels, but \
         by its spec they are {promised:?} ([B, C, H, W])"
    );
    Ok(())
}
