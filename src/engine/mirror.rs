//! The mirror image of a batch, and predictions for it mirrored back: test-time augmentation by a flip.

use anyhow::{Context, Result, ensure};
use tch::Tensor;

use crate::{
    batch::{Batch, Target},
    task::{Instance, Prediction},
};
use sonotune_base::Error;

impl Batch {
    /// The images mirrored left to right, each within its own size, so that the padding stays where it is. What is
    /// asked about them (objects, prompts, boxes, masks) is mirrored as well, in the frame of the input and in
    /// that of the original image. For evaluation: what a task prepares for a training step is left out.
    ///
    /// # Errors
    /// Of kind config if the batch holds features instead of images; of kind data if the mask of an object or a
    /// prompt does not fit its image. If the images have not been normalised by [`to_place`](Self::to_place).
    pub fn mirrored(&self) -> Result<Self> {
        if self.features.is_some() {
            return Err(Error::config(
                "evaluation.flip needs the pixels of each image, but the batch holds embeddings computed \
                 earlier ([embedding_cache]); remove one of the two",
            )
            .into());
        }
        ensure!(self.raw.is_none(), "a batch is mirrored after it is normalised, by `to_place`");
        let images = self.images.copy();
        for (index, target) in (0i64..).zip(&self.targets) {
            let (height, width) = target.input_size;
            let part = |images: &Tensor| images.get(index).narrow(1, 0, height).narrow(2, 0, width);
            part(&images).f_copy_(&part(&self.images).f_flip([2])?)?;
        }
        let targets = self.targets.iter().map(mirrored).collect::<Result<_>>()?;
        Ok(Self { elsewhere: self.elsewhere.clone(), ..Self::new(images, targets, self.seed) })
    }
}

fn mirrored(target: &Target) -> Result<Target> {
    let size = target.original_size;
    let place = || format!("image {}", target.path.display());
    let objects = target
        .objects
        .iter()
        .enumerate()
        .map(|(index, object)| {
            let mask = || Error::data(format!("{}: the mask of object {index}", place()));
            object.mirrored(size).with_context(mask)
        })
        .collect::<Result<_>>()?;
    let prompts = target.prompts.as_ref().map(|prompts| prompts.mirrored(size)).transpose();
    let columns = |index: i64| target.boxes.select(1, index);
    let right = target.input_size.1 as f64;
    Ok(Target {
        flipped: !target.flipped,
        boxes: Tensor::f_stack(
            &[right - columns(2), columns(1), right - columns(0), columns(3)],
            1,
        )?,
        masks: target.masks.f_flip([2])?,
        objects,
        prompts: prompts.with_context(|| Error::data(format!("{}: a prompt's mask", place())))?,
        ..target.shallow_clone()
    })
}

