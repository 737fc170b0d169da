//! Scores answers against annotations.

use sonotune_engine::{
    metrics::{
        coco::IouType,
        overlap::{Overlap, OverlapMeans, overlap_in_both},
    },
    prelude::*,
    task::instances::{
        Annotated, Answers, Counts, InstanceScorer, figure_names, not_in_millimetres, not_scored,
        nothing_found, number, percent,
    },
};

/// Metrics of the overlap of each object with its own answer.
const OVERLAPS: [&str; 4] = ["mIoU", "dice", "hd95", "hd95_undefined"];
const ASSD: &str = "assd";

/// The distances in millimetres, over the objects of images whose pixel has a known size.
const MILLIMETRES: [&str; 2] = ["hd95_mm", "assd_mm"];

/// Names of the metrics of the passes.
pub(crate) fn metric_names(passes: Vec<String>) -> Vec<String> {
    let of_pass = |pass: String| {
        let figures = [IouType::Segm, IouType::Bbox].into_iter().flat_map(figure_names);
        let overlaps = OVERLAPS.into_iter().chain([ASSD]).chain(MILLIMETRES);
        let names = figures.chain(overlaps.map(str::to_owned));
        names.map(|name| format!("{pass}/{name}")).collect::<Vec<_>>()
    };
    passes.into_iter().flat_map(of_pass).collect()
}

/// Scores every pass for itself: COCO's metric on boxes and masks, and the overlap of each object with
/// its own answer.
#[derive(Debug)]
pub(crate) struct PromptEvaluator {
    passes: Vec<Pass>,
    categories: Vec<String>,
    conditions: Vec<(String, String)>,
    counts: Counts,
    /// Mean IoU of the answers of the first pass on the most recently added image.
    last_iou: Option<f64>,
}

#[derive(Debug)]
struct Pass {
    name: String,
    scorer: InstanceScorer,
    overlap: Overlaps,
    answers: Answers,
}

/// Overlaps of answers with their objects.
#[derive(Debug, Default)]
struct Overlaps {
    /// With distances in pixels.
    pixels: OverlapMeans,
    /// With distances in millimetres, of images whose pixel has a known size.
    millimetres: OverlapMeans,
}

impl Overlaps {
    /// Returns the added overlap, in pixels.
    fn add(&mut self, mask: &Rle, truth: &Rle, image: &Annotated) -> Result<Overlap> {
        let (pixels, millimetres) = overlap_in_both(mask, truth, image.spacing())?;
        self.pixels.add(&pixels);
        if let Some(millimetres) = millimetres {
            self.millimetres.add(&millimetres);
        }
        Ok(pixels)
    }

    /// [`MILLIMETRES`], if any image has a spacing.
    fn in_millimetres(&self, full: impl Fn(&str) -> String) -> Vec<Metric> {
        if self.millimetres.num_pairs() == 0 {
            return Vec::new();
        }
        let values = [self.millimetres.hd95(), self.millimetres.assd()];
        let named = MILLIMETRES.iter().zip(values);
        named.map(|(name, mean)| Metric::lowest(full(name), mean.value())).collect()
    }
}

impl PromptEvaluator {
    pub(crate) fn new(
        passes: Vec<String>,
        categories: Vec<String>,
        class_agnostic: bool,
        conditions: Vec<(String, String)>,
    ) -> Result<Self> {
        let pass = |name| {
            let scorer = InstanceScorer::new(categories.len(), class_agnostic)?;
            let (overlap, answers) = (Overlaps::default(), Answers::default());
            Ok(Pass { name, scorer, overlap, answers })
        };
        let passes = passes.into_iter().map(pass).collect::<Result<_>>()?;
        Ok(Self { passes, categories, conditions, counts: Counts::default(), last_iou: None })
    }
}

impl Evaluator for PromptEvaluator {
    fn add(&mut self, prediction: &Prediction, target: &Target) -> Result<()> {
        let image = Annotated::of(target)?;
        self.counts.add(&image);
        for (index, pass) in self.passes.iter_mut().enumerate() {
            let answers: Vec<_> = prediction
                .instances
                .iter()
                .filter(|i| i.answers.is_some_and(|a| a.pass == index))
                .collect();
            let iou = pass.add(&image, &answers)?;
            if index == 0 {
                // Its masks are not to be compared with boxes.
                let has_masks = target.objects.iter().all(|object| !object.is_box_only());
                self.last_iou = iou.filter(|_| has_masks);
            }
        }
        Ok(())
    }

    fn image_score(&self) -> Option<Metric> {
        let first = self.passes.first()?;
        Some(Metric::new(format!("mean IoU ({})", first.name), self.last_iou?))
    }

    /// For each pass, means over the image's objects: `PASS/mIoU`, `PASS/dice`, `PASS/hd95` and `PASS/assd` in pixels, and
    /// `PASS/hd95_mm` and `PASS/assd_mm` if the size of a pixel is known.
    fn image_scores(&self, prediction: &Prediction, target: &Target) -> Result<ImageScores> {
        let image = Annotated::of(target)?;
        let mut metrics = Vec::new();
        for (index, pass) in self.passes.iter().enumerate() {
            let mut overlaps = Overlaps::default();
            for instance in &prediction.instances {
                let answers = instance.answers.filter(|answer| answer.pass == index);
                let truth = answers.and_then(|answer| image.masks().get(answer.object));
                if let (Some(truth), Some(mask)) = (truth, &instance.mask) {
                    overlaps.add(mask, truth, &image)?;
                }
            }
            let full = |name: &str| format!("{}/{name}", pass.name);
            let means = &overlaps.pixels;
            metrics.extend([
                Metric::highest(full(OVERLAPS[0]), means.iou().value()),
                Metric::highest(full(OVERLAPS[1]), means.dice().value()),
                Metric::lowest(full(OVERLAPS[2]), means.hd95().value()),
                Metric::lowest(full(ASSD), means.assd().value()),
            ]);
            metrics.extend(overlaps.in_millimetres(full));
        }
        Ok(ImageScores { metrics, ..ImageScores::default() })
    }

