//! What the loader hands to a task.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::backbone::{Backbone, BackboneSpec};
use sonotune_base::{Error, ImageId, Size, image_io::Stored};
use sonotune_dataset::{
    ImagePrompts, Object,
    dataset::{no_value, value_hint},
};

/// Annotation of one image, in the frame of the network's input.
#[derive(Debug)]
pub struct Target {
    /// As the annotation file spells it.
    pub image_id: ImageId,
    /// Path of the file, for messages and pictures.
    pub path: std::path::PathBuf,
    /// Size of the file on disk (after EXIF orientation, if applied); predictions use this frame.
    pub original_size: Size,
    /// Unpadded top-left part of [`Batch::images`]. With `augment.scale_range` a training batch shows a
    /// part of the image: there is no way from here to original pixels, and it is not for
    /// [`Task::predict`](crate::task::Task::predict).
    pub input_size: Size,
    /// Whether the input was mirrored left to right.
    pub flipped: bool,
    /// Categories of the image as a whole, ascending, without repeats; empty if there are none.
    pub image_labels: Vec<i64>,
    /// `[N]` i64 in `0..num_classes`.
    pub labels: Tensor,
    /// `[N, 4]` f32 XYXY, input pixels; without area for an object outside a random crop.
    pub boxes: Tensor,
    /// `[N, H, W]` bool, input frame without padding; `[0, H, W]` when masks are not needed.
    /// Empty for an object outside a random crop.
    pub masks: Tensor,
    /// `[N]` bool: crowd regions, ignored by training and treated by COCO's rules in metrics.
    pub is_crowd: Tensor,
    /// The same objects as annotated, in original pixels, unless only image labels are needed.
    pub objects: Arc<[Object]>,
    /// What to ask a promptable model; `None`: what its task derives from `objects`.
    pub prompts: Option<ImagePrompts>,
    /// Numbers that belong to the image as a whole, by name, as annotated. No augmentation changes them.
    pub values: BTreeMap<String, f64>,
    /// What the file holds besides the image; unknown for an embedding.
    pub stored: Stored,
}

/// Images of one step.
#[derive(Debug)]
pub struct Batch {
    /// `[B, 3, H, W]` f32 RGB, normalised and padded. If there are `features`, the images have not been
    /// decoded: the shape is the same, every value is NaN, and no memory is allocated.
    pub images: Tensor,
    /// The output of a frozen backbone for `images`, level by level, computed earlier. Tasks access it
    /// through [`Batch::features`].
    pub features: Option<Vec<Tensor>>,
    pub targets: Vec<Target>,
    /// From (run seed, step): whatever a task draws, it draws from this.
    pub seed: u64,
}

impl Target {
    /// The image's number of that name.
    ///
    /// # Errors
    /// If the dataset does not give it; names the image and the numbers there are.
    pub fn value(&self, name: &str) -> Result<f64> {
        self.values.get(name).copied().ok_or_else(|| {
            let message = no_value(&self.image_id, &self.path, name);
            Error::data(format!("{message}{}", value_hint(&self.values, name))).into()
        })
    }

    /// The same target; tensors share their storage.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            image_id: self.image_id.clone(),
            path: self.path.clone(),
            original_size: self.original_size,
            input_size: self.input_size,
            flipped: self.flipped,
            image_labels: self.image_labels.clone(),
            labels: self.labels.shallow_clone(),
            boxes: self.boxes.shallow_clone(),
            masks: self.masks.shallow_clone(),
            is_crowd: self.is_crowd.shallow_clone(),
            objects: self.objects.clone(),
            prompts: self.prompts.clone(),
            values: self.values.clone(),
            stored: self.stored,
        }
    }
}

impl Batch {
    /// The same batch; tensors share their storage.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            images: self.images.shallow_clone(),
            features: self
                .features
                .as_ref()
                .map(|levels| levels.iter().map(Tensor::shallow_clone).collect()),
            targets: self.targets.iter().map(Target::shallow_clone).collect(),
            seed: self.seed,
        }
    }

    /// Feature levels: those that came with the batch, computed earlier by a frozen backbone
    /// (`[embedding_cache]`), else those of `backbone`. Every task gets its features here.
    ///
    /// # Errors
    /// Same errors as [`Backbone::forward`].
    pub fn features(&self, backbone: &dyn Backbone, train: bool) -> Result<Vec<Tensor>> {
        match &self.features {
            Some(levels) => Ok(levels.iter().map(|level| level.to_kind(Kind::Float)).collect()),
            None => {
                let levels = backbone.forward(&self.images, train)?;
                check(backbone.spec(), &self.images, &levels)?;
                Ok(levels)
            }
        }
    }

    /// `[B]` f32 on the device of the images: their numbers of that name.
    ///
    /// # Errors
    /// Same errors as [`Target::value`], for any of the images.
    pub fn values(&self, name: &str) -> Result<Tensor> {
        let values: Vec<f64> =
            self.targets.iter().map(|target| target.value(name)).collect::<Result<_>>()?;
        Ok(Tensor::from_slice(&values).f_to_kind(Kind::Float)?.f_to_device(self.images.device())?)
    }

    /// A placeholder for images that have not been decoded: their shape, and NaN without allocated
    /// memory, so that mistaking it for pixels is noticed.
    pub(crate) fn not_decoded(shape: &[i64], device: Device) -> Tensor {
        Tensor::full([1], f64::NAN, (Kind::Float, device)).expand(shape, false)
    }

    /// The batch with its tensors on `device`.
    #[must_use]
    pub fn to_device(mut self, device: Device) -> Self {
        if device != Device::Cpu {
            match &mut self.features {
                Some(levels) => {
                    levels.iter_mut().for_each(|level| *level = level.to_device(device));
                    self.images = Self::not_decoded(&self.images.size(), device);
                }
                None => self.images = self.images.to_device(device),
            }
            for target in &mut self.targets {
                for tensor in
                    [&mut target.labels, &mut target.boxes, &mut target.masks, &mut target.is_crowd]
                {
                    *tensor = tensor.to_device(device);
                }
            }
        }
        self
    }
}

/// Checks that a backbone gave what its spec promises: heads are built from the spec alone.
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
         its spec promises {promised:?} ([B, C, H, W])"
    );
    Ok(())
}
