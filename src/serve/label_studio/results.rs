//! Answers as regions of Label Studio.

use serde_json::{Value, json};

use super::{
    brush,
    config::{Control, Kind, LabelConfig},
};
use crate::{About, Answer, Found, polygons::outlines, rest::reply, server::Failure};

/// Pixels by which an outline may be off: the user moves its corners by hand.
const TOLERANCE: f64 = 0.75;

/// A prediction. `label` is what the user chose for the object that was asked about.
pub(super) fn of(
    answer: &Answer,
    about: &About,
    config: &LabelConfig,
    label: Option<&str>,
    min_score: f64,
) -> Result<Value, Failure> {
    let control = config.answers(about)?;
    let region = |value: Value, score: f64, id: usize| {
        json!({
            "id": format!("sonotune-{id}"),
            "from_name": control.name,
            "to_name": config.image,
            "type": control.kind.name(),
            "original_width": answer.size.1,
            "original_height": answer.size.0,
            "image_rotation": 0,
            "value": value,
            "score": score,
            "readonly": false,
        })
    };
    let (mut regions, mut scores) = (Vec::new(), Vec::new());
    if about.is_of_image {
        let chosen: Result<Vec<_>, _> =
            answer.labels.iter().map(|&index| named(control, about, index)).collect();
        let score = answer.labels.iter().filter_map(|&index| answer.scores.get(index).copied());
        let score = score.fold(0.0, f64::max);
        regions.push(region(json!({ "choices": chosen? }), score, 0));
        scores.push(score);
    }
    for found in answer.objects.iter().filter(|found| found.score >= min_score) {
        let chosen = match label.filter(|label| control.has_label(label)) {
            Some(label) => label,
            None => named(control, about, found.category)?,
        };
        for mut value in values(found, control.kind, answer.size)? {
            value[control.kind.name()] = json!([chosen]);
            regions.push(region(value, found.score, regions.len()));
        }
        scores.push(found.score);
    }
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    Ok(json!({ "result": regions, "score": mean, "model_version": about.name }))
}

fn named<'a>(control: &'a Control, about: &About, index: usize) -> Result<&'a str, Failure> {
    let category = &reply::category(about, index)?.name;
    control.label_of(category, about.categories.len()).ok_or_else(|| {
        Failure::unprocessable(format!("the labelling interface has no label for {category:?}"))
    })
}

/// One for each region that the object becomes; none for an empty mask.
fn values(found: &Found, kind: Kind, (height, width): (u32, u32)) -> Result<Vec<Value>, Failure> {
    let across = |x: f64| (x * 100.0 / f64::from(width)).clamp(0.0, 100.0);
    let down = |y: f64| (y * 100.0 / f64::from(height)).clamp(0.0, 100.0);
    let mask = found.mask.as_ref();
    if mask.is_some_and(|mask| mask.area() == 0) {
        return Ok(Vec::new());
    }
    Ok(match (kind, mask) {
        (Kind::Brush, Some(mask)) => vec![json!({ "format": "rle", "rle": brush::encode(mask)? })],
        (Kind::Polygon, Some(mask)) => outlines(mask, TOLERANCE)
            .into_iter()
            .map(|polygon| {
                let points = polygon.chunks_exact(2).map(|pair| [across(pair[0]), down(pair[1])]);
                json!({ "points": points.collect::<Vec<_>>(), "closed": true })
            })
            .collect(),
        (Kind::Rectangle, _) => {
            let [x0, y0, x1, y1] = found.bbox;
            let (x, y) = (across(x0), down(y0));
            vec![json!({
                "x": x, "y": y, "width": across(x1) - x, "height": down(y1) - y, "rotation": 0,
            })]
        }
        _ => Vec::new(),
    })
}
