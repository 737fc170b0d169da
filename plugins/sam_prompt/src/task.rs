//! Implements the engine's `TaskConfig` and `Task`.

use std::sync::Arc;

use sonotune_engine::prelude::*;

use crate::{
    Convention, SamPromptConfig,
    averaging::Majority,
    evaluation::{PromptEvaluator, ask_about, metric_names},
    everything::everything,
    export,
    mask_decoder::MaskDecoder,
    model::Sam,
    postprocess::{Frame, tight_box},
    prediction::{Reply, View},
    preparation::PromptPreparation,
    prompt::Question,
    prompt_encoder::PromptEncoder,
    sam2::{ImageFeatures, check_levels},
    training,
};

#[typetag::serde(name = "sam_prompt")]
impl TaskConfig for SamPromptConfig {
    fn build(
        &self,
        vs: &nn::Path<'_>,
        backbone: Box<dyn Backbone>,
        categories: &[Category],
    ) -> Result<Box<dyn Task>> {
        self.training.check(self.refines())?;
        self.loss.check()?;
        self.evaluation.check()?;
        self.everything.check()?;
        backbone.spec().require_maps("sam_prompt")?;
        let Some(level) = backbone.spec().levels.last().copied() else {
            return Err(Error::config(
                "task: sam_prompt needs a backbone with at least one feature level",
            )
            .into());
        };
        if categories.is_empty() {
            return Err(Error::data(
                "sam_prompt needs at least one category; an annotation file for prompts usually \
                 has one, \"object\"",
            )
            .into());
        }
        if self.convention.is_sam2() {
            check_levels(&backbone.spec().levels)?;
        }
        let sizes = self.sizes(level.channels)?;
        let prompt_encoder = PromptEncoder::new(&(vs / "prompt_encoder"), level.channels);
        let decoder = &(vs / "mask_decoder");
        let (mask_decoder, image_features) = match self.convention {
            Convention::Sam2 => {
                let image_features = ImageFeatures::new(vs, level.channels);
                (MaskDecoder::sam2(decoder, sizes), Some(image_features))
            }
            _ => (MaskDecoder::new(decoder, sizes), None),
        };
        let sam = Sam { backbone, prompt_encoder, mask_decoder, image_features };
        let preparation = Arc::new(PromptPreparation {
            training: self.training.clone(),
            convention: self.convention,
            stride: level.stride,
        });
        let categories = categories.iter().map(|c| c.name.clone()).collect();
        Ok(Box::new(SamPrompt { sam, preparation, config: self.clone(), categories }))
    }

    fn convention(&self) -> Option<String> {
        (self.convention != Convention::Auto).then(|| self.convention.name().to_owned())
    }

    fn takes_prompts(&self) -> bool {
        true
    }

    fn learns_from(&self) -> Option<TargetNeeds> {
        Some(TargetNeeds::Masks)
    }

    fn metric_names(&self) -> Option<Vec<String>> {
        Some(metric_names(self.evaluation.passes()))
    }

    fn averaging(&self) -> Option<Box<dyn Averaging>> {
        Some(Box::new(Majority::new(&self.evaluation)))
    }

    fn decided_by_weights(&self, convention: &str) -> Vec<(&'static str, String)> {
        let decided = match convention {
            "ultrasam" => Convention::Ultrasam,
            "segment_anything" | "huggingface_sam" | "mobile_sam" => Convention::SegmentAnything,
            "sam2" | "huggingface_sam2" => Convention::Sam2,
            _ => return Vec::new(),
        };
        match self.convention {
            Convention::Auto => vec![("convention", format!("\"{}\"", decided.name()))],
            _ => Vec::new(),
        }
    }
}

inventory::submit! {
    Summary::of("task", "sam_prompt",
        "segmentation of what a point or a box points at: SAM, SAM 2, MedSAM, UltraSam",
    )
        .schema::<SamPromptConfig>()
}

