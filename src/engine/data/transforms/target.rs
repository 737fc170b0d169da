//! The annotation of an image, carried into the frame of the network's input.

use anyhow::{Context, Result};
use tch::{Kind, Tensor};

use super::{PreprocessConfig, SizeRule, resize_mask, scaled_size};
use crate::{
    data::{Object, Record, Target},
    task::TargetNeeds,
};

/// Where an image went: all that its annotation must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// `(height, width)` of the decoded file.
    pub original_size: (u32, u32),
    /// `(height, width)` after resizing, without padding.
    pub input_size: (u32, u32),
    /// Mirrored left to right.
    pub flipped: bool,
}

/// Builds the target of one image.
///
/// Boxes are scaled by the ratio of sizes on each axis in 32-bit floats and clipped to the image.
/// Masks are resized to `int(side · scale + 0.5)`, which under the `truncate` rule may be a pixel
/// more than the image has: so does the reference.
///
/// # Errors
/// When a mask cannot be rasterised; names the object.
pub fn target(
    record: &Record,
    placement: Placement,
    needs: TargetNeeds,
    config: &PreprocessConfig,
) -> Result<Target> {
    let objects: &[Object] = if needs == TargetNeeds::ImageLabels { &[] } else { &record.objects };
    let count = objects.len() as i64;
    let labels: Vec<i64> = objects.iter().map(|o| i64::from(o.category)).collect();
    let boxes: Vec<f32> = objects.iter().flat_map(|o| scaled_box(o.bbox, placement)).collect();
    let is_crowd: Vec<bool> = objects.iter().map(|o| o.is_crowd).collect();
    let sides = |(height, width): (u32, u32)| (i64::from(height), i64::from(width));
    Ok(Target {
        image_id: record.image_id.clone(),
        path: record.path.clone(),
        original_size: sides(placement.original_size),
        input_size: sides(placement.input_size),
        flipped: placement.flipped,
        image_labels: record.image_labels.iter().map(|&l| i64::from(l)).collect(),
        labels: Tensor::from_slice(&labels),
        boxes: Tensor::from_slice(&boxes).view([count, 4]),
        masks: masks(objects, placement, needs, config)?,
        is_crowd: Tensor::from_slice(&is_crowd),
        objects: objects.into(),
        prompts: record.prompts.clone(),
    })
}

/// XYWH in original pixels to XYXY in input pixels.
fn scaled_box([x, y, width, height]: [f64; 4], placement: Placement) -> [f32; 4] {
    let Placement { original_size: from, input_size: to, flipped } = placement;
    let scale = |to: u32, from: u32| (f64::from(to) / f64::from(from)) as f32;
    let (scale_x, scale_y) = (scale(to.1, from.1), scale(to.0, from.0));
    let (right, bottom) = (to.1 as f32, to.0 as f32);
    let along = |v: f64, scale: f32, end: f32| (v as f32 * scale).clamp(0.0, end);
    let (left, top) = (along(x, scale_x, right), along(y, scale_y, bottom));
    let x_end = along(x + width, scale_x, right);
    let y_end = along(y + height, scale_y, bottom);
    if flipped { [right - x_end, top, right - left, y_end] } else { [left, top, x_end, y_end] }
}

fn masks(
    objects: &[Object],
    placement: Placement,
    needs: TargetNeeds,
    config: &PreprocessConfig,
) -> Result<Tensor> {
    let size = scaled_size(placement.original_size, config.image_size, SizeRule::Round);
    let (height, width) = (size.0 as usize, size.1 as usize);
    let objects = if needs == TargetNeeds::Masks { objects } else { &[] };
    let mut bytes = Vec::with_capacity(objects.len() * height * width);
    for (index, object) in objects.iter().enumerate() {
        let mask = object
            .segmentation
            .rasterize(placement.original_size, object.bbox)
            .with_context(|| format!("mask of object {index}"))?
            .to_mask();
        let mut mask = resize_mask(&mask, placement.original_size, size);
        if placement.flipped {
            mask.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        bytes.extend_from_slice(&mask);
    }
    let shape = [objects.len() as i64, i64::from(size.0), i64::from(size.1)];
    Ok(Tensor::from_data_size(&bytes, &shape, Kind::Bool))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageId, Segmentation};

    fn record() -> Record {
        let object = |category, bbox, is_crowd| Object {
            category,
            bbox,
            area: 1.0,
            is_crowd,
            segmentation: Segmentation::None,
        };
        Record {
            image_id: ImageId::Unsigned(7),
            path: "a.png".into(),
            size: None,
            image_labels: vec![1],
            objects: vec![
                object(2, [0.0, 0.0, 1.0, 1.0], false),
                object(0, [-5.0, 1.0, 100.0, 100.0], true),
            ],
            prompts: None,
        }
    }

    fn build(flipped: bool, needs: TargetNeeds) -> Target {
        let placement = Placement { original_size: (2, 4), input_size: (4, 8), flipped };
        let config = PreprocessConfig { image_size: 8, ..PreprocessConfig::default() };
        target(&record(), placement, needs, &config).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
    }

    #[test]
    fn boxes_are_scaled_clipped_and_flipped() {
        let plain = build(false, TargetNeeds::Boxes);
        assert_eq!(numbers(&plain.boxes), [0., 0., 2., 2., 0., 2., 8., 4.]);
        let flipped = build(true, TargetNeeds::Boxes);
        assert_eq!(numbers(&flipped.boxes), [6., 0., 8., 2., 0., 2., 8., 4.]);
        assert_eq!(numbers(&plain.labels), [2., 0.]);
        assert_eq!(numbers(&plain.is_crowd), [0., 1.]);
        assert_eq!(plain.masks.size(), [0, 4, 8]);
        assert_eq!(plain.image_labels, [1]);
    }

    #[test]
    fn masks_follow_the_image() {
        let target = build(false, TargetNeeds::Masks);
        assert_eq!(target.masks.kind(), Kind::Bool);
        let rows = numbers(&target.masks.get(0));
        assert_eq!(rows[..8], [1., 1., 0., 0., 0., 0., 0., 0.]);
        assert_eq!(rows[24..], [0.; 8]);
        let mirrored = build(true, TargetNeeds::Masks).masks.flip([2]);
        assert!(bool::try_from(mirrored.eq_tensor(&target.masks).all()).unwrap());
    }

    #[test]
    fn image_labels_alone_need_no_objects() {
        let target = build(false, TargetNeeds::ImageLabels);
        assert_eq!(target.boxes.size(), [0, 4]);
        assert_eq!(target.labels.size(), [0]);
    }
}
