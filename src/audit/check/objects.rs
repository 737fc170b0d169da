//! What can be wrong with one object.

use sonotune_base::words::{share, two_decimals};

use sonotune_base::{Rle, Segmentation};
use sonotune_dataset::findings::{AuditedImage, AuditedObject, Code, Example, Place};

/// Pixels by which a box or polygon may extend beyond the edge, or a box differ from its mask: tools
/// disagree on whether a pixel's centre or corner counts.
const TOLERANCE: f64 = 2.0;
/// Least overlap of a box with that of its mask.
const MIN_BOX_IOU: f64 = 0.8;
/// Share by which an area may differ from that of its mask.
const AREA_TOLERANCE: f64 = 0.1;
/// Overlap from which two objects count as the same: of one category, and of any two.
const SAME_IOU: f64 = 0.9;
const IDENTICAL_IOU: f64 = 0.99;

/// Everything that is wrong with the objects of an image of `size` (height, width); `place` says
/// where an object is.
pub(super) fn check(
    image: &AuditedImage,
    size: (u32, u32),
    place: &dyn Fn(&AuditedObject) -> Place,
) -> Vec<(Code, Example)> {
    let mut found = Vec::new();
    let mut masks = Vec::new();
    for object in &image.objects {
        let mask = object.object.segmentation.rasterize(size, object.object.bbox);
        let mut add = |code, expected: Option<String>, got| {
            found.push((code, Example { place: place(object), expected, got }));
        };
        match mask {
            Ok(mask) => {
                check_object(object, &mask, size, &mut add);
                masks.push(Some(mask));
            }
            Err(error) => {
                let code = match object.object.segmentation.size() {
                    Some(own) if own != size => Code::MaskSize,
                    Some(_) => Code::BadRle,
                    None => Code::BadPolygon,
                };
                add(code, None, format!("{error:#}"));
                masks.push(None);
            }
        }
    }
    for (i, j, iou) in repeated(image, &masks) {
        let (first, again) = (&image.objects[i], &image.objects[j]);
        let other = place(first);
        let entry = other.entry.unwrap_or_else(|| format!("object {i}"));
        let category = other.category.unwrap_or_default();
        let got = format!("overlaps {entry} (\"{category}\") by {}", share(iou, 0));
        found.push((Code::DuplicateObject, Example { place: place(again), expected: None, got }));
    }
    found
}

fn check_object(
    audited: &AuditedObject,
    mask: &Rle,
    size: (u32, u32),
    add: &mut dyn FnMut(Code, Option<String>, String),
) {
    let object = &audited.object;
    let frame = format!("within {} (height x width)", sized(size));
    let [x, y, width, height] = object.bbox;
    let beyond = beyond([x, y, x + width, y + height], size);
    let tiny = width < 1.0 || height < 1.0;
    if tiny {
        add(Code::TinyBox, None, format!("box {}", numbers(object.bbox)));
    } else if beyond && audited.own_box {
        let got =
            format!("box {}, which ends at ({}, {})", numbers(object.bbox), x + width, y + height);
        add(Code::BoxBeyondFrame, Some(frame.clone()), got);
    }
    if matches!(object.segmentation, Segmentation::None) {
        return;
    }
    let extent = match &object.segmentation {
        Segmentation::Polygons(polygons) => Some(extent(polygons)),
        _ => None,
    };
    if mask.area() == 0 {
        let got = match extent {
            Some(extent) => format!("no pixel; its polygon spans {}", spans(extent)),
            None => "no pixel".to_owned(),
        };
        return add(Code::EmptyMask, None, got);
    }
    if let Some(extent) = extent.filter(|&extent| self::beyond(extent, size)) {
        add(Code::MaskBeyondFrame, Some(frame), format!("a polygon that spans {}", spans(extent)));
    }
    let tight = mask.bbox();
    if audited.own_box && !tiny && differs(within(object.bbox, size), tight) {
        let got = format!("box {}", numbers(object.bbox));
        add(Code::BoxMaskMismatch, Some(format!("{}, the box of its mask", numbers(tight))), got);
    }
    if audited.own_area && !object.is_crowd && area_differs(object.area, mask, &object.segmentation)
    {
        let expected = format!("{} pixels, the area of its mask", mask.area());
        add(Code::AreaMismatch, Some(expected), format!("area {}", object.area));
    }
}

/// Whether XYXY reaches beyond the image.
fn beyond([x0, y0, x1, y1]: [f64; 4], (height, width): (u32, u32)) -> bool {
    x0.min(y0) < -TOLERANCE
        || x1 > f64::from(width) + TOLERANCE
        || y1 > f64::from(height) + TOLERANCE
}

