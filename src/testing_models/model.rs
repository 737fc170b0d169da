//! A task on a backbone, to train and to score on a few records.

use anyhow::Result;
use serde_json::{Value, from_value, json};
use sonotune_base::Category;
use sonotune_dataset::{InputSpec, Record, TargetNeeds};
use sonotune_engine::{
    backbone::BackboneConfig,
    batch::{Batch, Target},
    loader::{LoadPlan, prepare_batch},
    prelude::Report,
    task::{Instance, Prediction, StepOutput, Task, TaskConfig},
};
use tch::{Device, nn::VarStore, no_grad};

pub struct Model {
    pub vs: VarStore,
    pub task: Box<dyn Task>,
    plan: LoadPlan,
}

impl Model {
    /// From the tables of a config; images are resized to `side`.
    pub fn build(backbone: Value, task: Value, names: &[&str], side: u32) -> Result<Self> {
        let backbone: Box<dyn BackboneConfig> = from_value(backbone)?;
        let vs = VarStore::new(Device::Cpu);
        let backbone = backbone.build(&(vs.root() / "backbone"))?;
        let spec = backbone.spec().input.clone();
        let task: Box<dyn TaskConfig> = from_value(task)?;
        let task = task.build(&vs.root(), backbone, &categories(names))?;
        let plan = plan(json!({ "image_size": side }), spec, task.needs());
        Ok(Self { vs, task, plan })
    }

    pub fn batch(&self, records: &[Record]) -> Batch {
        prepare_batch(records, &self.plan).unwrap()
    }

    pub fn step(&self, batch: &Batch) -> StepOutput {
        self.task.train_step(batch).unwrap()
    }

    /// The prediction of the batch's first image.
    pub fn predict(&self, batch: &Batch) -> Prediction {
        no_grad(|| self.task.predict(batch)).unwrap().remove(0)
    }

    /// The report of an evaluation of one image.
    pub fn score(&self, instances: Vec<Instance>, target: &Target) -> Report {
        let prediction = Prediction { instances, ..Prediction::of(target) };
        let mut evaluator = self.task.evaluator().unwrap();
        evaluator.add(&prediction, target).unwrap();
        evaluator.finish().unwrap()
    }
}

/// Loads with the defaults except for the `[preprocess]` table.
pub fn plan(preprocess: Value, spec: InputSpec, needs: TargetNeeds) -> LoadPlan {
    LoadPlan {
        preprocess: from_value(preprocess).unwrap(),
        augment: Default::default(),
        loader: Default::default(),
        spec,
        needs,
        embeddings: None,
        pixels: Default::default(),
        preparation: None,
        reader: Default::default(),
        share: Default::default(),
        seed: 3,
    }
}

pub fn categories(names: &[&str]) -> Vec<Category> {
    let category = |(id, name): (i64, &&str)| Category { id, name: (*name).to_owned() };
    (1..).zip(names).map(category).collect()
}

/// A table with the keys of `extra` in place of its own.
pub fn merged(mut table: Value, extra: Value) -> Value {
    table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    table
}
