//! From the part of an image that a model saw back to the image as its file has it.

use anyhow::{Context, Result};
use sonotune_base::Size;

use crate::{
    batch::Target,
    task::{Instance, Prediction},
};

impl Prediction {
    /// The prediction in the pixels of the file: boxes moved, masks empty beyond the part that was kept. Without a
    /// [`Target::crop`] it is the same.
    ///
    /// # Errors
    /// If the prediction is not one for the image of `target`.
    pub fn in_file(&self, target: &Target) -> Result<Self> {
        let Some(crop) = target.crop else { return Ok(self.clone()) };
        let [left, top, ..] = crop.edges();
        let instance = |instance: &Instance| -> Result<Instance> {
            let [x0, y0, x1, y1] = instance.bbox;
            // The box of an empty mask is four zeros.
            let is_empty = instance.mask.as_ref().is_some_and(|mask| mask.area() == 0);
            let moved = [x0 + left, y0 + top, x1 + left, y1 + top];
            Ok(Instance {
                bbox: if is_empty { instance.bbox } else { moved },
                mask: instance.mask.as_ref().map(|mask| mask.embedded(crop)).transpose()?,
                ..instance.clone()
            })
        };
        let instances = self.instances.iter().map(instance).collect::<Result<_>>();
        let instances = instances.with_context(|| format!("image {}", target.path.display()))?;
        Ok(Self { original_size: target.file_size(), instances, ..self.clone() })
    }
}

impl Target {
    /// `(height, width)` of the file, whatever was kept of it.
    #[must_use]
    pub fn file_size(&self) -> Size {
        self.crop.map_or(self.original_size, |crop| (crop.full.0.into(), crop.full.1.into()))
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::{Crop, ImageId, Rle};
    use tch::Tensor;

    use super::*;

    fn target(crop: Option<Crop>) -> Target {
        Target {
            image_id: ImageId::Unsigned(1),
            path: "a.png".into(),
            original_size: (2, 3),
            crop,
            spacing: None,
            input_size: (4, 6),
            flipped: false,
            image_labels: vec![],
            labels: Tensor::new(),
            boxes: Tensor::new(),
            masks: Tensor::new(),
            is_crowd: Tensor::new(),
            objects: vec![].into(),
            prompts: None,
            values: Default::default(),
            stored: Default::default(),
        }
    }

    #[test]
    fn boxes_and_masks_go_back_to_where_the_part_was_cut_out() {
        let instance = |bbox, mask: [u8; 6]| Instance {
            category: 0,
            score: 0.5,
            bbox,
            mask: Rle::from_mask(&mask, (2, 3)).ok(),
            answers: None,
        };
        let instances = vec![
            instance([1.0, 0.0, 3.0, 2.0], [0, 1, 1, 0, 1, 0]),
            instance([0.0; 4], [0; 6]),
            Instance { mask: None, ..instance([0.5, 0.5, 1.0, 1.0], [0; 6]) },
        ];
        let crop = Crop::new([1, 2, 3, 2], (5, 4)).ok();
        let prediction = Prediction { instances, ..Prediction::of(&target(crop)) };
        let whole = prediction.in_file(&target(crop)).unwrap();
        assert_eq!(whole.original_size, (5, 4));
        assert_eq!(whole.instances[0].bbox, [2.0, 2.0, 4.0, 4.0]);
        #[rustfmt::skip]
        let mask = [
            0, 0, 0, 0,
            0, 0, 0, 0,
            0, 0, 1, 1,
            0, 0, 1, 0,
            0, 0, 0, 0,
        ];
        assert_eq!(whole.instances[0].mask, Rle::from_mask(&mask, (5, 4)).ok());
        assert_eq!(whole.instances[1].bbox, [0.0; 4]);
        assert_eq!(whole.instances[1].mask, Rle::from_mask(&[0; 20], (5, 4)).ok());
        assert_eq!(whole.instances[2].bbox, [1.5, 2.5, 2.0, 3.0]);
        assert_eq!(prediction.in_file(&target(None)).unwrap(), prediction);
        let other = Crop::new([0, 0, 2, 3], (5, 4)).ok();
        assert!(prediction.in_file(&target(other)).is_err());
    }
}