    fn finish(&mut self) -> Result<Report> {
        if self.counts.objects == 0 {
            return Err(Error::data("there is no object to score the model on").into());
        }
        let in_mm = self.counts.images_with_spacing > 0;
        let mut header = vec![
            "prompt",
            "segm mAP",
            "segm mAP50",
            "bbox mAP",
            "bbox mAP50",
            "mIoU",
            "Dice",
            "HD95 px",
            "ASSD px",
        ];
        header.extend(["HD95 mm", "ASSD mm"].into_iter().filter(|_| in_mm));
        header.push("objects");
        let mut table = Table {
            title: "By prompt".to_owned(),
            header: header.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        };
        let mut report = Report::default();
        for pass in std::mem::take(&mut self.passes) {
            pass.report(&self.counts, &self.categories, &mut report, &mut table.rows)?;
        }
        report.tables.push(table);
        report.notes.extend(not_in_millimetres(&self.counts));
        report.conditions = std::mem::take(&mut self.conditions);
        for (name, count) in [
            ("images", self.counts.images),
            ("images_without_objects", self.counts.images_without_objects),
            ("objects", self.counts.objects),
            ("crowds_not_asked_about", self.counts.crowds),
            ("objects_without_pixels_not_asked_about", self.counts.objects_without_pixels),
        ] {
            report.conditions.push((name.to_owned(), count.to_string()));
        }
        Ok(report)
    }
}

impl Pass {
    /// The mean IoU of the answers on this image, if it is defined.
    fn add(&mut self, image: &Annotated, answers: &[&Instance]) -> Result<Option<f64>> {
        let mut of_image = OverlapMeans::default();
        self.answers.add(answers.iter().copied(), 0.0);
        self.scorer.add(image, answers.iter().copied())?;
        for instance in answers {
            let of_object = instance.answers.and_then(|a| image.masks().get(a.object));
            let (Some(truth), Some(mask)) = (of_object, &instance.mask) else {
                return Err(Error::data("an answer does not match any object of its image").into());
            };
            of_image.add(&self.overlap.add(mask, truth, image)?);
        }
        let iou = of_image.iou();
        Ok((iou.count > 0).then(|| iou.value()))
    }

    fn report(
        mut self,
        counts: &Counts,
        categories: &[String],
        report: &mut Report,
        rows: &mut Vec<Vec<String>>,
    ) -> Result<()> {
        let scores = self.scorer.finish()?;
        let overlap = self.overlap.pixels.clone();
        let mut row = vec![self.name.clone()];
        let full = |name: &str| format!("{}/{name}", self.name);
        // Without masks, what is compared with masks is left out.
        let has_masks = counts.has_masks();
        for kind in [IouType::Segm, IouType::Bbox] {
            let scored = has_masks || kind == IouType::Bbox;
            let figures = scores.figures(kind);
            let figure = |(name, value): &(String, f64)| Metric::highest(full(name), *value);
            report.metrics.extend(figures.iter().map(figure).filter(|_| scored));
            // mAP and mAP_50.
            let cell = |value: f64| percent(if scored { value } else { f64::NAN });
            row.extend(figures[..2].iter().map(|(_, value)| cell(*value)));
        }
        let (iou, dice, hd95) = (overlap.iou(), overlap.dice(), overlap.hd95());
        let undefined = overlap.num_one_empty() as f64;
        let [of_iou, of_dice, of_hd95, of_undefined] = OVERLAPS.map(full);
        let overlaps = [
            Metric::highest(of_iou, iou.value()),
            Metric::highest(of_dice, dice.value()),
            Metric::lowest(of_hd95, hd95.value()),
            Metric::new(of_undefined, undefined),
            Metric::lowest(full(ASSD), overlap.assd().value()),
        ];
        let in_mm = self.overlap.in_millimetres(full);
        // Objects that no answer of an image with a spacing is about have empty cells.
        let columns = 2 * usize::from(counts.images_with_spacing > 0);
        let mut distances = vec![hd95.value(), overlap.assd().value()];
        distances.extend((0..columns).map(|i| in_mm.get(i).map_or(f64::NAN, |m| m.value)));
        let shown = |value: f64| if has_masks { value } else { f64::NAN };
        row.extend([iou, dice].map(|mean| percent(shown(mean.value()))));
        row.extend(distances.into_iter().map(|value| number(shown(value))));
        if has_masks {
            report.metrics.extend(overlaps.into_iter().chain(in_mm));
        }
        row.push(overlap.num_pairs().to_string());
        rows.push(row);
        let own = nothing_found(counts, &scores).into_iter().chain(self.answers.notes(0.0));
        let own = own.map(|note| format!("{}: {note}", self.name));
        let common = not_scored(counts, &scores, categories).into_iter();
        for note in common.chain(own) {
            // What is true of the split is true of every pass.
            if !report.notes.contains(&note) {
                report.notes.push(note);
            }
        }
        Ok(())
    }
}
