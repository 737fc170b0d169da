//! Answers against annotations.

use engine::{
    Error, Result,
    anyhow::Context,
    data::{Rle, Target},
    metrics::{
        coco::{CocoEvaluator, CocoResult, Detection, IouType, Params, Query, Truth},
        overlap::{OverlapMeans, Spacing, overlap},
    },
    task::{Evaluator, Instance, Metric, Prediction, Report, Table},
};

/// Scores every pass for itself: COCO's metric on boxes and masks, and the overlap of each object with
/// its own answer.
#[derive(Debug)]
pub(crate) struct PromptEvaluator {
    passes: Vec<Pass>,
    conditions: Vec<(String, String)>,
    images: u64,
    images_without_objects: u64,
    objects: u64,
    crowds: u64,
    objects_without_pixels: u64,
}

#[derive(Debug)]
struct Pass {
    name: String,
    bbox: CocoEvaluator,
    segm: CocoEvaluator,
    overlap: OverlapMeans,
}

/// mmdetection's: mAP at the first, everything else at the last.
const MAX_DETS: [usize; 3] = [100, 300, 1000];

impl PromptEvaluator {
    pub(crate) fn new(
        passes: Vec<String>,
        num_categories: usize,
        class_agnostic: bool,
        conditions: Vec<(String, String)>,
    ) -> Result<Self> {
        let evaluator = |iou_type| {
            CocoEvaluator::new(Params {
                max_dets: MAX_DETS.to_vec(),
                class_agnostic,
                ..Params::new(iou_type, num_categories)
            })
        };
        let passes = passes
            .into_iter()
            .map(|name| {
                Ok(Pass {
                    name,
                    bbox: evaluator(IouType::Bbox)?,
                    segm: evaluator(IouType::Segm)?,
                    overlap: OverlapMeans::default(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            passes,
            conditions,
            images: 0,
            images_without_objects: 0,
            objects: 0,
            crowds: 0,
            objects_without_pixels: 0,
        })
    }
}

impl Evaluator for PromptEvaluator {
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
        let crowds = truths.iter().filter(|t| t.is_crowd).count() as u64;
        self.images += 1;
        self.images_without_objects += u64::from(truths.is_empty());
        self.crowds += crowds;
        self.objects += truths.len() as u64 - crowds;
        let is_empty = |(truth, mask): (&Truth<'_>, &Rle)| !truth.is_crowd && mask.area() == 0;
        let empty = truths.iter().zip(&masks).filter(|&(t, m)| is_empty((t, m))).count();
        self.objects_without_pixels += empty as u64;
        for (index, pass) in self.passes.iter_mut().enumerate() {
            let answers: Vec<_> = prediction
                .instances
                .iter()
                .filter(|i| i.answers.is_some_and(|a| a.pass == index))
                .collect();
            pass.add(&truths, &masks, &answers)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Report> {
        if self.objects == 0 {
            return Err(Error::data("there is no object to score the model on").into());
        }
        let header = [
            "prompt",
            "segm mAP",
            "segm mAP50",
            "bbox mAP",
            "bbox mAP50",
            "mIoU",
            "Dice",
            "HD95 px",
            "objects",
        ];
        let mut table = Table {
            title: "By prompt".to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        };
        let mut report = Report::default();
        for pass in std::mem::take(&mut self.passes) {
            pass.report(&mut report.metrics, &mut table.rows);
        }
        report.tables.push(table);
        report.conditions = std::mem::take(&mut self.conditions);
        for (name, count) in [
            ("images", self.images),
            ("images_without_objects", self.images_without_objects),
            ("objects", self.objects),
            ("crowds_not_asked_about", self.crowds),
            ("objects_without_pixels_not_asked_about", self.objects_without_pixels),
        ] {
            report.conditions.push((name.to_owned(), count.to_string()));
        }
        Ok(report)
    }
}

impl Pass {
    fn add(&mut self, truths: &[Truth<'_>], masks: &[Rle], answers: &[&Instance]) -> Result<()> {
        let detections: Vec<_> = answers
            .iter()
            .map(|instance| {
                let [x0, y0, x1, y1] = instance.bbox;
                Detection {
                    category: instance.category,
                    score: instance.score,
                    bbox: [x0, y0, x1 - x0, y1 - y0],
                    area: None,
                    mask: instance.mask.as_ref(),
                }
            })
            .collect();
        self.bbox.add_image(truths, &detections)?;
        self.segm.add_image(truths, &detections)?;
        for instance in answers {
            let of_object = instance.answers.and_then(|a| masks.get(a.object));
            let (Some(truth), Some(mask)) = (of_object, &instance.mask) else {
                return Err(Error::data("an answer belongs to no object of its image").into());
            };
            self.overlap.add(&overlap(mask, truth, Spacing::default())?);
        }
        Ok(())
    }

    fn report(self, metrics: &mut Vec<Metric>, rows: &mut Vec<Vec<String>>) {
        let (segm, bbox) = (self.segm.finish(), self.bbox.finish());
        let overlap = self.overlap;
        let mut row = vec![self.name.clone()];
        let mut add = |name: &str, value: f64| {
            metrics.push(Metric::new(format!("{}/{name}", self.name), value));
        };
        for (kind, result) in [("segm", &segm), ("bbox", &bbox)] {
            for (name, value) in figures(result) {
                add(&format!("{kind}_{name}"), value);
                if name == "mAP" || name == "mAP_50" {
                    row.push(percent(value));
                }
            }
        }
        let (iou, dice, hd95) = (overlap.iou(), overlap.dice(), overlap.hd95());
        add("mIoU", iou.value());
        add("dice", dice.value());
        add("hd95", hd95.value());
        add("hd95_undefined", overlap.num_one_empty() as f64);
        row.extend([percent(iou.value()), percent(dice.value()), number(hd95.value())]);
        row.push(overlap.num_pairs().to_string());
        rows.push(row);
    }
}

/// As mmdetection names them; NaN where there is no object of that size.
fn figures(result: &CocoResult) -> [(&'static str, f64); 6] {
    let at = |iou: Option<f64>, area: &'static str, max_dets: usize| {
        let query = Query { iou, area, max_dets: Some(max_dets), category: None };
        let value = result.average_precision(&query);
        if value < 0.0 { f64::NAN } else { value }
    };
    let [first, _, last] = MAX_DETS;
    [
        ("mAP", at(None, "all", first)),
        ("mAP_50", at(Some(0.5), "all", last)),
        ("mAP_75", at(Some(0.75), "all", last)),
        ("mAP_s", at(None, "small", last)),
        ("mAP_m", at(None, "medium", last)),
        ("mAP_l", at(None, "large", last)),
    ]
}

fn percent(fraction: f64) -> String {
    number(100.0 * fraction)
}

fn number(value: f64) -> String {
    if value.is_nan() { "n/a".to_owned() } else { format!("{value:.1}") }
}
