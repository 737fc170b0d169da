//! What the loader hands to a task.

use std::{any::Any, collections::BTreeMap, fmt::Debug, ops::Deref, sync::Arc};

use anyhow::{Context, Result};
use sonotune_shim as shim;
use tch::{Device, Kind, Tensor};

use crate::{
    backbone::{Backbone, BackboneSpec},
    device::{Place, Precision},
    nn::{at_least_float, wide_kind},
    pixels::RawPixels,
    upload,
};
use sonotune_base::{Crop, Error, ImageId, Size, image_io::Stored};
use sonotune_dataset::{
    ImagePrompts, Object,
    dataset::{no_value, value_hint},
};

/// Annotation of one image, in the frame of the network's input. Its tensors stay on the CPU, wherever the
/// batch goes: a task sends what its step needs, by [`upload`](crate::upload()).
#[derive(Debug)]
pub struct Target {
    /// As the annotation file spells it.
    pub image_id: ImageId,
    /// Path of the file, and the number of its frame if it is one (`clip.mp4#17`), for messages and pictures.
    pub path: std::path::PathBuf,
    /// Size of the file on disk (after EXIF orientation, if applied), or of the part that `crop` kept; predictions
    /// use this frame, and so do objects and prompts.
    pub original_size: Size,
    /// The part of the file that the image was cut to; `None`: all of it.
    /// [`Prediction::in_file`](crate::task::Prediction::in_file) leads back.
    pub crop: Option<Crop>,
    /// `[row, column]` in millimetres a pixel of that frame, if the dataset knows it.
    pub spacing: Option<[f64; 2]>,
    /// Unpadded top-left part of [`Batch::images`]. With `augment.scale_range` a training batch shows a
    /// part of the image: there is no way from here to original pixels, and it is not for
    /// [`Task::predict`](crate::task::Task::predict).
    pub input_size: Size,
    /// Whether the input was mirrored left to right. In training, `objects` are as annotated all the same; what
    /// [`Batch::mirrored`] gives is the mirror image in every frame.
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
    /// `[B, 3, H, W]` f32 RGB, normalised and padded; f64 if the run computes in fp64, and for a GPU u8
    /// RGB until [`to_place`](Self::to_place).
    /// If there are `features`, the images have not been decoded: the shape is the same, every value
    /// is NaN, and no memory is allocated.
    pub images: Tensor,
    /// What turns `images` of u8 into those of f32.
    pub(crate) raw: Option<RawPixels>,
    /// The output of a frozen backbone for `images`, level by level, computed earlier. Tasks access it
    /// through [`Batch::features`].
    pub features: Option<Vec<Tensor>>,
    pub targets: Vec<Target>,
    /// What the task's [`Preparation`] made of the batch; a task accesses it through
    /// [`Batch::prepared`].
    pub(crate) prepared: Option<Box<dyn Prepared>>,
    /// From (run seed, step): whatever a task draws, it draws from this and the place of an image in the
    /// whole batch, [`Elsewhere::first_image`] plus its index here.
    pub seed: u64,
    /// The images of the step's batch that other processes have.
    pub elsewhere: Elsewhere,
}

/// The part of a step's batch that other processes have; empty with one process.
///
/// What a task draws must not depend on how many processes share a batch. So it counts images, and whatever
/// else its draws depend on, from the first of the whole batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// For each image that comes before those here, in the order of the batch: what
    /// [`Preparation::counts`] gave for it.
    pub before: Vec<Vec<usize>>,
    /// The same for the images that come after.
    pub after: Vec<Vec<usize>>,
}

impl Elsewhere {
    /// Place in the whole batch of the first image that is here.
    #[must_use]
    pub fn first_image(&self) -> usize {
        self.before.len()
    }
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
            crop: self.crop,
            spacing: self.spacing,
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
    /// A batch of `[B, 3, H, W]` f32 images as the network takes them.
    #[must_use]
    pub fn new(images: Tensor, targets: Vec<Target>, seed: u64) -> Self {
        let elsewhere = Elsewhere::default();
        Self { images, raw: None, features: None, targets, prepared: None, seed, elsewhere }
    }

    /// A batch whose pixels are not needed any more: `features` are those of images of the shape `[B, 3, H, W]`.
    #[must_use]
    pub fn embedded(shape: &[i64], features: Vec<Tensor>, targets: Vec<Target>) -> Self {
        let device = features.first().map_or(Device::Cpu, Tensor::device);
        let images = Self::not_decoded(shape, (Kind::Float, device));
        Self { features: Some(features), ..Self::new(images, targets, 0) }
    }

