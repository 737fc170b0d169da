//! Backbone, head and loss together.

use sonotune_engine::prelude::*;

use crate::{
    averaging::{MeanScores, predicted},
    config::ClassificationConfig,
    evaluator::{ClassificationEvaluator, metric_names},
    export,
    head::LinearHead,
    labels::{labels_of, labels_of_target, multi_hot},
    loss::ClassificationLoss,
};

#[typetag::serde(name = "classification")]
impl TaskConfig for ClassificationConfig {
    fn build(
        &self,
        vs: &nn::Path<'_>,
        backbone: Box<dyn Backbone>,
        categories: &[Category],
    ) -> Result<Box<dyn Task>> {
        self.check()?;
        self.check_categories(categories)?;
        let Some(level) = backbone.spec().levels.last().copied() else {
            return Err(Error::config(
                "task: classification needs a backbone with at least one feature level",
            )
            .into());
        };
        let head = LinearHead::new(&(vs / "head" / "fc"), level.channels, categories.len() as i64);
        let loss = ClassificationLoss {
            config: self.loss.clone(),
            class_weights: self.weights_tensor(categories)?.map(|w| w.to_device(vs.device())),
            multi_label: self.multi_label,
        };
        Ok(Box::new(Classifier {
            backbone,
            head,
            loss,
            threshold: self.decides_from(),
            category_names: categories.iter().map(|c| c.name.clone()).collect(),
        }))
    }

    fn learns_from(&self) -> Option<TargetNeeds> {
        Some(TargetNeeds::ImageLabels)
    }

    fn check_labels(&self, dataset: &Dataset) -> Result<()> {
        self.check_categories(&dataset.categories)?;
        let names: Vec<String> = dataset.category_names().map(str::to_owned).collect();
        let check = |record: &Record| {
            let labels: Vec<i64> = record.image_labels.iter().map(|&l| i64::from(l)).collect();
            let name = record.name();
            let image = (&record.image_id, &*name);
            labels_of(&labels, image, &names, self.multi_label).map(drop)
        };
        dataset.records.iter().try_for_each(check)
    }

    fn metric_names(&self) -> Option<Vec<String>> {
        Some(metric_names(self.multi_label))
    }

    fn averaging(&self) -> Option<Box<dyn Averaging>> {
        let softmax = self.loss.is_softmax();
        Some(Box::new(MeanScores { softmax, threshold: self.decides_from() }))
    }
}

inventory::submit! {
    Summary::of("task", "classification",
        "one or several categories for the whole image: token average, linear head, focal loss",
    )
        .schema::<ClassificationConfig>()
}

/// An image classifier.
#[derive(Debug)]
pub(crate) struct Classifier {
    pub(crate) backbone: Box<dyn Backbone>,
    pub(crate) head: LinearHead,
    pub(crate) loss: ClassificationLoss,
    /// `Some`: predicts every category with at least this score; `None`: the one with the highest score.
    pub(crate) threshold: Option<f64>,
    pub(crate) category_names: Vec<String>,
}

impl Classifier {
    fn multi_label(&self) -> bool {
        self.threshold.is_some()
    }

    /// `[B, K]`, f32 or f64.
    fn logits(&self, batch: &Batch, train: bool) -> Result<Tensor> {
        let levels = batch.features(&*self.backbone, train)?;
        let coarsest = levels.last().ok_or_else(|| {
            sonotune_engine::anyhow::anyhow!(
                "the backbone gave no feature level, but its spec lists one"
            )
        })?;
        self.head.forward(coarsest)
    }

    /// `[B, K]` in [0, 1].
    pub(crate) fn scores(&self, logits: &Tensor) -> Tensor {
        if self.loss.config.is_softmax() {
            logits.softmax(1, wide_kind(logits))
        } else {
            logits.sigmoid()
        }
    }
}

impl Task for Classifier {
    fn needs(&self) -> TargetNeeds {
        TargetNeeds::ImageLabels
    }

    fn has_fixed_shapes(&self) -> bool {
        true
    }

    fn train_step(&self, batch: &Batch) -> Result<StepOutput> {
        // Before the forward pass: a wrong label is reported immediately.
        let labels = batch
            .targets
            .iter()
            .map(|target| labels_of_target(target, &self.category_names, self.multi_label()))
            .collect::<Result<Vec<_>>>()?;
        let logits = self.logits(batch, true)?;
        let targets = upload(&multi_hot(&labels, self.category_names.len()), logits.device());
        let value = self.loss.forward(&logits, &targets)?;
        let over = self.loss.over(&targets);
        let losses = vec![Loss { name: self.loss.name().to_owned(), value, weight: 1.0, over }];
        let mut output = StepOutput { losses, scalars: Vec::new() };
        if !self.multi_label() {
            let right = logits.detach().argmax(1, false).eq_tensor(&targets.argmax(1, false));
            output.log("accuracy", right.mean(Kind::Float), Over::Images);
        }
        Ok(output)
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Prediction>> {
        let logits = self.logits(batch, false)?;
        let (_, num_classes) = logits.size2()?;
        let scores = Vec::<f64>::try_from(self.scores(&logits).to_kind(Kind::Double).view([-1]))?;
        let rows = scores.chunks(num_classes.max(1) as usize);
        Ok(batch
            .targets
            .iter()
            .zip(rows)
            .map(|(target, scores)| Prediction {
                scores: scores.to_vec(),
                labels: predicted(scores, self.threshold),
                ..Prediction::of(target)
            })
            .collect())
    }

    fn parts(&self, input: Size) -> Result<Parts<'_>> {
        export::parts(self, input)
    }

    fn evaluator(&self) -> Result<Box<dyn Evaluator>> {
        let names = self.category_names.clone();
        Ok(Box::new(ClassificationEvaluator::new(names, self.threshold)))
    }
}