/// The part of an XYWH box that is in the image.
fn within([x, y, width, height]: [f64; 4], size: (u32, u32)) -> [f64; 4] {
    let clip = |from: f64, length: f64, limit: u32| {
        let limit = f64::from(limit);
        let (start, end) = (from.clamp(0.0, limit), (from + length).clamp(0.0, limit));
        (start, end - start)
    };
    let ((x, width), (y, height)) = (clip(x, width, size.1), clip(y, height, size.0));
    [x, y, width, height]
}

/// Whether two XYWH boxes differ by more than the conventions of drawing tools.
fn differs(a: [f64; 4], b: [f64; 4]) -> bool {
    let ends = |[x, y, w, h]: [f64; 4]| [x, y, x + w, y + h];
    let apart = ends(a).iter().zip(ends(b)).any(|(a, b)| (a - b).abs() > TOLERANCE);
    apart && box_iou(a, b) < MIN_BOX_IOU
}

fn area_differs(area: f64, mask: &Rle, segmentation: &Segmentation) -> bool {
    let pixels = mask.area() as f64;
    // The area of a polygon through pixel centres is that of its pixels less half the outline.
    let outline = match segmentation {
        Segmentation::Polygons(_) => {
            let [_, _, width, height] = mask.bbox();
            width + height
        }
        _ => 0.0,
    };
    let exact = segmentation.area().ok().flatten().unwrap_or(pixels);
    let off = (area - pixels).abs().min((area - exact).abs());
    off > AREA_TOLERANCE * area.max(pixels) + outline && off > TOLERANCE
}

/// Pairs of objects that count as the same, with their overlap.
fn repeated(image: &AuditedImage, masks: &[Option<Rle>]) -> Vec<(usize, usize, f64)> {
    let mut pairs = Vec::new();
    for j in 1..image.objects.len() {
        let of_pair = |i: &usize| {
            let (a, b) = (&image.objects[*i].object, &image.objects[j].object);
            let needed = if a.category == b.category { SAME_IOU } else { IDENTICAL_IOU };
            if a.is_crowd || b.is_crowd || box_iou(a.bbox, b.bbox) < needed - 0.1 {
                return None;
            }
            let iou = match (&masks[*i], &masks[j]) {
                (Some(a), Some(b)) if a.area() > 0 => mask_iou(a, b),
                _ => return None,
            };
            (iou >= needed).then_some((*i, j, iou))
        };
        pairs.extend((0..j).find_map(|i| of_pair(&i)));
    }
    pairs
}

/// Overlap of two masks of one size.
fn mask_iou(a: &Rle, b: &Rle) -> f64 {
    let Ok(union) = Rle::union(&[a.clone(), b.clone()]) else { return 0.0 };
    let (both, union) = ((a.area() + b.area()) as f64, union.area() as f64);
    (both - union) / union.max(1.0)
}

/// Overlap of two XYWH boxes.
fn box_iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let overlap = |axis: usize| {
        let end = (a[axis] + a[axis + 2]).min(b[axis] + b[axis + 2]);
        (end - a[axis].max(b[axis])).max(0.0)
    };
    let both = overlap(0) * overlap(1);
    let union = a[2] * a[3] + b[2] * b[3] - both;
    if union > 0.0 { both / union } else { 0.0 }
}

/// XYXY of all polygons.
fn extent(polygons: &[Vec<f64>]) -> [f64; 4] {
    let mut extent = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for point in polygons.iter().flat_map(|p| p.chunks_exact(2)) {
        for axis in 0..2 {
            extent[axis] = extent[axis].min(point[axis]);
            extent[axis + 2] = extent[axis + 2].max(point[axis]);
        }
    }
    extent
}

fn spans([x0, y0, x1, y1]: [f64; 4]) -> String {
    let [x0, x1, y0, y1] = [x0, x1, y0, y1].map(two_decimals);
    format!("x {x0} to {x1}, y {y0} to {y1}")
}

fn numbers(bbox: [f64; 4]) -> String {
    format!("[{}]", bbox.map(two_decimals).join(", "))
}

/// `480x640`.
pub(super) fn sized((height, width): (u32, u32)) -> String {
    format!("{height}x{width}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_overlap_as_they_should() {
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]), 1.0);
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0]), 1.0 / 3.0);
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 2.0, 2.0]), 0.0);
        assert_eq!(box_iou([0.0; 4], [0.0; 4]), 0.0);
    }

    #[test]
    fn a_pixel_here_or_there_is_no_difference_and_a_shift_is() {
        assert!(!differs([10.0, 10.0, 4.0, 4.0], [11.0, 9.5, 3.0, 5.0]));
        assert!(differs([10.0, 10.0, 20.0, 20.0], [16.0, 10.0, 20.0, 20.0]));
        assert!(!beyond([-1.0, 0.0, 65.0, 64.0], (64, 64)));
        assert!(beyond([0.0, 0.0, 67.0, 64.0], (64, 64)));
        assert_eq!(within([-5.0, 60.0, 10.0, 10.0], (64, 64)), [0.0, 60.0, 5.0, 4.0]);
    }
}
