//! The annotation of an image, transformed to the frame of the network's input.

use anyhow::{Context, Result};
use tch::{Kind, Tensor};

use crate::batch::Target;
use sonotune_base::image_io::Stored;
use sonotune_dataset::{
    Object, Record, TargetNeeds,
    transforms::{Placement, SizeRule, Window, resize_mask, scaled_size},
};

/// Builds the target of one image.
///
/// Boxes are scaled by the ratio of sizes on each axis in 32-bit floats and clipped to what the network
/// sees. Masks are resized to `int(side · scale + 0.5)`, which under the `truncate` rule may be a pixel
/// more than the image has; the reference does the same.
///
/// If a part is cut out and masks are needed, boxes are recomputed from the masks within it (mmdet's
/// `recompute_bbox`). An object entirely outside is kept, with an empty mask and a box without
/// area: whether to learn from it is up to the task.
///
/// # Errors
/// If a mask cannot be rasterised; names the object.
pub fn target(record: &Record, placement: Placement, needs: TargetNeeds) -> Result<Target> {
    let objects: &[Object] = if needs == TargetNeeds::ImageLabels { &[] } else { &record.objects };
    let count = objects.len() as i64;
    let labels: Vec<i64> = objects.iter().map(|o| i64::from(o.category)).collect();
    let masks = masks(objects, placement, needs)?;
    let boxes: Vec<f32> = if placement.window.is_whole() || needs != TargetNeeds::Masks {
        objects.iter().flat_map(|o| scaled_box(o.bbox, placement)).collect()
    } else {
        masks.each().flat_map(|mask| tight_box(mask, masks.size.1)).collect()
    };
    let is_crowd: Vec<bool> = objects.iter().map(|o| o.is_crowd).collect();
    let sides = |(height, width): (u32, u32)| (i64::from(height), i64::from(width));
    Ok(Target {
        image_id: record.image_id.clone(),
        path: record.name(),
        original_size: sides(placement.original_size),
        crop: None,
        spacing: record.spacing,
        input_size: sides(placement.window.size()),
        flipped: placement.flipped,
        image_labels: record.image_labels.iter().map(|&l| i64::from(l)).collect(),
        labels: Tensor::from_slice(&labels),
        boxes: Tensor::from_slice(&boxes).view([count, 4]),
        masks: masks.tensor(),
        is_crowd: Tensor::from_slice(&is_crowd),
        objects: objects.into(),
        prompts: record.prompts.clone(),
        values: record.values.clone(),
        stored: Stored::default(),
    })
}

/// XYWH in original pixels to XYXY in input pixels.
fn scaled_box([x, y, width, height]: [f64; 4], placement: Placement) -> [f32; 4] {
    let Placement { original_size: from, window, flipped, .. } = placement;
    let (resized, offset, size) = (window.resized(), window.offset(), window.size());
    let scale = |to: u32, from: u32| (f64::from(to) / f64::from(from)) as f32;
    let (scale_x, scale_y) = (scale(resized.1, from.1), scale(resized.0, from.0));
    let (right, bottom) = (size.1 as f32, size.0 as f32);
    let along = |v: f64, scale: f32, start: u32, end: f32| {
        (v as f32 * scale - start as f32).clamp(0.0, end)
    };
    let (left, x_end) =
        (along(x, scale_x, offset.1, right), along(x + width, scale_x, offset.1, right));
    let (top, y_end) =
        (along(y, scale_y, offset.0, bottom), along(y + height, scale_y, offset.0, bottom));
    if flipped { [right - x_end, top, right - left, y_end] } else { [left, top, x_end, y_end] }
}

/// XYXY of a row-major mask's foreground, right and bottom edges exclusive; zeros if it is empty.
fn tight_box(mask: &[u8], width: u32) -> [f32; 4] {
    let width = width as usize;
    let (mut left, mut right, mut rows) = (width, 0, None);
    for (y, row) in mask.chunks_exact(width).enumerate() {
        let Some(first) = row.iter().position(|&m| m != 0) else { continue };
        let last = row.iter().rposition(|&m| m != 0).unwrap_or(first);
        (left, right) = (left.min(first), right.max(last + 1));
        rows = Some((rows.map_or(y, |(top, _)| top), y + 1));
    }
    let Some((top, bottom)) = rows else { return [0.0; 4] };
    [left, top, right, bottom].map(|v| v as f32)
}

/// Masks of one size, one after another.
struct Masks {
    bytes: Vec<u8>,
    size: (u32, u32),
}

impl Masks {
    fn each(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.size.0 as usize * self.size.1 as usize)
    }

    /// `[N, H, W]` bool.
    fn tensor(&self) -> Tensor {
        let (height, width) = (i64::from(self.size.0), i64::from(self.size.1));
        let count = self.each().len() as i64;
        Tensor::from_data_size(&self.bytes, &[count, height, width], Kind::Bool)
    }
}

