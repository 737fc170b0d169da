//! Implements the engine's `Task`.

use std::sync::Arc;

use sonotune_engine::{prelude::*, task::instances::InstanceScores};

use crate::{
    Mask2FormerConfig, Neck,
    averaging::Matching,
    evaluation::InstanceEvaluator,
    export,
    head::Mask2FormerHead,
    neck::SimpleFeaturePyramid,
    pixel_decoder::PixelFeatures,
    prediction::{Frame, instances},
    preparation::InstancePreparation,
    training,
};

#[typetag::serde(name = "mask2former")]
impl TaskConfig for Mask2FormerConfig {
    fn build(
        &self,
        vs: &nn::Path<'_>,
        backbone: Box<dyn Backbone>,
        categories: &[Category],
    ) -> Result<Box<dyn Task>> {
        self.check()?;
        if categories.is_empty() {
            return Err(Error::data(
                "instance segmentation needs at least one category, the training annotations have none",
            )
            .into());
        }
        backbone.spec().require_maps("mask2former")?;
        let levels = backbone.spec().levels.clone();
        let neck = match self.neck {
            Neck::None => None,
            Neck::SimpleFeaturePyramid => {
                let channels = levels.last().map_or(0, |level| level.channels);
                Some(SimpleFeaturePyramid::new(&(vs / "neck"), channels, self.feat_channels)?)
            }
        };
        let available = match &neck {
            Some(neck) => neck.channels(),
            None => levels.iter().map(|level| level.channels).collect(),
        };
        let sizes = self.head_sizes(self.in_channels(&available)?, categories.len() as i64);
        let preparation = Arc::new(InstancePreparation {
            points: self.training.points(),
            num_queries: usize::try_from(sizes.num_queries)?,
            layers: sizes.transformer_decoder.num_layers + 1,
        });
        Ok(Box::new(Mask2Former {
            backbone,
            preparation,
            neck,
            head: Mask2FormerHead::new(&(vs / "panoptic_head"), &sizes),
            config: self.clone(),
            categories: categories.iter().map(|c| c.name.clone()).collect(),
        }))
    }

    fn learns_from(&self) -> Option<TargetNeeds> {
        Some(TargetNeeds::Masks)
    }

    fn metric_names(&self) -> Option<Vec<String>> {
        Some(InstanceScores::metric_names())
    }

    fn averaging(&self) -> Option<Box<dyn Averaging>> {
        let max_per_image = usize::try_from(self.evaluation.max_per_image).unwrap_or(usize::MAX);
        Some(Box::new(Matching { max_per_image }))
    }

    /// Every query gives an instance, most of them of next to no score.
    fn min_score(&self) -> f64 {
        0.5
    }
}

inventory::submit! {
    Summary::of("task", "mask2former",
        "instance segmentation: Mask2Former's pixel and transformer decoder on any backbone",
    )
        .schema::<Mask2FormerConfig>()
}

/// An instance segmenter.
#[derive(Debug)]
pub(crate) struct Mask2Former {
    pub(crate) backbone: Box<dyn Backbone>,
    pub(crate) neck: Option<SimpleFeaturePyramid>,
    pub(crate) head: Mask2FormerHead,
    pub(crate) preparation: Arc<InstancePreparation>,
    pub(crate) config: Mask2FormerConfig,
    pub(crate) categories: Vec<String>,
}

impl Mask2Former {
    fn pixels(&self, batch: &Batch, train: bool) -> Result<PixelFeatures> {
        self.pixels_of(batch.features(&*self.backbone, train)?)
    }

    /// From the backbone's levels.
    pub(crate) fn pixels_of(&self, levels: Vec<Tensor>) -> Result<PixelFeatures> {
        let levels = match (&self.neck, levels.last()) {
            (Some(neck), Some(last)) => neck.forward(last),
            _ => levels,
        };
        // The coarsest, and one finer level for the masks.
        let spare = levels.len().saturating_sub(self.config.pixel_decoder.num_levels + 1);
        self.head.pixel_decoder.forward(&levels[spare..])
    }
}

impl Task for Mask2Former {
    fn needs(&self) -> TargetNeeds {
        TargetNeeds::Masks
    }

    /// Objects appear in products and samples, not in convolutions.
    fn has_fixed_shapes(&self) -> bool {
        true
    }

    /// Scores use the annotation in original pixels.
    fn eval_needs(&self) -> TargetNeeds {
        TargetNeeds::Boxes
    }

    fn preparation(&self) -> Option<Arc<dyn Preparation>> {
        Some(self.preparation.clone())
    }

    fn train_step(&self, batch: &Batch) -> Result<StepOutput> {
        let pixels = self.pixels(batch, true)?;
        training::step(&self.head, &pixels, &self.config.training, &self.preparation, batch)
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Prediction>> {
        let pixels = self.pixels(batch, false)?;
        let mut last = None;
        self.head.decode(&pixels, &mut |_, output| {
            last = Some(output);
            Ok(())
        })?;
        let output = last.context("the decoder gave no output")?;
        let padded = (batch.images.size()[2], batch.images.size()[3]);
        let mut predictions = Vec::with_capacity(batch.targets.len());
        for (i, target) in (0i64..).zip(&batch.targets) {
            let instances = instances(
                &output.classes.get(i),
                &output.embeddings.get(i),
                &pixels.mask_features.get(i),
                Frame::of(target, padded),
                self.config.evaluation.max_per_image,
            )
            .with_context(|| format!("image {}", target.path.display()))?;
            predictions.push(Prediction { instances, ..Prediction::of(target) });
        }
        Ok(predictions)
    }

    fn parts(&self, input: Size) -> Result<Parts<'_>> {
        export::parts(self, input)
    }

    fn evaluator(&self) -> Result<Box<dyn Evaluator>> {
        let config = self.config.evaluation.clone();
        let min_score = self.config.min_score();
        Ok(Box::new(InstanceEvaluator::new(self.categories.clone(), config, min_score)?))
    }
}