    /// The same batch, tensors share their storage; without what was prepared for it, which a task
    /// then prepares in its step.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            images: self.images.shallow_clone(),
            raw: self.raw.clone(),
            prepared: None,
            features: self
                .features
                .as_ref()
                .map(|levels| levels.iter().map(Tensor::shallow_clone).collect()),
            targets: self.targets.iter().map(Target::shallow_clone).collect(),
            seed: self.seed,
            elsewhere: self.elsewhere.clone(),
        }
    }

    /// Feature levels: those that came with the batch, computed earlier by a frozen backbone
    /// (`[embedding_cache]`), else those of `backbone`. Every task gets its features here.
    ///
    /// # Errors
    /// Same errors as [`Backbone::forward`].
    pub fn features(&self, backbone: &dyn Backbone, train: bool) -> Result<Vec<Tensor>> {
        match &self.features {
            Some(levels) => Ok(levels.iter().map(at_least_float).collect()),
            None => {
                let levels = backbone.forward(&self.images, train)?;
                check(backbone.spec(), &self.images, &levels)?;
                Ok(levels)
            }
        }
    }

    /// `[B]` on the device of the images: their numbers of that name, in f32, or f64 if the images are.
    ///
    /// # Errors
    /// Same errors as [`Target::value`], for any of the images.
    pub fn values(&self, name: &str) -> Result<Tensor> {
        let values: Vec<f64> =
            self.targets.iter().map(|target| target.value(name)).collect::<Result<_>>()?;
        let values = Tensor::from_slice(&values).f_to_kind(wide_kind(&self.images))?;
        Ok(upload(&values, self.images.device()))
    }

    /// Number of images that the step's batch has in all processes.
    #[must_use]
    pub fn images_of_step(&self) -> usize {
        self.elsewhere.before.len() + self.targets.len() + self.elsewhere.after.len()
    }

    /// The first `count` images, padded as the batch is.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let mut part = self.shallow_clone();
        let tensors = part.features.iter_mut().flatten().chain([&mut part.images]);
        tensors.for_each(|tensor| *tensor = tensor.narrow(0, 0, count as i64));
        part.raw = part.raw.map(|raw| raw.first(count));
        part.targets.truncate(count);
        part
    }

    /// `[3, H, W]` f32 on the device of the images: one of them, normalised and padded.
    pub fn image(&self, index: usize) -> Tensor {
        let image = self.images.get(index as i64);
        match &self.raw {
            Some(raw) => raw.normalised(&image.unsqueeze(0), index).squeeze_dim(0),
            None => image,
        }
    }

    /// What `preparation` makes of this batch, its tensors on the device of the images: made by the
    /// loader if it knew the task, else now.
    ///
    /// # Errors
    /// Same errors as [`Preparation::prepare`].
    pub fn prepared<T: Prepared>(
        &self,
        preparation: &dyn Preparation,
    ) -> Result<impl Deref<Target = T> + use<'_, T>> {
        if let Some(prepared) = &self.prepared {
            let any: &dyn Any = &**prepared;
            return Ok(MadeFor::Batch(any.downcast_ref().context(WRONG_PREPARATION)?));
        }
        let mut prepared = preparation.prepare(self)?;
        for tensor in prepared.tensors() {
            *tensor = upload(tensor, self.images.device());
        }
        if self.images.kind() == Kind::Double {
            prepared.tensors().into_iter().for_each(widen);
        }
        let any: Box<dyn Any> = prepared;
        let own = any.downcast().map_err(|_| anyhow::anyhow!(WRONG_PREPARATION))?;
        Ok(MadeFor::Step(own))
    }

    /// A placeholder for images that have not been decoded: their shape, and NaN without allocated
    /// memory, so that mistaking it for pixels is noticed.
    pub(crate) fn not_decoded(shape: &[i64], options: (Kind, Device)) -> Tensor {
        Tensor::full([1], f64::NAN, options).expand(shape, false)
    }

    /// The batch where and in the number format in which the model computes, its images normalised. A GPU
    /// copies it while it computes what was queued before. Targets stay on the CPU.
    ///
    /// # Errors
    /// Propagates errors from libtorch, including out of memory.
    pub fn to_place(self, place: impl Into<Place>) -> Result<Self> {
        let Place { device, precision } = place.into();
        let mut batch = self.moved(device)?;
        if precision == Precision::Fp64 {
            batch.widen();
        }
        Ok(batch)
    }

    /// Converts to fp64 whatever may enter the arithmetic.
    fn widen(&mut self) {
        match &mut self.features {
            None => widen(&mut self.images),
            Some(levels) => {
                levels.iter_mut().for_each(widen);
                let options = (Kind::Double, self.images.device());
                self.images = Self::not_decoded(&self.images.size(), options);
            }
        }
        let prepared = self.prepared.iter_mut().flat_map(|prepared| prepared.tensors());
        prepared.for_each(widen);
    }

    fn moved(mut self, device: Device) -> Result<Self> {
        if device == Device::Cpu && self.raw.is_none() {
            return Ok(self);
        }
        let mut moved: Vec<&mut Tensor> = match &mut self.features {
            Some(levels) => levels.iter_mut().collect(),
            None => vec![&mut self.images],
        };
        moved.extend(self.raw.iter_mut().flat_map(RawPixels::tensors));
        moved.extend(self.prepared.iter_mut().flat_map(|prepared| prepared.tensors()));
        let sources: Vec<&Tensor> = moved.iter().map(|tensor| &**tensor).collect();
        let sent = shim::upload_ahead(&sources, device)?;
        for (tensor, sent) in moved.into_iter().zip(sent) {
            *tensor = sent;
        }
        if self.features.is_some() {
            self.images = Self::not_decoded(&self.images.size(), (Kind::Float, device));
        }
        if let Some(raw) = self.raw.take() {
            self.images = raw.all_normalised(&self.images);
        }
        Ok(self)
    }
}