fn masks(objects: &[Object], placement: Placement, needs: TargetNeeds) -> Result<Masks> {
    let Placement { original_size, longest_side, window, flipped } = placement;
    // A square is one under every rule; `stretch` makes one of every image.
    let resized = match window.resized() {
        square if square == (longest_side, longest_side) => square,
        _ => scaled_size(original_size, longest_side, SizeRule::Round),
    };
    let window = if window.is_whole() {
        Window::whole(resized)
    } else {
        Window::new(resized, window.offset(), window.size())
    };
    let size = window.size();
    let objects = if needs == TargetNeeds::Masks { objects } else { &[] };
    let mut bytes = Vec::with_capacity(objects.len() * size.0 as usize * size.1 as usize);
    for (index, object) in objects.iter().enumerate() {
        let mask = object
            .segmentation
            .rasterize(original_size, object.bbox)
            .with_context(|| format!("mask of object {index}"))?;
        let mut mask = resize_mask(&mask, &window);
        if flipped {
            mask.chunks_exact_mut(size.1 as usize).for_each(<[u8]>::reverse);
        }
        bytes.extend_from_slice(&mask);
    }
    Ok(Masks { bytes, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotune_base::{ImageId, Rle, Segmentation};

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
            frame: None,
            spacing: None,
            size: None,
            image_labels: vec![1],
            objects: vec![
                object(2, [0.0, 0.0, 1.0, 1.0], false),
                object(0, [-5.0, 1.0, 100.0, 100.0], true),
            ],
            prompts: None,
            values: Default::default(),
        }
    }

    fn build(flipped: bool, needs: TargetNeeds) -> Target {
        build_window(Window::whole((4, 8)), flipped, needs)
    }

    /// For an image 2 high and 4 wide, enlarged twofold.
    fn build_window(window: Window, flipped: bool, needs: TargetNeeds) -> Target {
        let placement = Placement { original_size: (2, 4), longest_side: 8, window, flipped };
        target(&record(), placement, needs).unwrap()
    }

    #[test]
    fn masks_follow_an_image_that_is_stretched() {
        let window = Window::whole((8, 8));
        let placement =
            Placement { original_size: (2, 4), longest_side: 8, window, flipped: false };
        let mut record = record();
        let pixel = Rle::from_mask(&[0, 1, 0, 0, 0, 0, 0, 0], (2, 4)).unwrap();
        record.objects[0].segmentation = Segmentation::Runs(pixel);
        record.objects.truncate(1);
        let target = target(&record, placement, TargetNeeds::Masks).unwrap();
        let mask = target.masks.get(0).to_kind(Kind::Int64);
        assert_eq!(target.masks.size(), [1, 8, 8]);
        // One of two rows and one of four columns.
        assert_eq!(mask.narrow(0, 0, 4).narrow(1, 2, 2).sum(Kind::Int64).int64_value(&[]), 8);
        assert_eq!(mask.sum(Kind::Int64).int64_value(&[]), 8);
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
    fn boxes_move_with_the_crop_and_are_clipped_to_it() {
        let window = Window::new((4, 8), (1, 1), (2, 5));
        let plain = build_window(window, false, TargetNeeds::Boxes);
        assert_eq!(plain.input_size, (2, 5));
        assert_eq!(numbers(&plain.boxes), [0., 0., 1., 1., 0., 1., 5., 2.]);
        let flipped = build_window(window, true, TargetNeeds::Boxes);
        assert_eq!(numbers(&flipped.boxes), [4., 0., 5., 1., 0., 1., 5., 2.]);
    }

    #[test]
    fn masks_are_cut_with_the_image_and_boxes_are_theirs() {
        let window = Window::new((4, 8), (1, 1), (2, 5));
        let cut = build_window(window, false, TargetNeeds::Masks);
        assert_eq!(cut.masks.size(), [2, 2, 5]);
        assert_eq!(numbers(&cut.masks.get(0)), [1., 0., 0., 0., 0., 0., 0., 0., 0., 0.]);
        assert_eq!(numbers(&cut.boxes), [0., 0., 1., 1., 0., 1., 5., 2.]);
        let flipped = build_window(window, true, TargetNeeds::Masks);
        assert_eq!(numbers(&flipped.boxes), [4., 0., 5., 1., 0., 1., 5., 2.]);
        assert_eq!(flipped.masks.flip([2]), cut.masks);
    }

    #[test]
    fn an_object_outside_the_crop_stays_with_nothing_left_of_it() {
        for needs in [TargetNeeds::Masks, TargetNeeds::Boxes] {
            let gone = build_window(Window::new((4, 8), (2, 3), (2, 5)), false, needs);
            assert_eq!(numbers(&gone.labels), [2., 0.]);
            assert_eq!(gone.objects.len(), 2);
            let boxes = numbers(&gone.boxes);
            assert!(boxes[0] == boxes[2] && boxes[1] == boxes[3], "{boxes:?}");
            if needs == TargetNeeds::Masks {
                assert_eq!(numbers(&gone.masks.get(0)), [0.; 10]);
            }
        }
    }

    #[test]
    fn image_labels_alone_need_no_objects() {
        let target = build(false, TargetNeeds::ImageLabels);
        assert_eq!(target.boxes.size(), [0, 4]);
        assert_eq!(target.labels.size(), [0]);
    }
}
