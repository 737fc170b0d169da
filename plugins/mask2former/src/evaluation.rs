//! Instances against annotations: COCO's metric on boxes and on masks.

use engine::{
    Error, Result,
    anyhow::Context,
    data::{Rle, Target},
    metrics::coco::{CocoEvaluator, Detection, IouType, Params, Query, Truth},
    serde::{Deserialize, Serialize},
    task::{Evaluator, Metric, Prediction, Report, Table},
};

/// `[task.evaluation]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "engine::serde", deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Most instances of an image that are predicted.
    pub max_per_image: i64,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self { max_per_image: 100 }
    }
}

impl EvaluationConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_per_image > 0 {
            return Ok(());
        }
        Err(Error::config(format!(
            "task.evaluation.max_per_image = {}: expected at least 1",
            self.max_per_image
        ))
        .into())
    }
}

/// Scores boxes and masks of a split.
#[derive(Debug)]
pub(crate) struct InstanceEvaluator {
    categories: Vec<String>,
    config: EvaluationConfig,
    bbox: CocoEvaluator,
    segm: CocoEvaluator,
    images: u64,
}

impl InstanceEvaluator {
    pub(crate) fn new(categories: Vec<String>, config: EvaluationConfig) -> Result<Self> {
        let evaluator = |iou_type| {
            CocoEvaluator::new(Params {
                max_dets: vec![100, 300, 1000],
                ..Params::new(iou_type, categories.len())
            })
        };
        let (bbox, segm) = (evaluator(IouType::Bbox)?, evaluator(IouType::Segm)?);
        Ok(Self { categories, config, bbox, segm, images: 0 })
    }
}

impl Evaluator for InstanceEvaluator {
    fn add(&mut self, prediction: &Prediction, target: &Target) -> Result<()> {
        let (height, width) = target.original_size;
        let size = (u32::try_from(height)?, u32::try_from(width)?);
        let masks = target
            .objects
            .iter()
            .enumerate()
            .map(|(i, object)| {
                object
                    .segmentation
                    .rasterize(size, object.bbox)
                    .with_context(|| format!("mask of object {i}"))
            })
            .collect::<Result<Vec<Rle>>>()?;
        let truths: Vec<_> = target
            .objects
            .iter()
            .zip(&masks)
            .map(|(object, mask)| Truth {
                category: object.category as usize,
                bbox: object.bbox,
                area: object.area,
                is_crowd: object.is_crowd,
                mask: Some(mask),
            })
            .collect();
        let detections: Vec<_> = prediction
            .instances
            .iter()
            .map(|i| {
                let [x0, y0, x1, y1] = i.bbox;
                Detection {
                    category: i.category,
                    score: i.score,
                    bbox: [x0, y0, x1 - x0, y1 - y0],
                    area: None,
                    mask: i.mask.as_ref(),
                }
            })
            .collect();
        self.images += 1;
        self.bbox.add_image(&truths, &detections)?;
        self.segm.add_image(&truths, &detections)
    }

    fn finish(&mut self) -> Result<Report> {
        let mut report = Report::default();
        for (kind, evaluator) in [("segm", &mut self.segm), ("bbox", &mut self.bbox)] {
            let fresh = CocoEvaluator::new(Params::new(IouType::Bbox, 1))?;
            let result = std::mem::replace(evaluator, fresh).finish();
            for (name, iou, max) in
                [("mAP", None, 100), ("mAP_50", Some(0.5), 1000), ("mAP_75", Some(0.75), 1000)]
            {
                let query = Query { iou, area: "all", max_dets: Some(max), category: None };
                report
                    .metrics
                    .push(Metric::new(format!("{kind}_{name}"), result.average_precision(&query)));
            }
        }
        report.tables.push(Table::default());
        let _ = (&self.categories, self.config.max_per_image, Error::data(""));
        Ok(report)
    }
}
