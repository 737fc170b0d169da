//! One number for the objects of one image.

use anyhow::Result;

use super::Annotated;
use crate::task::Instance;
use sonotune_base::Rle;
use sonotune_metrics::overlap::iou;

/// Panoptic quality of one image (Kirillov et al. 2019, equation 1): instances and objects of the
/// same category whose masks overlap by an IoU above 0.5 are matched, the most confident instance
/// first; the result is the sum of the matches' IoU over the number of matches plus half of the
/// unmatched. In [0, 1].
///
/// Crowds do not count, nor does an unmatched instance of which more than half is inside them.
/// `None` if there is neither instance nor object.
///
/// # Errors
/// When the masks differ in size from the image.
pub fn panoptic_quality<'a>(
    image: &Annotated,
    instances: impl IntoIterator<Item = &'a Instance>,
) -> Result<Option<f64>> {
    let mut instances: Vec<_> =
        instances.into_iter().filter_map(|i| Some((i, i.mask.as_ref()?))).collect();
    instances.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score));
    let objects: Vec<_> = image.objects.iter().zip(&image.masks).collect();
    let mut matched = vec![false; objects.len()];
    let (mut sum, mut num_matched, mut num_false) = (0.0, 0u32, 0u32);
    for (instance, mask) in instances {
        let mut best: Option<(usize, f64)> = None;
        let mut in_crowds = 0.0;
        for (i, (object, truth)) in objects.iter().enumerate() {
            if matched[i] || (!object.is_crowd && object.category as usize != instance.category) {
                continue;
            }
            let iou = iou(mask, truth)?.unwrap_or(0.0);
            if object.is_crowd {
                in_crowds += intersection(iou, mask, truth);
            } else if iou > 0.5 && best.is_none_or(|(_, known)| iou > known) {
                best = Some((i, iou));
            }
        }
        match best {
            Some((i, iou)) => {
                matched[i] = true;
                sum += iou;
                num_matched += 1;
            }
            None if 2.0 * in_crowds > mask.area() as f64 => {}
            None => num_false += 1,
        }
    }
    let num_objects = objects.iter().filter(|(object, _)| !object.is_crowd).count();
    let all = f64::from(num_matched + num_false) / 2.0 + num_objects as f64 / 2.0;
    Ok((all > 0.0).then(|| sum / all))
}

/// Pixels that two masks with this IoU share.
fn intersection(iou: f64, a: &Rle, b: &Rle) -> f64 {
    iou * (a.area() + b.area()) as f64 / (1.0 + iou)
}
