//! The numbers of a COCO evaluation and queries on them.

use super::{Params, accumulate::Curve};

/// Names of pycocotools' twelve figures in its order: average precision, then average recall,
/// `AR@n` at `n` detections.
#[must_use]
pub fn stat_names(max_dets: &[usize]) -> [String; 12] {
    let recall = |i: usize| {
        let nth = max_dets.get(i).or(max_dets.last()).copied().unwrap_or_default();
        format!("AR@{nth}")
    };
    let name = str::to_owned;
    [
        name("AP"),
        name("AP50"),
        name("AP75"),
        name("APs"),
        name("APm"),
        name("APl"),
        recall(0),
        recall(1),
        recall(2),
        name("ARs"),
        name("ARm"),
        name("ARl"),
    ]
}

/// Precision and recall by IoU threshold, category, area range and number of detections.
///
/// Whatever has no objects is -1 and is left out of means; a mean without values is -1.
#[derive(Debug, Clone)]
pub struct CocoResult {
    params: Params,
    /// `[K, A, T, M, R]`
    precision: Vec<f64>,
    /// `[K, A, T, M]`
    recall: Vec<f64>,
}

/// What to average over; the default is everything at the last of `max_dets`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query<'a> {
    /// One of the IoU thresholds; absent: all.
    pub iou: Option<f64>,
    /// Name of an area range.
    pub area: &'a str,
    /// One of `max_dets`; absent: the last.
    pub max_dets: Option<usize>,
    /// Index of a category; absent: all.
    pub category: Option<usize>,
}

impl Default for Query<'_> {
    fn default() -> Self {
        Self { iou: None, area: "all", max_dets: None, category: None }
    }
}

impl CocoResult {
    pub(super) fn absent(params: Params) -> Self {
        let num_curves =
            params.num_result_categories() * params.num_settings() * params.max_dets.len();
        let num_points = num_curves * params.recall_thresholds.len();
        Self { params, precision: vec![-1.0; num_points], recall: vec![-1.0; num_curves] }
    }

    /// `position` counts over area range, IoU threshold, `max_dets`.
    pub(super) fn fill(&mut self, category: usize, position: usize, curve: Curve) {
        let index = category * self.params.num_settings() * self.params.max_dets.len() + position;
        let points = index * self.params.recall_thresholds.len();
        self.recall[index] = curve.recall;
        self.precision[points..][..curve.precision.len()].copy_from_slice(&curve.precision);
    }

    /// What was evaluated.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Mean precision over recall thresholds, and over IoU thresholds and categories if the query names
    /// none. In [0, 1], or -1 if there are no objects or the query names something that was not
    /// evaluated.
    #[must_use]
    pub fn average_precision(&self, query: &Query<'_>) -> f64 {
        let points = self.params.recall_thresholds.len();
        mean(self.curves(query).flat_map(|i| &self.precision[i * points..][..points]))
    }

    /// Mean recall of all detections, over IoU thresholds and categories if the query names none. In
    /// [0, 1] or -1, as in [`average_precision`](Self::average_precision).
    #[must_use]
    pub fn average_recall(&self, query: &Query<'_>) -> f64 {
        mean(self.curves(query).map(|i| &self.recall[i]))
    }

    /// The twelve figures of pycocotools, as [`stat_names`] names them. Precision and recall by area,
    /// AP50 and AP75 are at the third of `max_dets` (the last, if there are fewer).
    ///
    /// As in pycocotools the first, AP, is at 100 detections whatever `max_dets` is, and -1 when 100
    /// is not among them.
    #[must_use]
    pub fn stats(&self) -> [f64; 12] {
        self.twelve(None)
    }

    /// [`stats`](Self::stats) for one category.
    #[must_use]
    pub fn category_stats(&self, category: usize) -> [f64; 12] {
        self.twelve(Some(category))
    }

    fn twelve(&self, category: Option<usize>) -> [f64; 12] {
        let nth = |i: usize| self.params.max_dets.get(i).or(self.params.max_dets.last()).copied();
        let all = Query { max_dets: nth(2), category, ..Query::default() };
        let ap = |query: Query<'_>| self.average_precision(&query);
        let ar = |query: Query<'_>| self.average_recall(&query);
        [
            ap(Query { max_dets: Some(100), ..all }),
            ap(Query { iou: Some(0.5), ..all }),
            ap(Query { iou: Some(0.75), ..all }),
            ap(Query { area: "small", ..all }),
            ap(Query { area: "medium", ..all }),
            ap(Query { area: "large", ..all }),
            ar(Query { max_dets: nth(0), ..all }),
            ar(Query { max_dets: nth(1), ..all }),
            ar(all),
            ar(Query { area: "small", ..all }),
            ar(Query { area: "medium", ..all }),
            ar(Query { area: "large", ..all }),
        ]
    }

    /// Indices of the curves that a query covers.
    fn curves(&self, query: &Query<'_>) -> impl Iterator<Item = usize> + use<> {
        let params = &self.params;
        let (num_ious, num_max_dets) = (params.iou_thresholds.len(), params.max_dets.len());
        let num_areas = params.area_ranges.len();
        let max_dets = match query.max_dets {
            Some(n) => params.max_dets.iter().position(|&m| m == n),
            None => num_max_dets.checked_sub(1),
        };
        let area = params.area_ranges.iter().position(|a| a.name == query.area);
        let ious = match query.iou {
            Some(iou) => params.iou_thresholds.iter().position(|t| (t - iou).abs() < 1e-9),
            None => Some(0),
        };
        let ious = match (ious, query.iou) {
            (None, _) => 0..0,
            (Some(t), Some(_)) => t..t + 1,
            (Some(_), None) => 0..num_ious,
        };
        let num_categories = params.num_result_categories();
        let categories = match query.category {
            Some(k) => k.min(num_categories)..(k + 1).min(num_categories),
            None => 0..num_categories,
        };
        let place = area.zip(max_dets);
        categories.flat_map(move |k| {
            let ious = ious.clone();
            place.into_iter().flat_map(move |(a, m)| {
                ious.clone().map(move |t| ((k * num_areas + a) * num_ious + t) * num_max_dets + m)
            })
        })
    }
}

/// Mean of the values that are not -1; -1 if there are none.
fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, count) = values
        .filter(|&&value| value > -1.0)
        .fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { -1.0 } else { sum / count as f64 }
}
