//! Backbones: images in, feature levels out.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::Result;
use tch::{Tensor, nn};

use sonotune_base::Error;
use sonotune_dataset::InputSpec;

pub mod conv_norm;
pub mod freeze;
pub mod peft;
pub mod resnet;
pub mod sam_neck;
pub mod sam_vit;
pub mod shared_block;

pub use freeze::Freeze;

/// The `[backbone]` table of a config.
#[typetag::serde(tag = "type")]
pub trait BackboneConfig: Debug + Send + Sync {
    /// Creates the variables under `vs`, by upstream's names.
    ///
    /// # Errors
    /// When the options contradict each other; names the key.
    fn build(&self, vs: &nn::Path) -> Result<Box<dyn Backbone>>;

    /// Merges what fine-tuning added to the pretrained variables (LoRA) into them and removes it from
    /// `variables`, those of a checkpoint by name. Returns the number of merged
    /// layers; by default there is nothing to merge. What cannot be merged (adapters) stays.
    ///
    /// # Errors
    /// When the variables are not those of this config.
    fn merge(&self, variables: &mut BTreeMap<String, Tensor>) -> Result<usize> {
        let _ = variables;
        Ok(0)
    }

    /// The sizes that a file's backbone has, as lines of this table (`arch = "large"`), if they differ
    /// from these. `shapes` are those of the file's tensors by variable; by default nothing is known.
    fn other_sizes(&self, shapes: &BTreeMap<String, Vec<i64>>) -> Option<String> {
        let _ = shapes;
        None
    }

    /// The key that makes training change statistics of batches, if it is set so: they belong to one
    /// process, and several would drift apart.
    fn batch_statistics(&self) -> Option<&'static str> {
        None
    }
}

sonotune_config::schema_of_types!(dyn BackboneConfig, "backbone");

/// What is known about a backbone before any forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct BackboneSpec {
    /// How images are prepared.
    pub input: InputSpec,
    /// Fine to coarse.
    pub levels: Vec<Level>,
}

impl BackboneSpec {
    /// Checks that the backbone of this `type` takes images of a size in pixels.
    ///
    /// # Errors
    /// If a side is not a multiple of the divisor; names the next size that is.
    pub fn require_size(&self, name: &str, height: i64, width: i64) -> Result<()> {
        let divisor = self.input.divisor;
        if height > 0 && width > 0 && height % divisor == 0 && width % divisor == 0 {
            return Ok(());
        }
        let up = |side: i64| (side.max(1) + divisor - 1) / divisor * divisor;
        Err(Error::config(format!(
            "{name}: input of {height}x{width} pixels (height x width): both must be multiples of {divisor}, \
             e.g. {}x{}",
            up(height),
            up(width)
        ))
        .into())
    }
}

/// One feature map of a backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub channels: i64,
    /// Input pixels per feature pixel; 0 for one vector per image.
    pub stride: i64,
}

impl Level {
    /// One vector per image, `[B, C, 1, 1]` whatever the image's size.
    #[must_use]
    pub fn pooled(channels: i64) -> Self {
        Self { channels, stride: 0 }
    }

    /// Whether the level is a map and not one vector per image.
    #[must_use]
    pub fn is_map(&self) -> bool {
        self.stride > 0
    }

    /// Height and width of the level for images of `height` x `width` pixels.
    #[must_use]
    pub fn size(&self, (height, width): (i64, i64)) -> (i64, i64) {
        if self.is_map() { (height / self.stride, width / self.stride) } else { (1, 1) }
    }
}

impl BackboneSpec {
    /// Checks that every level is a map, for a task that needs places in the image.
    ///
    /// # Errors
    /// When a level is one vector per image; names `task` and what to set.
    pub fn require_maps(&self, task: &str) -> Result<()> {
        if self.levels.iter().all(Level::is_map) {
            return Ok(());
        }
        fault(format!(
            "task `{task}` needs feature maps, but the backbone gives one vector per image; choose maps in [backbone] (of `vit`: output = \"patch_tokens\")"
        ))
    }
}

/// A feature extractor.
pub trait Backbone: Debug + Send {
    fn spec(&self) -> &BackboneSpec;

    /// `[B, 3, H, W]` normalised images to one `[B, C_l, H / stride_l, W / stride_l]` per level.
    ///
    /// # Errors
    /// If the input size does not fit; says which sizes do.
    fn forward(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>>;
}

/// An error of kind config: options of a backbone that contradict each other.
///
/// # Errors
/// Always.
pub fn fault<T>(message: String) -> Result<T> {
    Err(Error::config(message).into())
}