/// A promptable model.
#[derive(Debug)]
pub(crate) struct SamPrompt {
    pub(crate) sam: Sam,
    pub(crate) preparation: Arc<PromptPreparation>,
    pub(crate) config: SamPromptConfig,
    pub(crate) categories: Vec<String>,
}

impl Task for SamPrompt {
    fn needs(&self) -> TargetNeeds {
        TargetNeeds::Masks
    }

    /// Prompts and scores use the annotation in original pixels.
    fn eval_needs(&self) -> TargetNeeds {
        TargetNeeds::Boxes
    }

    fn preparation(&self) -> Option<Arc<dyn Preparation>> {
        Some(self.preparation.clone())
    }

    fn train_step(&self, batch: &Batch) -> Result<StepOutput> {
        training::step(&self.sam, &self.config, &self.preparation, batch)
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Prediction>> {
        let embedding = self.sam.embed(batch, false)?;
        let of_image = |(index, target): (usize, &Target)| {
            let view = View {
                sam: &self.sam,
                config: &self.config,
                embedding: embedding.of_image(index),
                frame: Frame::of(target, embedding.image_size),
            };
            let instances = self
                .instances(&view, target)
                .with_context(|| format!("image {}", target.path.display()))?;
            Ok(Prediction { instances, ..Prediction::of(target) })
        };
        batch.targets.iter().enumerate().map(of_image).collect()
    }

    fn parts(&self, input: Size) -> Result<Parts<'_>> {
        export::parts(self, input)
    }

    fn evaluator(&self) -> Result<Box<dyn Evaluator>> {
        let config = &self.config.evaluation;
        Ok(Box::new(PromptEvaluator::new(
            config.passes(),
            self.categories.clone(),
            config.class_agnostic,
            self.conditions(),
        )?))
    }
}

impl SamPrompt {
    fn instances(&self, view: &View<'_>, target: &Target) -> Result<Vec<Instance>> {
        match &target.prompts {
            None => ask_about(view, target),
            Some(ImagePrompts::Everything) => everything(view),
            Some(ImagePrompts::Objects(prompts)) => self.answers(view, prompts),
        }
    }

    fn answers(&self, view: &View<'_>, prompts: &[ObjectPrompt]) -> Result<Vec<Instance>> {
        let question = |i: usize| {
            Question::given(&prompts[i], view.frame, self.config.convention, &view.embedding)
                .with_context(|| format!("prompt {}", i + 1))
        };
        let form = |i: usize| {
            let prompt: &ObjectPrompt = &prompts[i];
            (prompt.points.len(), prompt.bbox.is_some(), prompt.mask.is_some())
        };
        // Neither prompts nor logits of all objects are in memory at once.
        view.in_portions(prompts.len(), form, |portion| {
            let questions = portion.iter().map(|&i| question(i)).collect::<Result<Vec<_>>>()?;
            let replies = view.ask(&questions)?;
            let instance = |(&object, reply): (&usize, Reply)| Instance {
                category: prompts[object].category.unwrap_or_default(),
                score: reply.score,
                bbox: tight_box(&reply.mask),
                mask: Some(reply.mask),
                answers: Some(Answer { object, pass: 0 }),
            };
            Ok(portion.iter().zip(replies).map(instance).collect())
        })
    }

    /// What a score depends on besides weights and data.
    fn conditions(&self) -> Vec<(String, String)> {
        let config = &self.config.evaluation;
        let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
        let protocols: Vec<_> = config.passes();
        [
            ("protocols", protocols.join(", ")),
            ("convention", self.config.convention.name().to_owned()),
            ("refinement", self.config.refines().to_string()),
            ("postprocess", text(&config.postprocess)),
            ("multimask", text(&config.multimask)),
            ("class_agnostic", config.class_agnostic.to_string()),
            ("box_noise", config.box_noise.to_string()),
            ("seed", config.seed.to_string()),
            ("max_dets", "mAP 100, others 1000".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}