/// Converts fp32 and 16-bit tensors to fp64; integers and masks stay as they are.
fn widen(tensor: &mut Tensor) {
    if tensor.is_floating_point() {
        *tensor = tensor.to_kind(Kind::Double);
    }
}

const WRONG_PREPARATION: &str = "a task's preparation made something else than the task asks for: `Batch::prepared` names its type";

/// What a task prepared: for the batch in a thread of the loader, or in this step.
#[derive(Debug)]
enum MadeFor<'a, T> {
    Batch(&'a T),
    Step(Box<T>),
}

impl<T> Deref for MadeFor<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Batch(prepared) => prepared,
            Self::Step(prepared) => prepared,
        }
    }
}

/// The part of a training step that needs no model: choosing objects, drawing prompts and points, making
/// targets. The threads of the loader run it, on the CPU, ahead of the step: a GPU need not wait
/// until it has told the host what to draw from.
pub trait Preparation: Debug + Send + Sync {
    /// A function of the batch alone: of its targets, the size of its images and its seed.
    ///
    /// # Errors
    /// If the batch cannot be used for training; names the image.
    fn prepare(&self, batch: &Batch) -> Result<Box<dyn Prepared>>;

    /// For each image, the numbers that the draws for other images depend on, such as that of its objects if
    /// numbers are drawn for one object after another. Other processes find them in [`Elsewhere`]; called
    /// only if there are some, before [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// If the batch cannot be used for training; names the image.
    fn counts(&self, batch: &Batch) -> Result<Vec<Vec<usize>>> {
        Ok(vec![Vec::new(); batch.targets.len()])
    }
}

/// What a [`Preparation`] makes of a batch; [`Batch::prepared`] gives it back to the task.
pub trait Prepared: Debug + Any + Send {
    /// Its tensors, which the engine moves to the device of the batch.
    fn tensors(&mut self) -> Vec<&mut Tensor>;
}

/// Checks that a backbone gave what its spec promises: heads are built from the spec alone.
fn check(spec: &BackboneSpec, images: &Tensor, levels: &[Tensor]) -> Result<()> {
    let (batch, _, height, width) = images.size4()?;
    let promised: Vec<_> = spec
        .levels
        .iter()
        .map(|level| {
            let (h, w) = level.size((height, width));
            vec![batch, level.channels, h, w]
        })
        .collect();
    let given: Vec<_> = levels.iter().map(Tensor::size).collect();
    anyhow::ensure!(
        given == promised,
        "the backbone gave levels of the shapes {given:?} for images of {height}x{width} pixels, but \
         its spec promises {promised:?} ([B, C, H, W])"
    );
    Ok(())
}