impl Prediction {
    /// What a prediction for the mirror image says about the image itself: boxes and masks mirrored back.
    #[must_use]
    pub fn mirrored(self) -> Self {
        let right = self.original_size.1 as f64;
        let mirrored = |instance: Instance| {
            let [x0, y0, x1, y1] = instance.bbox;
            // The box of an empty mask is four zeros.
            let is_empty = instance.mask.as_ref().is_some_and(|mask| mask.area() == 0);
            Instance {
                bbox: if is_empty { instance.bbox } else { [right - x1, y0, right - x0, y1] },
                mask: instance.mask.map(|mask| mask.mirrored()),
                ..instance
            }
        };
        Self { instances: self.instances.into_iter().map(mirrored).collect(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotune_base::{ImageId, Rle, Segmentation};
    use sonotune_dataset::{ImagePrompts, Object, ObjectPrompt, PointPrompt};
    use tch::Kind;

    /// An image of 2×4 pixels, shown at 2×3 in an input of 3×5.
    fn target() -> Target {
        let object = Object {
            category: 1,
            bbox: [0.0, 0.0, 1.0, 2.0],
            area: 2.0,
            is_crowd: false,
            segmentation: Segmentation::None,
        };
        let point = PointPrompt { x: 3.0, y: 1.0, positive: true };
        Target {
            image_id: ImageId::Unsigned(1),
            path: "a.png".into(),
            original_size: (2, 4),
            crop: None,
            spacing: None,
            input_size: (2, 3),
            flipped: false,
            image_labels: vec![2],
            labels: Tensor::from_slice(&[1i64]),
            boxes: Tensor::from_slice(&[0f32, 0.0, 1.0, 2.0]).view([1, 4]),
            masks: Tensor::from_slice(&[true, false, false, true, false, false]).view([1, 2, 3]),
            is_crowd: Tensor::from_slice(&[false]),
            objects: vec![object].into(),
            prompts: Some(ImagePrompts::Objects(vec![ObjectPrompt {
                points: vec![point],
                ..ObjectPrompt::default()
            }])),
            values: Default::default(),
            stored: Default::default(),
        }
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).contiguous().view(-1)).unwrap()
    }

    #[test]
    fn an_image_is_mirrored_within_its_padding_and_with_what_is_asked() {
        let row = |a: [f32; 3]| [a[0], a[1], a[2], 0.0, 0.0];
        let channel = [row([1.0, 2.0, 3.0]), row([4.0, 5.0, 6.0]), row([0.0; 3])].concat();
        let images = Tensor::from_slice(&channel.repeat(3)).view([1, 3, 3, 5]);
        let batch = Batch::new(images, vec![target()], 7);
        let mirrored = batch.mirrored().unwrap();
        let expected = [row([3.0, 2.0, 1.0]), row([6.0, 5.0, 4.0]), row([0.0; 3])].concat();
        let expected: Vec<f64> = expected.repeat(3).into_iter().map(f64::from).collect();
        assert_eq!(numbers(&mirrored.images), expected);
        let target = &mirrored.targets[0];
        assert!(target.flipped);
        assert_eq!(numbers(&target.boxes), [2.0, 0.0, 3.0, 2.0]);
        assert_eq!(numbers(&target.masks), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(target.objects[0].bbox, [3.0, 0.0, 1.0, 2.0]);
        let Some(ImagePrompts::Objects(prompts)) = &target.prompts else { panic!("prompts") };
        assert_eq!(prompts[0].points[0].x, 0.0);
        assert_eq!((mirrored.seed, target.image_labels.as_slice()), (7, &[2i64][..]));
        let back = mirrored.mirrored().unwrap();
        assert_eq!(numbers(&back.images), numbers(&batch.images));
        assert!(!back.targets[0].flipped);

        let features = Some(vec![Tensor::zeros([1, 2, 1, 1], tch::kind::FLOAT_CPU)]);
        let error = Batch { features, ..batch }.mirrored().unwrap_err().to_string();
        assert!(error.contains("evaluation.flip") && error.contains("embedding_cache"), "{error}");
    }

    #[test]
    fn a_prediction_is_mirrored_back() {
        let mask = Rle::from_mask(&[1, 0, 0, 0, 1, 1, 0, 0], (2, 4)).unwrap();
        let instance = |bbox, mask| Instance {
            category: 0,
            score: 0.5,
            bbox,
            mask: Some(mask),
            answers: None,
        };
        let nothing = Rle::from_mask(&[0; 8], (2, 4)).unwrap();
        let instances =
            vec![instance([0.0, 0.0, 2.0, 2.0], mask), instance([0.0; 4], nothing.clone())];
        let prediction = Prediction { instances, ..Prediction::of(&target()) };
        let mirrored = prediction.clone().mirrored();
        let expected = Rle::from_mask(&[0, 0, 0, 1, 0, 0, 1, 1], (2, 4)).unwrap();
        assert_eq!(mirrored.instances[0], instance([2.0, 0.0, 4.0, 2.0], expected));
        assert_eq!(mirrored.instances[1], instance([0.0; 4], nothing));
        assert_eq!(mirrored.mirrored(), prediction);
    }
}
